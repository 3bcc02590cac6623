"""What is computed: one attention step, or the recurrent block around it, on random maps.

Letters: B batch, D query and key channels, C value channels, S the axes of position, (H, W) or (T, H, W).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F

Attend = Callable[..., torch.Tensor]
Arguments = Mapping[str, torch.Tensor]

RECURRENCE = 2  # as in the paper
SIZE = 2**-5  # of value and residual: the gradient of scale sums over both, and float16 ends at 65504
LEVELS = ("operator", "block")
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
LAYOUTS = ("contiguous", "channels_last")


@dataclass(frozen=True, kw_only=True)
class Case:
    """One thing to compute. `shape` is (B, D, C, *S), `dtype` a key of DTYPES.

    `level` operator: scale * attended + residual of given query, key and value. `level` block: the module of the
    paper's section 3.3, 1x1 convolutions to query, key and value, attention, scale and residual, RECURRENCE times with
    the same weights.
    """

    level: str
    shape: tuple[int, ...]
    dtype: str
    device: str
    layout: str

    @property
    def positions(self) -> int:
        """Return B * N: how many positions attend."""
        return self.shape[0] * math.prod(self.shape[3:])

    def __str__(self) -> str:
        """Return the case in one line, as a heading."""
        return f"{self.level} {'x'.join(map(str, self.shape))} {self.dtype} {self.layout}"


def random_arguments(case: Case) -> dict[str, torch.Tensor]:
    """Make the leaves of a case, with energies of variance 1."""
    batch, inner, channels, *extent = case.shape
    generator = torch.Generator(case.device).manual_seed(0)

    def random(*size: int, deviation: float = 1.0) -> torch.Tensor:
        made = (deviation * torch.randn(size, generator=generator, device=case.device)).to(DTYPES[case.dtype])
        if case.layout == "channels_last" and made.ndim > 2:
            made = made.movedim(1, -1).contiguous().movedim(-1, 1)
        return made.requires_grad_()

    scale = torch.full((1,), 0.7, device=case.device, dtype=DTYPES[case.dtype]).requires_grad_()
    if case.level == "operator":
        sizes = {"query": inner, "key": inner, "value": channels, "residual": channels}
        deviations = {"query": inner**-0.25, "key": inner**-0.25}
        maps = {name: random(batch, n, *extent, deviation=deviations.get(name, SIZE)) for name, n in sizes.items()}
        return {**maps, "scale": scale}
    x = random(batch, channels, *extent, deviation=SIZE)
    widths = {"query": inner, "key": inner, "value": channels}
    deviations = {name: channels**-0.5 * (1 if name == "value" else inner**-0.25 / SIZE) for name in widths}
    ones = [1] * len(extent)
    weights = {f"{name}_weight": random(n, channels, *ones, deviation=deviations[name]) for name, n in widths.items()}
    # A bias of key would add the same to all energies of a query, so its gradient is 0 and holds nothing to check.
    biases = {f"{name}_bias": random(widths[name], deviation=SIZE / 8) for name in ("query", "value")}
    return {"x": x, **weights, **biases, "scale": scale}


def compute(attend: Attend, arguments: Arguments) -> torch.Tensor:
    """Compute what the arguments of a case ask for."""
    if "x" not in arguments:
        return attend(**arguments)
    x = arguments["x"]
    for _ in range(RECURRENCE):
        x = _step(attend, x, arguments)  # a call, so that maps of the last step are gone
    return x


def _step(attend: Attend, x: torch.Tensor, arguments: Arguments) -> torch.Tensor:
    convolve: Any = F.conv2d if x.ndim == 4 else F.conv3d
    query, key, value = (
        convolve(x, arguments[f"{name}_weight"], arguments.get(f"{name}_bias")) for name in ("query", "key", "value")
    )
    return attend(query, key, value, scale=arguments["scale"], residual=x)


@torch.no_grad()
def forward(attend: Attend, arguments: Arguments) -> dict[str, torch.Tensor]:
    """Predict; return the output under its name."""
    return {"output": compute(attend, arguments)}


def forward_backward(attend: Attend, arguments: Arguments) -> dict[str, torch.Tensor]:
    """Train on half the sum of squares; return the output and, by name, the gradient of every argument."""
    output = compute(attend, arguments)
    gradients = torch.autograd.grad(output, list(arguments.values()), output.detach())
    return {"output": output.detach(), **dict(zip(arguments, gradients, strict=True))}


STEPS: dict[str, Callable[[Attend, Arguments], dict[str, torch.Tensor]]] = {
    "forward": forward,
    "forward_backward": forward_backward,
}
