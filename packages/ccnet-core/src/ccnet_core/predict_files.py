"""From named pictures and videos to files of results: what is there is skipped, what cannot be read is told."""

import os
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, Unpack

from ccnet_core.bar import bar
from ccnet_core.errors import PictureError
from ccnet_core.outputs import Outputs, Results
from ccnet_core.picture_files import Named
from ccnet_core.predict import PlanOptions, Segmenter
from ccnet_core.video import predict_video

WRITERS = min(4, os.cpu_count() or 1)
"""Threads that write: compressing a PNG takes about as long as a GPU takes for its labels."""


@dataclass
class Outcome:
    """What became of pictures and videos: how many are `written` and `skipped`, and why the others failed.

    `notes` say how fast each video went.
    """

    written: int = 0
    skipped: int = 0
    failures: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def predict_files(
    model: Any,
    sources: Sequence[Named],
    outputs: Results,
    outcome: Outcome,
    *,
    batch_size: int = 4,
    overwrite: bool = False,
    show: bool = False,
    **options: Unpack[PlanOptions],
) -> None:
    """Predict pictures and videos, and write `outputs` for each, keeping account in `outcome` as it goes.

    `model` is a network of the kind that `outputs` are for. Pictures whose outputs are all there are skipped, unless
    `overwrite`. What cannot be read does not stop the rest. Every file is whole or not there, also after Ctrl-C. `show`
    shows bars on stderr; the options are those of :func:`ccnet_core.predict`. Raises OSError where nothing can be
    written.
    """
    waiting = [named for named in sources if overwrite or not outputs.are_there(named)]
    outcome.skipped += len(sources) - len(waiting)
    pictures = [named for named in waiting if not named.is_video]
    predict_pictures(
        model, pictures, outputs, outcome, total=len(pictures), batch_size=batch_size, show=show, **options
    )
    for named in waiting:
        if named.is_video:
            assert isinstance(outputs, Outputs)  # `ccnet predict` refuses a video for any other kind of network
            _predict_video(model, named, outputs, outcome, batch_size=batch_size, show=show, **options)


def predict_pictures(
    model: Any,
    pictures: Iterable[Named],
    outputs: Results,
    outcome: Outcome,
    *,
    total: int,
    batch_size: int = 4,
    show: bool = False,
    **options: Unpack[PlanOptions],
) -> None:
    """Do what :func:`predict_files` does for pictures, all of which are predicted.

    `pictures` are asked for one by one, in another thread; `total` is how many there are.
    """

    def fail(_: Named, error: Exception) -> None:
        outcome.failures.append(str(error))
        shown.update()

    predictions = outputs.predict(model, pictures, batch_size=batch_size, on_error=fail, **options)
    with (
        bar(total, "predict", show=show and total > 0) as shown,
        _Writer(outputs, outcome) as writer,
        closing(predictions),
    ):
        for found in predictions:
            writer.write(found)
            shown.update()


def _predict_video(
    model: Segmenter,
    named: Named,
    outputs: Outputs,
    outcome: Outcome,
    *,
    batch_size: int,
    show: bool,
    **options: Unpack[PlanOptions],
) -> None:
    drawings = {path: outputs.drawing(kind) for kind, path in outputs.paths(named).items()}
    try:
        done = predict_video(model, named.source, drawings, batch_size=batch_size, show=show, **options)
    except PictureError as error:
        outcome.failures.append(str(error))
    else:
        outcome.written += 1
        outcome.notes.append(f"{named.source}: {done}")


class _Writer:
    """Writes results in threads, so that compressing them takes no time from the network; few wait at a time."""

    def __init__(self, outputs: Results, outcome: Outcome) -> None:
        self._outputs, self._outcome = outputs, outcome
        self._threads = ThreadPoolExecutor(WRITERS, thread_name_prefix="ccnet-write")
        self._waiting: deque[Future[None]] = deque()

    def __enter__(self) -> "_Writer":
        return self

    def write(self, found: object) -> None:
        """Begin to write. Raises OSError if an earlier one could not be written."""
        self._waiting.append(self._threads.submit(self._outputs.keep, found))
        while len(self._waiting) > 2 * WRITERS:
            self._count(self._waiting.popleft())

    def _count(self, written: Future[None]) -> None:
        written.result()
        self._outcome.written += 1

    def __exit__(self, *error: object) -> None:
        """Write what is predicted, also after an error, such as Ctrl-C: few results wait."""
        self._threads.shutdown()
        for written in self._waiting:
            if error[0] is None or written.exception() is None:
                self._count(written)
