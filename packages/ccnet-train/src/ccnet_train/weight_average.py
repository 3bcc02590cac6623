"""An exponential moving average of the weights, with which a run is evaluated and saved."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ccnet_train.errors import TrainError
from ccnet_train.sharding import gathered, shared_out


class WeightAverage:
    """The average of the parameters of `network` over its steps, float32, on the device of each.

    After update t (from 0) it is `d * average + (1 - d) * parameter` with d = min(decay, (1 + t) / (10 + t)), so that
    the first weights are forgotten in a short run too: TensorFlow's ExponentialMovingAverage with `num_updates`.
    Buffers, such as the running statistics of batch norm, are averages already: the network's own are used.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = network
        self.decay = decay
        self.start()

    def start(self) -> None:
        """Begin with the parameters as they are now."""
        self.updates = 0
        self.average = {name: value.detach().float().clone() for name, value in self.network.named_parameters()}

    @torch.no_grad()
    def update(self) -> None:
        """Take in the parameters as they are now: once after every step."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for name, parameter in self.network.named_parameters():
            self.average[name].lerp_(parameter.float(), 1 - decay)
        self.updates += 1

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Let the network have the average in the block, and afterwards its own parameters, bit by bit."""
        own = {name: parameter.detach().clone() for name, parameter in self.network.named_parameters()}
        self._fill(self.average)
        try:
            yield
        finally:
            self._fill(own)

    def state_dict(self) -> dict[str, Any]:
        """Return what :meth:`load_state_dict` needs to go on with the same bits."""
        return {"updates": self.updates, "average": {name: gathered(value) for name, value in self.average.items()}}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over the state of another run's average. Raises TrainError if it is of another network."""
        found, average = state.get("updates"), state.get("average")
        if not isinstance(found, int) or not isinstance(average, Mapping) or not self._fits(average):
            raise TrainError("The saved average of the weights is not of this network. Start over with --fresh.")
        self.updates = found
        for name, value in average.items():
            self.average[name].copy_(shared_out(value, like=self.average[name]))

    def _fits(self, average: Mapping[str, Any]) -> bool:
        shapes = {name: value.shape for name, value in average.items() if isinstance(value, Tensor)}
        return shapes == {name: value.shape for name, value in self.average.items()}

    @torch.no_grad()
    def _fill(self, values: Mapping[str, Tensor]) -> None:
        for name, parameter in self.network.named_parameters():
            parameter.copy_(values[name])
