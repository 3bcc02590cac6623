"""Compiled kernels, kept on disk between processes.

A file is named by everything that its content depends on, the sources of this folder, the versions of the compilers,
the kernel and the capability, so it never grows old. Where all files are there, no process imports Numba.
"""

import functools
import hashlib
import json
import os
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

# NVVM and nvJitLink have a package for each major version of CUDA.
COMPILERS = (
    *("numba", "numba-cuda", "llvmlite", "cuda-core", "cuda-bindings"),
    *("nvidia-nvvm", "nvidia-cuda-nvcc-cu12", "nvidia-nvjitlink", "nvidia-nvjitlink-cu12"),
)


@dataclass(frozen=True, kw_only=True)
class Binary:
    """A compiled kernel, whose entry has its name in the catalogue.

    `parameters` are letters of the struct module, in the order of the kernel; `threads` are those of a block, `shared`
    the most bytes of shared memory that a launch asks for.
    """

    parameters: str
    threads: int
    shared: int
    code: bytes


def binary_of(name: str, capability: tuple[int, int]) -> Binary:
    """Return a kernel of the catalogue, from its file if that is there and whole, else compiled.

    Files are in the folder that CCNET_KERNELS_CACHE names, else in `ccnet_kernels` of the user's cache. A folder that
    cannot be written costs a warning, and the time to compile in each process.
    Raises KernelError if the kernel cannot be compiled.
    """
    path = _folder() / f"{name}-sm_{capability[0]}{capability[1]}-{_origin()}"
    found = _read(path)
    if found is None:
        from ccnet_kernels.cuda.build import build  # imports Numba

        found = build(name, capability)
        _write(path, found)
    return found


def _folder() -> Path:
    chosen = os.environ.get("CCNET_KERNELS_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()) / "ccnet_kernels"


@functools.cache
def _origin() -> str:
    """Return a digest of the compilers and sources that a kernel is made with."""
    digest = hashlib.sha256()
    for part in (*map(_version_of, COMPILERS), *_sources()):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _version_of(name: str) -> bytes:
    try:
        return f"{name} {version(name)}".encode()
    except PackageNotFoundError:
        return f"{name} is not installed".encode()


def _sources() -> list[bytes]:
    return [path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))]


def _read(path: Path) -> Binary | None:
    """Return what a file holds, None if there is none or if it is damaged."""
    try:
        digest, _, content = path.read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest().encode() != digest:
        return None
    facts, _, code = content.partition(b"\n")
    return Binary(**json.loads(facts), code=code)


def _write(path: Path, binary: Binary) -> None:
    """Write a line with the SHA-256 of what follows, a line of facts, and the code."""
    facts = {"parameters": binary.parameters, "threads": binary.threads, "shared": binary.shared}
    content = json.dumps(facts).encode() + b"\n" + binary.code
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = Path(folder) / path.name
            whole.write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            whole.replace(path)  # so that no process reads half a file
    except OSError as error:
        _warn_of(path.parent, error)


_folders_warned_of: set[Path] = set()


def _warn_of(folder: Path, error: OSError) -> None:
    if folder not in _folders_warned_of:
        _folders_warned_of.add(folder)
        text = f"Compiled kernels cannot be kept in {folder}, so each process compiles them anew: {error}"
        warnings.warn(f"{text}. CCNET_KERNELS_CACHE names another folder.", stacklevel=2)
