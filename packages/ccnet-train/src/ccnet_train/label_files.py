"""Predictions as PNG files of one number per pixel, in the form that the servers of Cityscapes and ADE20K take."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from PIL import Image

from ccnet_core import render
from ccnet_core.config import Colour
from ccnet_train.errors import TrainError

FORMATS = ("indices", "cityscapes", "ade20k")
"""`indices` are the classes as they are, with the palette. `cityscapes` are its label ids, `ade20k` the classes from 1;
both are grey."""

CITYSCAPES_IDS = {
    **{"road": 7, "sidewalk": 8, "building": 11, "wall": 12, "fence": 13, "pole": 17, "traffic light": 19},
    **{"traffic sign": 20, "vegetation": 21, "terrain": 22, "sky": 23, "person": 24, "rider": 25, "car": 26},
    **{"truck": 27, "bus": 28, "train": 31, "motorcycle": 32, "bicycle": 33},
}
"""Of cityscapesScripts, helpers/labels.py."""

ADE20K_CLASSES = 150


@dataclass(frozen=True, kw_only=True)
class LabelFiles:
    """Writes predictions below `folder`. `draw` makes a picture of labels (H, W)."""

    folder: Path
    draw: Callable[[np.ndarray], Image.Image]
    flat: bool

    def write(self, id: str, labels: np.ndarray) -> Path:
        """Write the prediction of the picture `id` and return its file. Raises TrainError for an id that leads out."""
        path = PurePosixPath(id)
        if path.is_absolute() or ".." in path.parts or not path.name:
            raise TrainError(f"{id!r}: a picture of this name cannot be written below {self.folder}. Rename it.")
        file = self.folder / f"{path.name if self.flat else path}.png"
        render.write_png(file, self.draw(labels))
        return file


def label_files(form: str, folder: Path, classes: Sequence[str], palette: Sequence[Colour]) -> LabelFiles:
    """Return what writes labels in `form`, one of :data:`FORMATS`, below `folder`.

    The servers want all files in one folder, so the folders of an id are left out for them. Raises TrainError if the
    classes are not those of the server.
    """
    if form == "indices":
        return LabelFiles(folder=folder, draw=lambda labels: render.label_png(labels, palette), flat=False)
    values = _server_values(form, classes)
    return LabelFiles(folder=folder, draw=lambda labels: Image.fromarray(values[labels]), flat=True)


def _server_values(form: str, classes: Sequence[str]) -> np.ndarray:
    """Return the number that the server has for each class, uint8."""
    if form == "cityscapes" and tuple(classes) == tuple(CITYSCAPES_IDS):
        return np.array(list(CITYSCAPES_IDS.values()), np.uint8)
    if form == "ade20k" and len(classes) == ADE20K_CLASSES:
        return np.arange(1, ADE20K_CLASSES + 1, dtype=np.uint8)
    expected = "its 19 classes" if form == "cityscapes" else f"its {ADE20K_CLASSES} classes"
    raise TrainError(
        f"--labels {form}: the server takes {expected}, and these weights have {len(classes)}: "
        f"{', '.join(classes[:3])}, ... Give --labels indices."
    )
