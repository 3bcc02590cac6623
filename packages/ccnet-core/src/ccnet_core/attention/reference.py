"""The attention backend that always works: torch operations, on any device."""

import torch
from torch import Tensor

from ccnet_core.attention import cpu
from ccnet_core.attention.formula import attend
from ccnet_core.attention.interface import API_VERSION, AttentionSpec


class TorchBackend:
    """The attention backend made of torch operations.

    On the CPU it takes the form in `cpu`, which was measured to be the fastest there. Half precision, autocast, other
    devices and whatever is traced, compiled or exported take the plain formula.
    """

    name = "torch"
    version = str(torch.__version__)
    api_version = API_VERSION
    priority = 0

    def why_unsupported(self, spec: AttentionSpec) -> str | None:
        """Serve every device and floating dtype, for pictures and for clips."""
        if spec.rank not in (2, 3):
            return f"takes (B, channels, H, W) or (B, channels, T, H, W); this call has {spec.rank} axes of position."
        if not spec.dtype.is_floating_point:
            return f"needs a floating dtype; this call is in {spec.dtype}."
        return None

    def prefers(self, spec: AttentionSpec) -> bool:  # noqa: ARG002
        """Be the choice whenever nothing of higher priority wants the call."""
        return True

    def __call__(
        self, query: Tensor, key: Tensor, value: Tensor, *, scale: Tensor | None = None, residual: Tensor | None = None
    ) -> Tensor:
        """Compute one step; see :class:`ccnet_core.attention.interface.AttentionBackend`."""
        if cpu.serves(query, key, value, scale, residual):
            return cpu.attend(query, key, value, scale, residual)
        attended = attend(query, key, value)
        if scale is not None:
            attended = scale * attended
        return attended if residual is None else residual + attended


backend = TorchBackend()
