"""picture.png of a weights folder: a picture, the prediction laid over it, and what the colours mean."""

import numpy as np
from PIL import Image

from ccnet_core import render
from ccnet_core.clips import last_frame, to_frames
from ccnet_core.model import CCNet
from ccnet_core.predict import predict
from ccnet_core.preprocess import Picture

LONGEST_EDGE = 598
"""Of the picture and of the overlay: with a gap between, two make 1200 pixels."""

SMALLEST_EDGE = 256
"""A picture whose longer edge is below it is enlarged by a whole factor."""


def card_picture(model: CCNet, picture: Picture | None) -> bytes:
    """Return a PNG of `picture`, or of a clip's last frame, beside its prediction, above the legend of its classes.

    Without a picture it is the legend of all classes. Raises what :func:`ccnet_core.predict` raises.
    """
    classes, palette = model.config.classes, model.config.palette
    if picture is None:
        return render.png(render.legend(classes, palette))
    frames = to_frames(picture)
    labels = predict(model, frames).labels
    array = last_frame(frames).permute(1, 2, 0).cpu().numpy()
    row = render.beside([_fit(array), _fit(render.overlay(array, labels, palette))])
    legend = render.legend(classes, palette, shown=np.unique(labels).tolist(), width=max(600, row.shape[1]))
    return render.png(render.stack([row, legend]))


def _fit(picture: render.Array) -> render.Array:
    """Return the picture so that its longer edge is neither too small nor too large."""
    longest = max(picture.shape[:2])
    picture = render.enlarge(picture, max(1, SMALLEST_EDGE // longest))
    image = Image.fromarray(picture)
    image.thumbnail((LONGEST_EDGE, LONGEST_EDGE))
    return np.asarray(image)
