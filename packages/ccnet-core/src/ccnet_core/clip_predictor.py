"""The frames of a video one after another: each goes through the backbone once, whatever the length of a clip.

Shape letters: C channels, h and w height and width of the feature map, H and W size of the frames.
"""

from collections import deque
from collections.abc import Generator, Iterable
from typing import Any, Unpack

import torch
from torch import Tensor

from ccnet_core.checks import require
from ccnet_core.model import CCNet
from ccnet_core.predict import (
    PlanOptions,
    Prediction,
    Segmenter,
    evaluating,
    make_plan,
    picture_size,
    predictions_of,
    to_size,
    view_size,
)
from ccnet_core.predict_many import PicturePrediction
from ccnet_core.preprocess import Picture, to_tensor
from ccnet_core.resize import resize_bytes
from ccnet_core.score_map import Logits
from ccnet_core.video_head import VideoHead


class ClipPredictor:
    """Labels the frames of a video as they come, each from itself and the frames before it, as many as a clip has.

    The labels are those of :func:`ccnet_core.predict` for the same clip, but for rounding. Kept are the reduced maps
    (C, h, w) of the last frames; attention goes over all of them anew, as each of them then looks at the new frame.
    The first frames of a video have fewer before them, and so has a frame of another size than the one before it, which
    begins a new clip. The window counts frames, not seconds, and cuts are not looked for: call :meth:`cut` at one.

    The options are those of `predict`. Raises ConfigError for a model of pictures, and for a sliding window, several
    scales or mirror images.
    """

    def __init__(self, model: Segmenter, **options: Unpack[PlanOptions]) -> None:
        require(
            isinstance(model, CCNet) and isinstance(model.head, VideoHead),
            "ClipPredictor takes a model of clips (config.head.frames above 1). Use predict for pictures",
        )
        assert isinstance(model, CCNet)
        self.plan = make_plan(model, **options)
        require(
            self.plan.mode == "whole" and len(self.plan.scales) == 1 and not self.plan.flip,
            "a model of clips labels the frames of a video whole, each in one view: give mode='whole', and leave out "
            "further scales and mirror images",
        )
        self.model = model
        self._maps: deque[Tensor] = deque(maxlen=model.config.head.frames)
        self._size: tuple[int, int] | None = None

    def push(self, frame: Picture, *, scores: bool = False) -> Prediction:
        """Label the next frame; see :func:`ccnet_core.predict`. Raises PictureError for what is no picture."""
        picture = to_tensor(frame)[None].to(self.model.device)
        size = picture_size(picture)
        if size != self._size:
            self.cut()
        self._size = size
        view = resize_bytes(picture, view_size(size, self.plan.scales[0], self.plan))
        with evaluating(self.model):
            logits = self._logits(view)
            scored = to_size(self.model, to_size(self.model, Logits(logits), picture_size(view)), size)
            return predictions_of([scored], scores=scores)[0]

    def cut(self) -> None:
        """Forget the frames so far: the next one begins a clip."""
        self._maps.clear()

    def _logits(self, view: Tensor) -> Tensor:
        model, head = self.model, self.model.head
        assert isinstance(head, VideoHead)
        features = model.backbone(model.normalise(view).to(model.dtype))[-1]
        reduced = head.reduce(features)
        self._maps.append(reduced)
        logits, _ = head.label(torch.stack(tuple(self._maps), 1), features)
        return logits


def predict_frames(
    model: Segmenter, frames: Iterable[Any], **options: Unpack[PlanOptions]
) -> Generator[PicturePrediction, None, None]:
    """Label the frames of one video in their order by a :class:`ClipPredictor`."""
    predictor = ClipPredictor(model, **options)
    for frame in frames:
        picture = to_tensor(frame)
        done = predictor.push(picture)
        yield PicturePrediction(source=frame, picture=picture, labels=done.labels, scores=done.scores)
