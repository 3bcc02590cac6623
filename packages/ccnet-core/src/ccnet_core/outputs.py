"""What `predict` writes for a picture: overlay, labels, areas of the classes, picture and classes side by side."""

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Unpack

import numpy as np
from numpy.typing import NDArray

from ccnet_core import files, render
from ccnet_core.config import CCNetConfig
from ccnet_core.picture_files import Named
from ccnet_core.predict import PlanOptions, Segmenter
from ccnet_core.predict_many import PicturePrediction, predict_many
from ccnet_core.render import Array

ENDINGS = {"overlay": "_overlay.png", "labels": "_labels.png", "json": "_areas.json", "side": "_side.png"}
"""How the file of each kind of output is called, after the name of the picture."""

DEFAULT = ("overlay", "labels")
"""What is written of a picture if nobody says."""

VIDEO_ENDINGS = {"overlay": "_overlay.mp4", "side": "_side.mp4"}
"""Of these kinds there are videos too."""


class Results(Protocol):
    """What networks of one kind find in pictures, and the files that are written of each."""

    def paths(self, named: Named) -> dict[str, Path]:
        """Return the file of each kind for a picture."""
        ...

    def are_there(self, named: Named) -> bool:
        """Tell whether every file of a picture has been written."""
        ...

    def predict(
        self,
        model: Any,
        pictures: Iterable[Named],
        *,
        batch_size: int,
        on_error: Callable[[Named, Exception], None],
        **options: Unpack[PlanOptions],
    ) -> Generator[Any, None, None]:
        """Give what `model` finds in each picture, as :func:`ccnet_core.predict_many` does."""
        ...

    def keep(self, found: Any) -> None:
        """Write all files of a picture, of what :meth:`predict` gave. Raises OSError."""
        ...


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What is written: the `kinds`, keys of :data:`ENDINGS`, to `folder`; colours as strong as `opacity`, 0 to 1."""

    folder: Path
    kinds: tuple[str, ...] = DEFAULT
    opacity: float = 0.5
    config: CCNetConfig = field(repr=False)

    def paths(self, named: Named) -> dict[str, Path]:
        """Return the file of each kind for a picture, or of each kind that there is for a video."""
        endings = VIDEO_ENDINGS if named.is_video else ENDINGS
        return {kind: self.folder / f"{named.name}{endings[kind]}" for kind in self.kinds if kind in endings}

    def are_there(self, named: Named) -> bool:
        """Tell whether every file of a picture or video has been written."""
        return all(path.is_file() for path in self.paths(named).values())

    def predict(
        self,
        model: Segmenter,
        pictures: Iterable[Named],
        *,
        batch_size: int,
        on_error: Callable[[Named, Exception], None],
        **options: Unpack[PlanOptions],
    ) -> Generator[PicturePrediction, None, None]:
        """Give the labels of each picture."""
        return predict_many(model, pictures, batch_size=batch_size, read=picture_of, on_error=on_error, **options)

    def keep(self, found: PicturePrediction) -> None:
        """Write all files of a picture. Raises OSError."""
        self.write(found.source, found.picture.permute(1, 2, 0).cpu().numpy(), found.labels)

    def write(self, named: Named, picture: Array, labels: NDArray[np.integer]) -> None:
        """Write all files of a picture, uint8 (H, W, 3) RGB, with its labels (H, W). Raises OSError."""
        for kind, path in self.paths(named).items():
            files.write_bytes(path, self._content(kind, picture, labels))

    def _content(self, kind: str, picture: Array, labels: NDArray[np.integer]) -> bytes:
        if kind == "overlay":
            return render.png(self.overlay(picture, labels))
        if kind == "labels":
            return render.png(render.label_png(labels, self.config.palette))
        if kind == "side":
            return render.png(self._side_with_legend(picture, labels))
        return (json.dumps(areas(labels, self.config.classes), indent=1, ensure_ascii=False) + "\n").encode()

    def overlay(self, picture: Array, labels: NDArray[np.integer]) -> Array:
        """Return the picture under the colours of the classes."""
        return render.overlay(picture, labels, self.config.palette, self.opacity)

    def side(self, picture: Array, labels: NDArray[np.integer]) -> Array:
        """Return the picture, and to its right the colours of the classes."""
        return render.beside([picture, render.colour_labels(labels, self.config.palette)])

    def drawing(self, kind: str) -> Callable[[Array, NDArray[np.integer]], Array]:
        """Return what draws the frames of this kind of video."""
        return {"overlay": self.overlay, "side": self.side}[kind]

    def _side_with_legend(self, picture: Array, labels: NDArray[np.integer]) -> Array:
        row, shown = self.side(picture, labels), np.unique(labels).tolist()
        legend = render.legend(self.config.classes, self.config.palette, shown=shown, width=max(300, row.shape[1]))
        return render.stack([row, legend])


def picture_of(named: Named) -> Any:
    """Return what a picture is read of."""
    return named.source


def areas(labels: NDArray[np.integer], classes: tuple[str, ...]) -> dict[str, Any]:
    """Return the size of `labels` (H, W) and, for every class, its pixels and its share of them, from 0 to 1."""
    pixels = np.bincount(labels.reshape(-1), minlength=len(classes)).tolist()
    return {
        "height": labels.shape[0],
        "width": labels.shape[1],
        "classes": [
            {"index": index, "name": name, "pixels": pixels[index], "share": pixels[index] / labels.size}
            for index, name in enumerate(classes)
        ],
    }
