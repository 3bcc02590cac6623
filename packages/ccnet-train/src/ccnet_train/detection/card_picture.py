"""picture.png of a weights folder: a picture with what is found in it, and what the colours mean."""

from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from ccnet_core import render
from ccnet_core.preprocess import Picture, to_tensor
from ccnet_train.detection.predict import predict_instances
from ccnet_train.detection.render import draw_detections, enlarge_detections

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN

LONGEST_EDGE = 1200

THRESHOLD = 0.5
"""Of the scores of what is shown."""


def card_picture(model: "MaskRCNN", picture: Picture | None) -> bytes:
    """Return a PNG of `picture` with its objects, above the legend of their classes; without one, of all classes."""
    classes, palette = model.config.classes, model.config.palette
    if picture is None:
        return render.png(render.legend(classes, palette))
    tensor = to_tensor(picture)
    found = predict_instances(model, tensor).above(THRESHOLD)
    array, enlarged = enlarge_detections(tensor.permute(1, 2, 0).cpu().numpy(), found)
    image = Image.fromarray(draw_detections(array, enlarged, classes, palette))
    image.thumbnail((LONGEST_EDGE, LONGEST_EDGE))
    legend = render.legend(classes, palette, shown=np.unique(found.classes).tolist(), width=image.width)
    return render.png(render.stack([np.asarray(image), legend]))
