"""Every kernel by name, with what compiling and launching it takes. Importing this imports Numba, but starts no driver.

A name ends in its number format: `attend_bfloat16`. The float32 kernels run on any supported device, the others need
tensor cores.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from numba import float32, int32, types, uint16, void

from ccnet_kernels.cuda import (
    line_attention,
    line_gradients,
    lines,
    pixel_attention,
    pixel_gradients,
    pixel_walk,
    ptx,
    short_attention,
    short_gradients,
    short_lines,
)

_HALF, _SINGLE = types.CPointer(uint16), types.CPointer(float32)
_H, _S, _I = [_HALF], [_SINGLE], [int32]


@dataclass(frozen=True, kw_only=True)
class Kernel:
    """A kernel: its function, Numba's signature, the most threads of a block and the least compute capability.

    `resident` blocks must fit a multiprocessor together, which bounds the registers of a thread. `shared` are the most
    bytes of shared memory that a launch asks for beside those that the function declares.
    """

    function: Callable[..., None]
    signature: Any
    threads: int
    resident: int
    capability: tuple[int, int]
    shared: int = 0

    @property
    def launch_bounds(self) -> tuple[int, int]:
        """Return threads and resident blocks, as the compiler takes them."""
        return self.threads, self.resident


def _pixel(function: Callable[..., None], parameters: list[Any]) -> Kernel:
    return Kernel(
        function=function, signature=void(*parameters), threads=pixel_walk.THREADS, resident=2, capability=(7, 5)
    )


def _line(function: Callable[..., None], parameters: list[Any], resident: int) -> Kernel:
    return Kernel(
        function=function, signature=void(*parameters), threads=lines.THREADS, resident=resident, capability=(8, 0)
    )


def _short(function: Callable[..., None], parameters: list[Any], shared: int) -> Kernel:
    signature = void(*parameters)
    return Kernel(
        function=function,
        signature=signature,
        threads=short_lines.THREADS,
        resident=2,
        capability=(8, 0),
        shared=shared,
    )


def _line_kernels(number: ptx.Number) -> dict[str, Kernel]:
    gradient = [*_H * 4, *_S * 3, *_H, *_I * 6]
    attended = [*_H * 3, *_S * 2, *_H, *_S, *_H * 2]
    made = {
        "attend_short": _short(
            short_attention.attend_short_kernel(number), [*attended, *_I * 12], short_attention.SHARED
        ),
        "attend": _line(line_attention.attend_kernel(number), [*attended, *_I * 9], 3),
        "gradients_short": _short(
            short_gradients.gradients_short_kernel(number), [*_H * 4, *_S * 3, *_H * 3, *_I * 8], short_gradients.SHARED
        ),
        "channel_dot": _line(line_gradients.channel_dot_kernel(number), [*_H * 2, *_S, *_I * 2], 8),
        "weighted_sum": _line(line_gradients.weighted_sum_kernel(number), [*_H * 3, *_S * 2, *_H, *_I * 6], 2),
        "query_gradient": _line(line_gradients.energy_gradient_kernel(number, False), gradient, 2),
        "key_gradient": _line(line_gradients.energy_gradient_kernel(number, True), gradient, 2),
    }
    return {f"{name}_{number.name}": kernel for name, kernel in made.items()}


KERNELS: dict[str, Kernel] = {
    "log_sum_exp_float32": _pixel(pixel_attention.log_sum_exp, [*_S * 3, *_I * 4]),
    "weighted_sum_float32": _pixel(pixel_attention.weighted_sum, [*_S * 8, *_I * 9]),
    "channel_dot_float32": _pixel(pixel_gradients.channel_dot, [*_S * 3, *_I * 3]),
    "energy_gradient_float32": _pixel(pixel_gradients.energy_gradient, [*_S * 8, *_I * 7]),
    **_line_kernels(ptx.BFLOAT16),
    **_line_kernels(ptx.FLOAT16),
}
