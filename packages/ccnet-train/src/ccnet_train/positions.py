"""Which picture a step sees: the data state of a run is one integer, the global sample position.

Iteration t trains on positions [t * B, (t + 1) * B), B pictures per step over all processes. A position's picture and
the random numbers of its augmentation are pure functions of (seed, position), so neither resuming nor the number of
processes or workers changes which samples are seen.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ccnet_train.datasets import Augmentation, Sample, SampleDataset
from ccnet_train.errors import TrainError
from ccnet_train.preemption import ignore_signals
from ccnet_train.randomness import Purpose, generator


class Batch(NamedTuple):
    """`images` (B, 3, H, W) uint8 RGB, of clips (B, T, 3, H, W), `labels` (B, H, W) uint8, and one id per picture.

    Of objects both are lists, with one entry per picture. `replaced` has the error of each damaged sample that another
    one stands in for.
    """

    images: Any
    labels: Any
    ids: tuple[str, ...]
    replaced: tuple[str, ...]


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, samples: int) -> np.ndarray:
    return generator(Purpose.ORDER, seed, epoch).permutation(samples)


def index_at(position: int, *, seed: int, samples: int) -> int:
    """Return the index in a dataset of `samples` pictures that `position` stands for.

    Every epoch, `samples` positions long, is a permutation of its own.
    """
    epoch, place = divmod(position, samples)
    return int(_order(seed, epoch, samples)[place])


def images_per_process(images_per_step: int, processes: int, accumulation: int = 1) -> int:
    """Return the pictures of one micro-batch of one process. Raises TrainError if they would not be equally many."""
    if images_per_step % (processes * accumulation) == 0:
        return images_per_step // (processes * accumulation)
    if images_per_step % accumulation:
        raise TrainError(
            f"train.images_per_step={images_per_step} cannot be divided into train.accumulation={accumulation} equal "
            "parts. Change one of them."
        )
    whole, parts = images_per_step // accumulation, f", each in {accumulation} parts" if accumulation > 1 else ""
    numbers = [number for number in range(1, whole + 1) if whole % number == 0]
    raise TrainError(
        f"train.images_per_step={images_per_step} cannot be shared by {processes} processes{parts}. "
        f"Numbers of processes that work: {', '.join(map(str, numbers))}; or change train.images_per_step."
    )


class PositionBatches(Sampler[list[int]]):
    """The positions of one process, from iteration `start` to `stop`: `accumulation` lists, one after another, of each.

    The lists of an iteration, over all processes, are its positions.
    """

    def __init__(
        self,
        *,
        start: int,
        stop: int,
        images_per_step: int,
        rank: int = 0,
        processes: int = 1,
        accumulation: int = 1,
    ) -> None:
        self.iterations = range(start, stop)
        self.images_per_step = images_per_step
        self.share = images_per_process(images_per_step, processes, accumulation)
        self.parts = range(rank * accumulation, (rank + 1) * accumulation)

    def __len__(self) -> int:
        return len(self.iterations) * len(self.parts)

    def __iter__(self) -> Iterator[list[int]]:
        for iteration in self.iterations:
            for part in self.parts:
                first = iteration * self.images_per_step + part * self.share
                yield list(range(first, first + self.share))


class PositionDataset(Dataset[Sample]):
    """A dataset indexed by global position: the picture is looked up, then augmented.

    Positions stand for what the dataset's own order says, if it has one, otherwise for what `index_at` does.
    """

    def __init__(self, dataset: SampleDataset, augment: Augmentation, seed: int) -> None:
        self.dataset = dataset
        self.augment = augment
        self.seed = seed
        own_order = getattr(dataset, "order", None)
        self.index_at = own_order(seed).index_at if own_order else partial(index_at, seed=seed, samples=len(dataset))

    def __getitem__(self, position: int) -> Sample:
        sample = self.dataset[self.index_at(position)]
        return self.augment(sample, generator(Purpose.AUGMENT, self.seed, position))


def collate(samples: Sequence[Sample]) -> Batch:
    """Stack samples as bytes. Raises TrainError if their sizes differ."""
    sizes = {(*sample["image"].shape[:-3], *sample["label"].shape) for sample in samples}
    if len(sizes) > 1:
        raise TrainError(
            f"The pictures of one step have different sizes: {', '.join(map(str, sorted(sizes)))} "
            f"(among them {samples[0]['id']!r}). Cut them to one size with augment.crop=[height,width]."
        )
    return Batch(
        images=torch.from_numpy(np.stack([sample["image"] for sample in samples])),
        labels=torch.from_numpy(np.stack([sample["label"] for sample in samples])),
        ids=tuple(sample["id"] for sample in samples),
        replaced=tuple(sample["replaces"] for sample in samples if "replaces" in sample),
    )


class _BatchDataset(Dataset["Batch | TrainError"]):
    """Whole batches by their positions. An error is a value here: torch adds a traceback to one that is raised."""

    def __init__(self, samples: PositionDataset, collate: Callable[[Sequence[Sample]], Batch]) -> None:
        self.samples, self.collate = samples, collate

    def __getitem__(self, positions: list[int]) -> Batch | TrainError:
        try:
            return self.collate([self.samples[position] for position in positions])
        except TrainError as error:
            return error


def loader(
    samples: PositionDataset,
    batches: PositionBatches,
    collate: Callable[[Sequence[Sample]], Batch] = collate,
    *,
    workers: int,
    pin: bool,
) -> Iterator[Batch]:
    """Give `batches` of `samples`, loaded and put together by `collate` in `workers` processes.

    Raises TrainError as reading in this process would. torch's loader is not prepared by accelerate, which would share
    out the batches a second time.
    """
    loaded = DataLoader(
        _BatchDataset(samples, collate),
        sampler=batches,
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        pin_memory=pin,
        worker_init_fn=_start_worker,
    )
    for batch in loaded:
        if isinstance(batch, TrainError):
            raise batch
        yield batch


def _start_worker(_: int) -> None:
    ignore_signals()


def _unchanged(batch: Any) -> Any:
    return batch
