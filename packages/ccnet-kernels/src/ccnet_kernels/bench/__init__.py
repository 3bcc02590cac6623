"""The benchmark, `python -m ccnet_kernels.bench`: attention checked, then timed, beside every peer that is here.

In the order of reading: `case` (what is computed), `einsum`, `lines`, `flex`, `non_local` (the peers), `contenders`
(all of them), `check`, `clock`, `memory`, `floor`, `measure` (what is measured), `table`, `regressions`, `plot` (what
is shown).
"""
