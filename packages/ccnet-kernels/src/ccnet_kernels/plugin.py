"""The backend that core finds through the entry-point group `ccnet.attention_backends`."""

from importlib.metadata import version

import torch

from ccnet_kernels.ops import criss_cross_attention
from ccnet_kernels.support import CallSpec, why_unsupported


class NumbaBackend:
    """Criss-cross attention on CUDA. Conforms to core's contract by its looks; core is never imported.

    Importing and asking start no driver, and import no Numba: only compiling a kernel does.
    """

    name = "numba"
    version = version("ccnet-kernels")
    api_version = 1
    priority = 10  # core's own torch path has 0

    def why_unsupported(self, spec: CallSpec) -> str | None:
        """Return None if the call can be served, else one sentence."""
        return why_unsupported(spec)

    def prefers(self, spec: CallSpec) -> bool:  # noqa: ARG002
        """Return False: not yet measured on a GPU, so core takes this backend only when asked for it by name."""
        return False

    def __call__(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        *,
        scale: torch.Tensor | None = None,
        residual: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Return `criss_cross_attention` of the same arguments."""
        return criss_cross_attention(query, key, value, scale=scale, residual=residual)


backend = NumbaBackend()
