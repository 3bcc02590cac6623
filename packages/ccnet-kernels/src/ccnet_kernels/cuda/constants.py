"""Constants of the kernels' arithmetic, all float32."""

LOG2_E = 1.4426950408889634  # exp(x) is exp2(LOG2_E x)
LN_2 = 0.6931471805599453
LOWEST = -3.0e38  # below every energy, and still a number, so that LOWEST - LOWEST is 0
