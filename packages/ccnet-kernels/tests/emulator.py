"""CUDA kernels on the CPU: the unmodified source, run for all threads of many blocks in step.

`launch` takes a kernel's function and tensors in its parameters' places. What it finds out by itself: reads and writes
out of bounds, misaligned addresses, reads of what was never written or has not arrived, a barrier or a collective that
not all threads reach, and conflicting accesses without a barrier between, in shared memory and among blocks.
float32 is float32: it rounds and overflows as on the device. The sums of a tensor core round a little differently.
"""

from collections.abc import Callable, Sequence
from types import ModuleType
from typing import Any

import numpy as np
import torch
from emulated_instructions import Instructions
from emulated_memory import EmulationError, Global, Window
from emulated_source import run as run_source
from emulated_threads import Threads
from emulated_traffic import CountedInstructions, Traffic, note_touched
from numba import types

from ccnet_kernels.cuda import catalogue

TOGETHER = 8192  # threads that run in step: enough to make a vector worth its while, few enough for the cache

Argument = torch.Tensor | int | float | bool | None


def launch(
    kernel: Callable[..., None],
    blocks: int,
    threads: int,
    arguments: Sequence[Argument],
    shared: int = 0,
    *,
    traffic: Traffic | None = None,
) -> None:
    """Run `blocks` blocks of `threads` threads. Tensors are dense and in the CPU's memory, None is a null pointer.

    `shared` is the size of a shared array of 0 elements, in bytes. What the launch moves and computes is added to
    `traffic`.
    """
    memories: list[Global] = []
    given = tuple(
        _memory_of(argument, memories) if isinstance(argument, torch.Tensor) else argument for argument in arguments
    )
    step = max(1, TOGETHER // threads)
    for first in range(0, blocks, step):
        team = Threads(np.arange(first, min(first + step, blocks)), threads, shared)
        with np.errstate(all="ignore"):
            instructions = (
                Instructions(team, memories) if traffic is None else CountedInstructions(team, memories, traffic)
            )
            run_source(kernel, given, instructions)
        team.end()
    if traffic is not None:
        note_touched(traffic, memories)


def _memory_of(tensor: torch.Tensor, memories: list[Global]) -> Global | Window:
    """Return the memory of a tensor; the same one for a tensor that is given twice.

    Some channels of a wider map lie in the memory of the whole.
    """
    reach = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
    if reach > tensor.numel():
        whole = tensor.detach().new_empty(0).set_(tensor.untyped_storage())
        return Window(_memory_of(whole, memories), tensor.storage_offset())
    flat = torch.as_strided(tensor.detach(), (tensor.numel(),), (1,))
    numbers = flat.numpy() if tensor.dtype == torch.float32 else flat.view(torch.int16).numpy().view(np.uint16)
    first, last = numbers.ctypes.data, numbers.ctypes.data + numbers.nbytes
    for memory in memories:
        start, end = memory.numbers.ctypes.data, memory.numbers.ctypes.data + memory.numbers.nbytes
        if (start, end) == (first, last):
            return memory
        if first < end and start < last:
            raise EmulationError("two tensors share a part of their memory")
    memories.append(Global(len(memories) + 1, f"argument {len(memories)}", numbers))
    return memories[-1]


def run(
    name: str,
    blocks: int,
    arguments: Sequence[Argument],
    threads: int | None = None,
    shared: int = 0,
    *,
    traffic: Traffic | None = None,
) -> None:
    """Stand in for `ccnet_kernels.cuda.launch.run`."""
    run_of(catalogue)(name, blocks, arguments, threads, shared, traffic=traffic)


def run_of(kernels: ModuleType) -> Callable[..., None]:
    """Return a stand-in for `launch.run` with the kernels of this catalogue."""

    def run_kernel(
        name: str,
        blocks: int,
        arguments: Sequence[Argument],
        threads: int | None = None,
        shared: int = 0,
        *,
        traffic: Traffic | None = None,
    ) -> None:
        kernel = kernels.KERNELS[name]
        if (threads or kernel.threads) > kernel.threads or shared > kernel.shared:
            raise EmulationError(f"{name} is not made for {threads} threads and {shared} bytes of shared memory")
        for number, (argument, kind) in enumerate(zip(arguments, kernel.signature.args, strict=True)):
            if not _fits(argument, kind):
                raise EmulationError(f"argument {number} of {name} is no {kind}: {argument}")
        launch(kernel.function, blocks, threads or kernel.threads, arguments, shared, traffic=traffic)

    return run_kernel


def _fits(argument: Argument, kind: Any) -> bool:
    if not isinstance(kind, types.CPointer):
        return isinstance(argument, int) and kind.minval <= argument <= kind.maxval
    dtypes = [torch.float32] if kind.dtype == types.float32 else [torch.float16, torch.bfloat16]
    return argument is None or (isinstance(argument, torch.Tensor) and argument.dtype in dtypes)
