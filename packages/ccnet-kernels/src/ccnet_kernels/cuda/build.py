"""Machine code for a kernel and a compute capability, compiled without a driver. This imports Numba."""

import re

from cuda.core import Linker, LinkerOptions, ObjectCode
from numba import cuda, int32, types

from ccnet_kernels.cuda.binary import Binary
from ccnet_kernels.cuda.catalogue import KERNELS
from ccnet_kernels.errors import KernelError


def build(name: str, capability: tuple[int, int]) -> Binary:
    """Compile a kernel of the catalogue to machine code. Raises KernelError if the compiler is missing or refuses."""
    kernel = KERNELS[name]
    try:
        code = _assemble(ptx_of(name, capability), capability)
    except Exception as error:
        remedy = "The extras cu13 and cu12 of ccnet-kernels bring the compilers; a newer device takes newer ones."
        raise KernelError(
            f"{name} cannot be compiled for sm_{capability[0]}{capability[1]}: {error}. {remedy}"
        ) from error
    parameters = "".join(_letter_of(parameter) for parameter in kernel.signature.args)
    return Binary(parameters=parameters, threads=kernel.threads, shared=kernel.shared, code=code)


def ptx_of(name: str, capability: tuple[int, int]) -> str:
    """Compile a kernel of the catalogue to PTX, its entry called `name`. No fastmath: it takes NaN for impossible."""
    kernel = KERNELS[name]
    options = {"device": False, "abi": "numba", "output": "ptx", "launch_bounds": kernel.launch_bounds}
    ptx: str = cuda.compile(kernel.function, kernel.signature, cc=capability, **options)[0]
    # Numba's own name tells its types, and how many kernels this process has compiled before.
    (entry,) = re.findall(r"\.visible \.entry (\w+)\(", ptx)
    return ptx.replace(entry, name)


def _assemble(ptx: str, capability: tuple[int, int]) -> bytes:
    options = LinkerOptions(arch=f"sm_{capability[0]}{capability[1]}")
    return bytes(Linker(ObjectCode.from_ptx(ptx.encode()), options=options).link("cubin").code)


def _letter_of(parameter: types.Type) -> str:
    """Return the letter of the struct module for a kernel's parameter."""
    return "P" if isinstance(parameter, types.CPointer) else {int32: "i"}[parameter]
