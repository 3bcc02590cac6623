#!/usr/bin/env bash
# What to run first on a machine with a GPU, in under ten minutes: packages/ccnet-kernels/benchmarks/gpu.sh FOLDER [--tiny]
#
# Needs ccnet-core and ccnet-kernels installed, pytest, pytest-timeout and matplotlib; PYTHON names the interpreter,
# SECONDS_LEFT the time (570). A part that fails or takes too long does not stop the next one; the exit status is
# the number of parts that failed or were not reached. Called again with the same folder, it does only what is missing.
# --tiny shows on a CPU, with small maps, that every part works but those that need a device.
set -uo pipefail
cd "$(dirname "$0")/../../.."
python=${PYTHON:-python3}
out=$(realpath -m "${1:?usage: gpu.sh FOLDER [--tiny]}")
tiny=${2:-}
mkdir -p "$out/done"
exec > >(tee -a "$out/log.txt") 2>&1
export PYTHONUNBUFFERED=1
missing=0

part() {  # part NAME SECONDS COMMAND...
  if [ -e "$out/done/$1" ]; then return; fi
  local left=$((${SECONDS_LEFT:-$most} - SECONDS)) limit=$(($2 * patience)) start=$SECONDS
  echo; echo "== $1: ${*:3}"
  if [ "$left" -lt 10 ]; then
    echo "== no time left"; missing=$((missing + 1))
  elif timeout -k 5 "$((limit < left ? limit : left))" "${@:3}"; then
    touch "$out/done/$1"; echo "== $((SECONDS - start)) s"
  else
    echo "== failed with status $? after $((SECONDS - start)) s"; missing=$((missing + 1))
  fi
}
bench() {  # bench NAME SECONDS OPTIONS...
  part "$1" "$2" "$python" -m ccnet_kernels.bench --device "$device" --layout channels_last "${cold[@]}" \
    --out "$out/$1.csv" "${@:3}"
}
if [ -n "$tiny" ]; then
  device=cpu cold=(--rounds 1) most=3600 patience=6
  shapes=(--shape 2 8 64 7 9) clip=(--shape 1 8 64 2 5 6) sweep=(--shape 1 8 64 7 9 --sizes 4:8)
  one=(--shape 1 8 64 9 9) small=(--shape 1 8 64 4 4 --shape 1 8 64 6 6)
else
  device=cuda cold=(--cold --rounds 25) most=570 patience=1
  shapes=(--shape 8 64 512 97 97 --shape 8 64 512 64 128) clip=(--shape 2 64 512 8 64 64)
  sweep=(--shape 2 64 512 97 97 --sizes 32:256) one=(--shape 1 64 512 97 97)
  small=(--shape 1 64 512 16 16 --shape 1 64 512 20 20 --shape 1 64 512 24 24 --shape 1 64 512 28 28 --shape 1 64 512 33 33)
fi
plain=(numba torch einsum sdpa-lines sdpa-lines-heads non-local non-local-sdpa)
tests=(-m pytest -q -W default -m gpu packages/ccnet-kernels/tests/test_gpu.py)

part versions 30 "$python" -c 'from importlib.metadata import version as v
print(*(f"{name} {v(name)}" for name in ("ccnet-core", "ccnet-kernels", "torch", "numba", "numba-cuda")), sep="\n")'
if [ -z "$tiny" ]; then
  part device 20 nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.sm,clocks.mem --format=csv
  part tests 100 "$python" "${tests[@]}"
fi
# Operator: floor, peers (targets 1, 2). Block of two steps with its convolutions (3). Non-local by size (4).
bench half 60 "${shapes[@]}" --dtype bfloat16 float16 --only "${plain[@]}"
bench block 60 "${shapes[@]}" "${clip[@]}" --level block --dtype bfloat16 --only "${plain[@]}"
bench compiled 100 "${shapes[@]}" --dtype bfloat16 --only numba torch torch-compiled einsum-compiled flex
bench sweep 60 "${sweep[@]}" --dtype bfloat16 --rounds 9 --only "${plain[@]}" --plot "$out/sweep.png"
# Peak memory of the block at the paper's size (5), whole networks (6), the least size worth a launch (7).
bench cost 30 "${one[@]}" --level block --dtype bfloat16 --only numba torch einsum
bench cost-float32 30 "${one[@]}" --level block --layout contiguous --only numba torch einsum
part network 100 "$python" packages/ccnet-kernels/benchmarks/network.py ${tiny:+--tiny} --out "$out/network.csv"
bench small 30 "${small[@]}" --dtype bfloat16 --only numba torch
part small-rule 20 "$python" packages/ccnet-kernels/benchmarks/small_maps.py "$out/small.csv"
part host 30 "$python" packages/ccnet-kernels/benchmarks/host_cost.py --device "$device"
bench float32 50 "${shapes[@]}" --layout contiguous --only "${plain[@]}"
if [ -z "$tiny" ]; then
  if command -v compute-sanitizer > /dev/null; then
    # Without torch's pool of memory, so that reading past the end of a tensor is seen.
    export PYTORCH_NO_CUDA_MEMORY_CACHING=1
    for tool in memcheck racecheck; do
      part "$tool" 60 compute-sanitizer --tool "$tool" --error-exitcode 1 "$python" "${tests[@]}" -k small -x
    done
  else
    echo "no compute-sanitizer here"; missing=$((missing + 2))
  fi
fi
echo; echo "parts that failed or were not reached: $missing"
exit "$missing"
