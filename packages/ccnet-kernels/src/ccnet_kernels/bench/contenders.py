"""Everything that is timed: the backends that are installed, and the peers that are written here."""

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

import torch

from ccnet_kernels.bench.case import DTYPES, Attend, Case
from ccnet_kernels.bench.einsum import einsum_attention
from ccnet_kernels.bench.flex import TILES, flex_attend
from ccnet_kernels.bench.lines import merged_attention
from ccnet_kernels.bench.memory import free_bytes
from ccnet_kernels.bench.non_local import explicit_attention, fused_attention
from ccnet_kernels.formula import plain_attention, plain_non_local
from ccnet_kernels.support import OwnSpec, capability_of

GROUP = "ccnet.attention_backends"
OURS, CORE = "numba", "torch"
MAPS_OF_A_STEP = 5  # the most maps of N * N weights that the explicit form holds at one time, going forward and back
Reason = str | None


@dataclass(frozen=True, kw_only=True)
class Contender:
    """One implementation. `why_not` returns why a case cannot be computed, or None."""

    name: str
    attend: Attend
    why_not: Callable[[Case], Reason]
    version: str = ""
    is_backend: bool = False
    is_non_local: bool = False

    @property
    def definition(self) -> Attend:
        """Return the plain formula that this implementation is held against."""
        return plain_non_local if self.is_non_local else plain_attention


def contenders(only: Iterable[str] | None = None) -> list[Contender]:
    """Return the backends, this distribution's first, then the peers; or those named in `only`.

    Raises ValueError for a name that is neither.
    """
    everything = [*backends(), *peers()]
    if only is None:
        return everything
    names = [contender.name for contender in everything]
    unknown = [name for name in only if name not in names]
    if unknown:
        raise ValueError(f"there is no {', '.join(unknown)} here; there are {', '.join(names)}")
    return [contender for contender in everything if contender.name in set(only)]


def backends() -> list[Contender]:
    """Return every backend that the entry-point group names."""
    loaded = {point.name: point.load() for point in entry_points(group=GROUP)}
    return [
        Contender(
            name=name,
            attend=backend,
            why_not=lambda case, backend=backend: backend.why_unsupported(spec_of(case)),  # type: ignore[misc]
            version=backend.version,
            is_backend=True,
        )
        for name, backend in sorted(loaded.items(), key=lambda pair: (pair[0] != OURS, pair[0]))
    ]


def peers() -> list[Contender]:
    """Return the other ways to compute the same, then the non-local block."""
    core = next((backend for backend in backends() if backend.name == CORE), None)
    return [
        *(
            []
            if core is None
            else [Contender(name="torch-compiled", attend=_compiled(core.attend), why_not=core.why_not)]
        ),
        Contender(name="einsum", attend=einsum_attention, why_not=_why_not_pictures),
        Contender(name="einsum-compiled", attend=_compiled(einsum_attention), why_not=_why_not_pictures),
        Contender(name="sdpa-lines", attend=merged_attention(split=False), why_not=_why_not_one_width),
        Contender(name="sdpa-lines-heads", attend=merged_attention(split=True), why_not=_why_not_heads),
        Contender(name="flex", attend=flex_attend, why_not=_why_not_flex),
        Contender(name="non-local", attend=explicit_attention, why_not=_why_not_whole_map, is_non_local=True),
        Contender(name="non-local-sdpa", attend=fused_attention, why_not=_why_not_heads, is_non_local=True),
    ]


def spec_of(case: Case) -> OwnSpec:
    """Return how a backend is asked whether it serves a case, with gradients."""
    return OwnSpec(
        device_type=case.device,
        capability=capability_of(None) if case.device == "cuda" else None,
        dtype=DTYPES[case.dtype],
        rank=len(case.shape) - 3,
        shape=case.shape,
        needs_gradient=True,
    )


def _compiled(attend: Any) -> Attend:
    """Return `attend` under torch.compile, for fixed shapes; the compiler is imported by the first call."""

    def attend_compiled(*arguments: torch.Tensor, **options: torch.Tensor) -> torch.Tensor:
        result: torch.Tensor = _compile(attend)(*arguments, **options)
        return result

    return attend_compiled


@functools.cache
def _compile(attend: Any) -> Any:
    """Return the compiled function; that of an object is its `__call__`."""
    return torch.compile(attend if hasattr(attend, "__code__") else attend.__call__, dynamic=False)


def _why_not_pictures(case: Case) -> Reason:
    return None if len(case.shape) == 5 else "takes pictures, (B, C, H, W)"


def _why_not_one_width(case: Case) -> Reason:
    """The CPU's kernel takes query and value of one width."""
    differ = case.device == "cpu" and case.shape[1] != case.shape[2]
    return "torch's kernel for the CPU takes query and value of one width; see sdpa-lines-heads" if differ else None


def _why_not_heads(case: Case) -> Reason:
    inner, channels = case.shape[1:3]
    return f"{channels} value channels are no multiple of {inner}" if channels % inner else None


def _why_not_flex(case: Case) -> Reason:
    return None if len(case.shape) - 3 in TILES else "has tiles for pictures and clips only"


def _why_not_whole_map(case: Case) -> Reason:
    positions = case.positions // case.shape[0]
    needed = MAPS_OF_A_STEP * case.shape[0] * positions**2 * DTYPES[case.dtype].itemsize
    free = free_bytes(case.device)
    if needed < free:
        return None
    return f"{MAPS_OF_A_STEP} maps of weights take {needed / 1e9:.0f} GB; {free / 1e9:.0f} GB are free"


def named(wanted: str, found: Sequence[Contender]) -> Contender | None:
    """Return the contender of that name, if it is there."""
    return next((contender for contender in found if contender.name == wanted), None)
