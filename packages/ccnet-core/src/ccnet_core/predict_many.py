"""Predictions of many pictures: a thread reads them ahead, and those of one size are computed together."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence, Sized
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar, Unpack

import torch
from torch import Tensor
from tqdm import tqdm

from ccnet_core.bar import bar
from ccnet_core.checks import require
from ccnet_core.clips import last_frame, to_frames
from ccnet_core.predict import PlanOptions, Prediction, Segmenter, make_plan, predict_batch
from ccnet_core.preprocess import Picture

P = TypeVar("P")

WINDOW_BATCHES = 4
"""Among how many batches of pictures those of one size are looked for."""

WINDOW_BYTES = 2**28
"""Beyond so many bytes of pixels no further picture is looked at, so that large pictures do not pile up."""


@dataclass(frozen=True, kw_only=True)
class PicturePrediction(Prediction):
    """The prediction of one picture of many: `source` is what was given, `picture` its pixels, uint8 (3, H, W) RGB.

    Of a clip they are those of its last frame.
    """

    source: Any
    picture: Tensor


def predict_many(
    model: Segmenter,
    pictures: Iterable[Any],
    *,
    batch_size: int = 4,
    progress: bool = False,
    scores: bool = False,
    read: Callable[[Any], Picture] | None = None,
    on_error: Callable[[Any, Exception], None] | None = None,
    **options: Unpack[PlanOptions],
) -> Generator[PicturePrediction, None, None]:
    """Segment any number of pictures, in their order, as :func:`ccnet_core.predict` does each with the same options.

    `pictures` are what `predict` takes, for example paths; or anything of which `read`, called in another thread,
    makes that. Up to `batch_size` pictures of one size are computed together, if they stand no further apart than
    four batches; labels differ from those of `predict` only where two scores are equal but for rounding. Memory does
    not grow with the number of pictures: at most five batches of them are held. `progress` shows a bar on stderr.

    The first picture that cannot be read raises PictureError (or what `read` raises). With `on_error` it is left out
    instead: `on_error(source, error)` is called in its turn. Wrong options raise ConfigError at the call.
    """
    require(isinstance(batch_size, int) and batch_size > 0, f"batch_size must be 1 or more, got {batch_size!r}")
    compute = partial(predict_batch, model, plan=make_plan(model, **options), scores=scores)
    return _segmented(
        compute_many(pictures, compute, batch_size=batch_size, progress=progress, read=read, on_error=on_error)
    )


@dataclass(frozen=True, kw_only=True)
class Computed(Generic[P]):
    """What was found in a picture: `source` is what was given, `picture` its pixels or those of a clip's last frame."""

    source: Any
    picture: Tensor
    found: P


def compute_many(
    pictures: Iterable[Any],
    compute: Callable[[Tensor], Sequence[P]],
    *,
    batch_size: int,
    progress: bool = False,
    read: Callable[[Any], Picture] | None = None,
    on_error: Callable[[Any, Exception], None] | None = None,
) -> Generator[Computed[P], None, None]:
    """Do what :func:`predict_many` does with another `compute`: from pictures (B, ...) of one size to what is found."""
    items = _read_ahead(pictures, read or _as_given, ahead=batch_size)
    total = len(pictures) if isinstance(pictures, Sized) else None
    return _compute_items(items, compute, batch_size, on_error, bar(total, "predict", show=progress))


def _segmented(
    computed: Generator[Computed[Prediction], None, None],
) -> Generator[PicturePrediction, None, None]:
    with closing(computed):
        for one in computed:
            labels, scores = one.found.labels, one.found.scores
            yield PicturePrediction(source=one.source, picture=one.picture, labels=labels, scores=scores)


def _as_given(picture: Picture) -> Picture:
    return picture


@dataclass
class _Read:
    source: Any
    picture: Tensor
    found: Any = None


@dataclass
class _Unreadable:
    source: Any
    error: Exception


def _compute_items(
    items: Generator[_Read | _Unreadable, None, None],
    compute: Callable[[Tensor], Sequence[P]],
    batch_size: int,
    on_error: Callable[[Any, Exception], None] | None,
    progress: AbstractContextManager["tqdm[Any]"],
) -> Generator[Computed[P], None, None]:
    window: deque[_Read | _Unreadable] = deque()
    with closing(items), progress as shown:
        while _fill(window, items, WINDOW_BATCHES * batch_size):
            item = window[0]
            if isinstance(item, _Unreadable):
                if on_error is None:
                    raise item.error
                on_error(item.source, item.error)
            else:
                if item.found is None:
                    _compute_alike(item, window, compute, batch_size)
                yield Computed(source=item.source, picture=last_frame(item.picture), found=item.found)
            window.popleft()
            shown.update()


def _fill(window: deque[_Read | _Unreadable], items: Iterator[_Read | _Unreadable], size: int) -> bool:
    """Fill the window from `items`; return False when nothing is left."""
    while len(window) < size and sum(_bytes(item) for item in window) < WINDOW_BYTES:
        item = next(items, None)
        if item is None:
            break
        window.append(item)
    return bool(window)


def _bytes(item: _Read | _Unreadable) -> int:
    return item.picture.nbytes if isinstance(item, _Read) else 0


def _compute_alike(
    first: _Read,
    window: Iterable[_Read | _Unreadable],
    compute: Callable[[Tensor], Sequence[Any]],
    batch_size: int,
) -> None:
    """Compute the first picture of the window, and with it the next ones of its size."""
    waiting = (item for item in window if isinstance(item, _Read) and item.found is None)
    batch = [item for item in waiting if item.picture.shape == first.picture.shape][:batch_size]
    for item, found in zip(batch, compute(torch.stack([item.picture for item in batch])), strict=True):
        item.found = found


def _read_ahead(
    pictures: Iterable[Any], read: Callable[[Any], Picture], *, ahead: int
) -> Generator[_Read | _Unreadable, None, None]:
    """Give the pictures in their order; a thread reads up to `ahead` of them while the caller is at work."""
    sources = iter(pictures)
    reader = ThreadPoolExecutor(1, thread_name_prefix="ccnet-read")
    try:
        waiting = deque(reader.submit(_read_next, sources, read) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not None:
            waiting.append(reader.submit(_read_next, sources, read))
            yield item
    finally:
        # Not left running: what `read` uses, such as an open video, is closed by the caller next.
        reader.shutdown(cancel_futures=True)


def _read_next(sources: Iterator[Any], read: Callable[[Any], Picture]) -> _Read | _Unreadable | None:
    try:
        source = next(sources)
    except StopIteration:
        return None
    try:
        return _Read(source, to_frames(read(source)))
    except (ValueError, OSError) as error:  # the errors of all four distributions are ValueErrors
        return _Unreadable(source, error)
