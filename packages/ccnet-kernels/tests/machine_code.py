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


def table() -> list[dict[str, str | int]]:
    """Return a row for each kernel: registers of a thread, bytes of shared memory, blocks that fit side by side."""
    found = {case: machine_code_of(*case) for case in CASES}
    return [
        {
            "kernel": name,
            "architecture": "sm_{}{}".format(*capability),
            "threads": KERNELS[name].threads,
            "registers": code.registers,
            "shared_bytes": code.shared,
            "instructions": code.sass.count(";"),
        }
        for (name, capability), code in found.items()
    ]


if __name__ == "__main__":
    rows = table()
    writer = csv.DictWriter(sys.stdout, rows[0], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
