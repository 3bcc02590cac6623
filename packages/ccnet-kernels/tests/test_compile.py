"""Every kernel becomes PTX, and where ptxas is installed machine code, on a machine without a GPU or a driver."""

import re
import shutil
import subprocess

import pytest
from numba import boolean, config, cuda, float32, int64, types, void

from ccnet_kernels.cuda import backward, forward

MAPS = types.Array(float32, 3, "C")  # (B, channels, P)
PIXELS = types.Array(float32, 2, "C")  # (B, P)
SIGNATURES = {
    forward.log_sum_exp: void(MAPS, MAPS, PIXELS, int64, int64),
    forward.weighted_sum: void(MAPS, MAPS, MAPS, PIXELS, MAPS, int64, int64, boolean),
    backward.channel_dot: void(MAPS, MAPS, PIXELS),
    backward.energy_gradient: void(MAPS, MAPS, MAPS, MAPS, PIXELS, PIXELS, MAPS, int64, int64, boolean),
}
THREADS = 256
REGISTERS_OF_AN_SM = 65536
every_kernel = pytest.mark.parametrize("kernel", SIGNATURES, ids=lambda kernel: kernel.__name__)
every_capability = pytest.mark.parametrize("capability", [(7, 5), (8, 0), (9, 0)], ids=lambda cc: f"sm_{cc[0]}{cc[1]}")


@pytest.fixture(scope="module")
def compile_kernel():
    if config.ENABLE_CUDASIM:
        pytest.skip("the simulator compiles nothing")
    pathfinder = pytest.importorskip("cuda.pathfinder", reason="needs the extra cu12 or cu13")
    try:
        pathfinder.load_nvidia_dynamic_lib("nvvm")
        pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except pathfinder.DynamicLibNotFoundError as error:
        pytest.skip(f"needs NVVM and NVRTC, from the extra cu12 or cu13: {str(error).splitlines()[0]}")

    def to_ptx(kernel, capability):
        options = {"cc": capability, "device": False, "abi": "numba", "output": "ptx"}
        return cuda.compile(kernel, SIGNATURES[kernel], **options)[0]

    return to_ptx


@every_capability
@every_kernel
def test_it_compiles_without_a_driver_and_without_local_memory_or_atomics(kernel, capability, compile_kernel):
    ptx = compile_kernel(kernel, capability)
    assert f".target sm_{capability[0]}{capability[1]}" in ptx
    assert ".local" not in ptx
    assert not re.search(r"\b(atom|red)\.", ptx)


@every_capability
@every_kernel
def test_machine_code_spills_nothing_and_leaves_room_for_two_blocks(kernel, capability, compile_kernel, tmp_path):
    ptxas = shutil.which("ptxas")
    if ptxas is None:
        pytest.skip("needs ptxas on PATH")
    source = tmp_path / "kernel.ptx"
    source.write_text(compile_kernel(kernel, capability))
    architecture = f"-arch=sm_{capability[0]}{capability[1]}"
    run = subprocess.run(
        [ptxas, "-v", architecture, str(source), "-o", str(tmp_path / "kernel.cubin")],
        capture_output=True,
        text=True,
        check=False,
    )
    if "Unsupported .version" in run.stderr:
        pytest.skip(f"this ptxas is older than Numba's NVVM: {run.stderr.splitlines()[0]}")
    assert run.returncode == 0, run.stderr
    registers = int(re.findall(r"Used (\d+) registers", run.stderr)[0])
    print(f"{kernel.__name__} {architecture[6:]}: {registers} registers")
    assert "0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads" in run.stderr
    assert 2 * THREADS * registers <= REGISTERS_OF_AN_SM
