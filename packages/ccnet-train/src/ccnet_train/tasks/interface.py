"""What differs between tasks, and what every task does: the loop, its steps, checkpoints and commands know no more."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import ccnet_core as ccnet
from ccnet_train.recipe import ModelSection, Recipe

if TYPE_CHECKING:
    from ccnet_train.datasets import Augmentation, Sample, SampleDataset
    from ccnet_train.detection import MaskRCNN
    from ccnet_train.launch import Accelerator
    from ccnet_train.positions import Batch

Network: TypeAlias = "ccnet.CCNet | MaskRCNN"
"""What is trained: a module with `config`, `save_pretrained` and `push_to_hub`."""

N = TypeVar("N", bound="Network")
F = TypeVar("F", bound="Found")


class Found(Protocol):
    """What an evaluation found."""

    @property
    def pictures(self) -> Sequence[object]:
        """One entry for each picture."""
        ...

    @property
    def has_truth(self) -> bool:
        """Whether there was anything to measure."""
        ...

    @property
    def metrics(self) -> dict[str, float]:
        """The numbers, from 0 to 1, that metrics.jsonl and the model card hold; `Task.score` is among them."""
        ...

    def line(self) -> str:
        """Return them on one line."""
        ...

    def table(self) -> str:
        """Return them and those of each class for the terminal, in percent; only where there is truth."""
        ...


class Objective(Protocol):
    """What a step minimises: the sum of its parts, over its micro-batches, in all processes."""

    parts: tuple[str, ...]
    """The names under which parts are logged; none where there is but one."""

    def divisors(self, truth: Any) -> Tensor:
        """Return what the truth of a micro-batch adds to the divisors of the step (1,)."""
        ...

    def losses(
        self, network: Any, forward: Callable[..., Any], images: Any, truth: Any, divisors: Tensor, share: float
    ) -> Tensor:
        """Return the parts (P,) that are due to a micro-batch, P at least 1.

        `forward` is what computes `network`'s answer. `divisors` is the sum of :meth:`divisors` over the step, `share`
        the part of its pictures that is here.
        """
        ...


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What `ccnet-train evaluate` was asked for; see :func:`ccnet_train.evaluate_weights.evaluate_weights`."""

    recipe: Recipe
    weights: str | Path
    dataset: "SampleDataset"
    split: str
    out: Path
    tta: bool
    labels: str | None
    report: bool
    fresh: bool
    show: bool


class Task(Protocol[N, F]):
    """How samples of one kind are trained on and measured, with networks N and evaluations F."""

    score: str
    """The number of an evaluation by which the best one is chosen: the highest."""

    score_name: str
    """How people call it."""

    def refuse(self, recipe: Recipe, dataset: "SampleDataset") -> None:
        """Raise TrainError for what `recipe` asks for and a run on the training split `dataset` has not."""
        ...

    def build(self, recipe: Recipe, dataset: "SampleDataset") -> N:
        """Return the recipe's network for the classes of `dataset`, its new weights drawn from the recipe's seed."""
        ...

    def require_fit(self, config: Any, section: ModelSection, dataset: "SampleDataset") -> None:
        """Raise TrainError if a network of this `config`, asked for by `section`, cannot be trained on `dataset`."""
        ...

    def training(self, augment: "Augmentation", config: Any) -> "Augmentation":
        """Return `augment` so that it gives what the network trains on."""
        ...

    def collate(self, samples: "Sequence[Sample]") -> "Batch":
        """Return samples as a micro-batch. Raises TrainError for those that cannot be in one."""
        ...

    def to_device(self, batch: "Batch", device: torch.device, *, channels_last: bool) -> tuple[Any, Any]:
        """Return pictures and truth of a micro-batch as the objective takes them."""
        ...

    def objective(self, recipe: Recipe, dataset: "SampleDataset", accelerator: "Accelerator") -> Objective:
        """Return what a step minimises, for the training split `dataset`."""
        ...

    def memory(self, network: N, recipe: Recipe, dataset: "SampleDataset", sample: "Sample", pictures: int) -> str:
        """Return in words what memory a step takes for micro-batches of `pictures` such as `sample`."""
        ...

    def evaluate(self, network: N, dataset: "SampleDataset", accelerator: "Accelerator", *, show: bool) -> F:
        """Compare the predictions of `network` with all of `dataset`, shared among processes; all return the same."""
        ...

    def keep(
        self, folder: Path, found: F, network: N, dataset: "SampleDataset", *, recipe: Recipe, step: int, precision: str
    ) -> None:
        """Write what an evaluation of the split "val" after `step` found into `folder`, beside the weights."""
        ...

    def card(self, config: Any, *, datasets: Sequence[str], license: str | None) -> str:
        """Return the model card of a network without metrics. Raises ConfigError for what cannot stand on one."""
        ...

    def preview(self, path: Path, network: N, dataset: "SampleDataset") -> NDArray[np.uint8]:
        """Write a few pictures with truth and prediction as a PNG, and return that picture (H, W, 3)."""
        ...

    def load(self, folder: Path) -> N:
        """Return the network of a weights folder."""
        ...

    def measure(self, asked: Measurement) -> F:
        """Measure weights on a split, into a folder."""
        ...

    def predict(self, model: N, sample: "Sample") -> Any:
        """Return what the model says of a sample, by the model's own plan."""
        ...

    def picture(self, sample: "Sample") -> NDArray[np.uint8]:
        """Return the picture (3, H, W) that the truth belongs to, for people to look at."""
        ...
