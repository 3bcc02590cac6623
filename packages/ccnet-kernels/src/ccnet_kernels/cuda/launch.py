"""Compiled kernels on a device: loaded once, launched on torch's current stream. The only room that meets the driver.

The driver is called through ctypes: a launch is three calls, and nothing needs to be imported for it.
"""

import ctypes
import functools
import struct
import sys
import threading
from collections.abc import Sequence
from ctypes import byref, c_char_p, c_int, c_uint, c_void_p
from typing import Any

import torch

from ccnet_kernels.cuda.binary import Binary, binary_of

Argument = torch.Tensor | int | None
OUT_OF_MEMORY = 2  # CUDA_ERROR_OUT_OF_MEMORY
FREELY_SHARED = 48 * 1024  # bytes of shared memory that a launch may ask for without an attribute of the kernel
MOST_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
END, ARGUMENTS, SIZE_OF_ARGUMENTS = 0, 1, 2  # CU_LAUNCH_PARAM_END, _BUFFER_POINTER, _BUFFER_SIZE


class Kernel:
    """A kernel on one device, with the layout of the memory that a launch hands to the driver.

    First come the arguments as C would lay them out, from `words` on the five words that tell where they are, from
    `size` on their number of bytes.
    """

    def __init__(self, binary: Binary, function: c_void_p, context: c_void_p) -> None:
        self.threads, self.function, self.context = binary.threads, function, context
        self.bytes_of_arguments = struct.calcsize(binary.parameters)
        self.words = struct.calcsize(binary.parameters + "0P")
        self.size = self.words + struct.calcsize("5P")
        self.layout = struct.Struct(binary.parameters + "0P5PN")
        self.memory = ctypes.c_char * self.layout.size
        self.pointers = binary.parameters.count("P")  # which come first


_kernels: dict[tuple[str, int | None], Kernel] = {}
_loading = threading.Lock()


def run(name: str, blocks: int, arguments: Sequence[Argument], threads: int | None = None, shared: int = 0) -> None:
    """Launch a kernel of the catalogue on the device of its first argument, a tensor, on torch's current stream.

    `arguments` are in the order of the kernel; None is a null pointer. A block has `threads`, else as many as the
    catalogue says, and `shared` bytes of shared memory beside those that the kernel declares. A kernel is loaded at its
    first launch, which a CUDA graph cannot record. Raises torch.OutOfMemoryError or RuntimeError if the driver refuses,
    KernelError if the kernel cannot be compiled.
    """
    device = arguments[0].device.index  # type: ignore[union-attr]
    kernel = _kernels.get((name, device)) or _load(name, device)
    # Asked at every call: with a remembered stream, a graph would be recorded empty.
    stream = torch._C._cuda_getCurrentRawStream(device)
    memory = kernel.memory()
    start = ctypes.addressof(memory)
    tensors: Any = arguments[: kernel.pointers]
    pointers = [0 if tensor is None else tensor.data_ptr() for tensor in tensors]
    words = (ARGUMENTS, start, SIZE_OF_ARGUMENTS, start + kernel.size, END)
    kernel.layout.pack_into(memory, 0, *pointers, *arguments[kernel.pointers :], *words, kernel.bytes_of_arguments)
    driver = _driver()
    # A thread that has not met the device yet, or that works on another one, has another context or none.
    _check(driver.cuCtxPushCurrent_v2(kernel.context), name)
    threads = threads or kernel.threads
    grid = blocks, 1, 1, threads, 1, 1
    status = driver.cuLaunchKernel(kernel.function, *grid, shared, stream, None, start + kernel.words)
    driver.cuCtxPopCurrent_v2(byref(c_void_p()))
    _check(status, f"{name} in {blocks} blocks of {threads} threads")


def _load(name: str, device: int | None) -> Kernel:
    with _loading:
        if (name, device) not in _kernels:
            binary = binary_of(name, torch.cuda.get_device_capability(device))
            _kernels[name, device] = _place(name, binary, 0 if device is None else device)
        return _kernels[name, device]


def _place(name: str, binary: Binary, device: int) -> Kernel:
    """Copy a kernel to a device. Neither it nor the hold on torch's context is given back before the process ends."""
    driver, number, context, module, function = _driver(), c_int(), c_void_p(), c_void_p(), c_void_p()
    _check(driver.cuDeviceGet(byref(number), device), f"device {device}")
    _check(driver.cuDevicePrimaryCtxRetain(byref(context), number), f"device {device}")
    _check(driver.cuCtxPushCurrent_v2(context), f"device {device}")
    try:
        _check(driver.cuModuleLoadData(byref(module), binary.code), f"loading {name}")
        _check(driver.cuModuleGetFunction(byref(function), module, name.encode()), f"loading {name}")
        if binary.shared > FREELY_SHARED:
            _check(driver.cuFuncSetAttribute(function, MOST_SHARED, binary.shared), f"loading {name}")
    finally:
        driver.cuCtxPopCurrent_v2(byref(c_void_p()))
    return Kernel(binary, function, context)


@functools.cache
def _driver() -> ctypes.CDLL:
    """Return the driver's functions with their parameters."""
    driver = _library()
    driver.cuLaunchKernel.argtypes = [c_void_p, *[c_uint] * 7, c_void_p, c_void_p, c_void_p]
    driver.cuCtxPushCurrent_v2.argtypes = [c_void_p]
    driver.cuModuleLoadData.argtypes = [c_void_p, c_char_p]
    driver.cuModuleGetFunction.argtypes = [c_void_p, c_void_p, c_char_p]
    driver.cuFuncSetAttribute.argtypes = [c_void_p, c_int, c_int]
    return driver


def _library() -> ctypes.CDLL:
    """Return the driver, which torch has started: there is a tensor on the device."""
    return ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")


def _check(status: int, doing: str) -> None:
    if status == 0:
        return
    text = c_char_p()
    _driver().cuGetErrorString(status, byref(text))
    message = f"CUDA error {status} at {doing}: {(text.value or b'unknown').decode()}"
    raise torch.OutOfMemoryError(message) if status == OUT_OF_MEMORY else RuntimeError(message)
