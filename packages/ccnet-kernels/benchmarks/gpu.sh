#!/usr/bin/env bash
# What to run first on a machine with a GPU, in under ten minutes: packages/ccnet-kernels/benchmarks/gpu.sh FOLDER
#
# Needs ccnet-core and ccnet-kernels installed, pytest, pytest-timeout and matplotlib; PYTHON names the interpreter. A
# part that fails or takes too long does not stop the next one; the exit status is the number of those parts.
set -uo pipefail
cd "$(dirname "$0")/../../.."
python=${PYTHON:-python3}
out=$(realpath "${1:?usage: gpu.sh FOLDER}")
mkdir -p "$out"
exec > >(tee "$out/log.txt") 2>&1
export PYTHONUNBUFFERED=1
failed=0

part() {  # part SECONDS COMMAND...
  echo; echo "== ${*:2}"
  local start=$SECONDS
  timeout "$1" "${@:2}" || { echo "== failed with status $?"; failed=$((failed + 1)); }
  echo "== $((SECONDS - start)) s"
}
bench() { part "$1" "$python" -m ccnet_kernels.bench --device cuda "${@:2}"; }
tests=(-m pytest -q -W default -m gpu packages/ccnet-kernels/tests/test_gpu.py)
shapes=(--shape 8 64 512 97 97 --shape 8 64 512 64 128)
plain=(numba torch einsum sdpa-lines sdpa-lines-heads non-local non-local-sdpa)

part 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv
part 30 "$python" -c 'from importlib.metadata import version as v
print(*(f"{name} {v(name)}" for name in ("ccnet-core", "ccnet-kernels", "torch", "triton", "numba", "numba-cuda")), sep="\n")'
part 100 "$python" "${tests[@]}"
part 30 "$python" packages/ccnet-kernels/benchmarks/host_cost.py --device cuda
bench 60 "${shapes[@]}" --dtype bfloat16 float16 --layout channels_last --cold --rounds 25 --only "${plain[@]}" \
  --out "$out/half.csv"
bench 50 "${shapes[@]}" --cold --only "${plain[@]}" --out "$out/float32.csv"
bench 60 "${shapes[@]}" --shape 2 64 512 8 64 64 --level block --dtype bfloat16 --layout channels_last --cold \
  --only "${plain[@]}" --out "$out/block.csv"
bench 60 --shape 2 64 512 97 97 --sizes 32:256 --dtype bfloat16 --layout channels_last --cold --only "${plain[@]}" \
  --out "$out/sweep.csv" --plot "$out/sweep.png"
bench 100 "${shapes[@]}" --dtype bfloat16 --layout channels_last --cold --rounds 25 \
  --only numba torch torch-compiled einsum-compiled flex --out "$out/compiled.csv"
if command -v compute-sanitizer > /dev/null; then
  # Without torch's pool of memory, so that reading past the end of a tensor is seen.
  export PYTORCH_NO_CUDA_MEMORY_CACHING=1
  for tool in memcheck racecheck; do
    part 40 compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" "${tests[@]}" -k small -x
  done
else
  echo "no compute-sanitizer here"
fi
echo; echo "parts that failed: $failed"
exit "$failed"
