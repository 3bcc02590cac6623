"""What the compiler and the assembler make of a kernel, without a GPU or a driver.

The table of all kernels as a file, with ptxas and nvdisasm on PATH:
`python tests/machine_code.py > benchmarks/registers.csv`.
"""

import csv
import functools
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from ccnet_kernels.cuda.build import ptx_of
from ccnet_kernels.cuda.catalogue import KERNELS

CAPABILITIES = [(7, 5), (8, 0), (9, 0)]
CASES = [(name, cc) for cc in CAPABILITIES for name, kernel in KERNELS.items() if cc >= kernel.capability]


class ToolMissingError(Exception):
    """A compiler, an assembler or a disassembler is not installed, or too old."""


@dataclass(frozen=True, kw_only=True)
class Multiprocessor:
    """What the blocks on a multiprocessor share (CUDA C++ Programming Guide, technical specifications)."""

    warps: int
    blocks: int
    shared: int
    registers: int = 65536


MULTIPROCESSORS = {
    (7, 5): Multiprocessor(warps=32, blocks=16, shared=64 * 1024),
    (8, 0): Multiprocessor(warps=64, blocks=32, shared=164 * 1024),
    (9, 0): Multiprocessor(warps=64, blocks=32, shared=228 * 1024),
}


@dataclass(frozen=True, kw_only=True)
class MachineCode:
    """A kernel for one capability: both languages, and bytes as ptxas tells them."""

    ptx: str
    sass: str
    registers: int
    shared: int
    stack: int
    spilled: int


@functools.cache
def machine_code_of(name: str, capability: tuple[int, int]) -> MachineCode:
    """Compile, assemble and disassemble a kernel of the catalogue, once in a process."""
    ptx = _ptx_of(name, capability)
    with tempfile.TemporaryDirectory() as folder:
        source, binary = Path(folder, "kernel.ptx"), str(Path(folder, "kernel.cubin"))
        source.write_text(ptx)
        told = _run("ptxas", "-v", "-arch=sm_{}{}".format(*capability), str(source), "-o", binary).stderr
        sass = _run("nvdisasm", "-c", binary).stdout
    stack, *spilled = map(int, re.findall(r"(\d+) bytes (?:stack frame|spill stores|spill loads)", told))
    shared = re.findall(r"(\d+) bytes smem", told)
    registers = int(re.findall(r"Used (\d+) registers", told)[0])
    return MachineCode(ptx=ptx, sass=sass, registers=registers, shared=int(*shared), stack=stack, spilled=sum(spilled))


def _ptx_of(name: str, capability: tuple[int, int]) -> str:
    try:
        from cuda import pathfinder  # of the extras cu12 and cu13

        pathfinder.load_nvidia_dynamic_lib("nvvm")
        pathfinder.load_nvidia_dynamic_lib("nvrtc")
    except (ImportError, pathfinder.DynamicLibNotFoundError) as error:
        raise ToolMissingError(f"needs NVVM and NVRTC, from the extra cu12 or cu13: {error}") from error
    return ptx_of(name, capability)


def _run(tool: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(tool) is None:
        raise ToolMissingError(f"needs {tool} on PATH")
    done = subprocess.run([tool, *arguments], capture_output=True, text=True, check=False)
    if "Unsupported .version" in done.stderr:
        raise ToolMissingError(f"this {tool} is older than Numba's NVVM: {done.stderr.splitlines()[0]}")
    if done.returncode:
        raise RuntimeError(f"{tool}: {done.stderr}")
    return done


def resident_blocks(registers: int, shared: int, threads: int, capability: tuple[int, int]) -> int:
    """Return how many blocks fit a multiprocessor; `registers` of a thread and bytes of `shared` memory of a block."""
    has, warps = MULTIPROCESSORS[capability], threads // 32
    of_a_warp = -(-registers * 32 // 256) * 256
    of_a_block = -(-shared // 128) * 128 + 1024  # 1 KB of each block is the system's
    return min(has.blocks, has.warps // warps, has.registers // (of_a_warp * warps), has.shared // of_a_block)


def table() -> list[dict[str, str | int]]:
    """Return a row for each kernel: registers of a thread, and of its largest block how many fit a multiprocessor."""
    found = {case: machine_code_of(*case) for case in CASES}
    shared = {(name, capability): code.shared + KERNELS[name].shared for (name, capability), code in found.items()}
    return [
        {
            "kernel": name,
            "architecture": "sm_{}{}".format(*capability),
            "threads": KERNELS[name].threads,
            "registers": code.registers,
            "shared_bytes": shared[name, capability],
            "resident_blocks": resident_blocks(
                code.registers, shared[name, capability], KERNELS[name].threads, capability
            ),
            "instructions": code.sass.count(";"),
        }
        for (name, capability), code in found.items()
    ]


if __name__ == "__main__":
    rows = table()
    writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
