"""`ccnet predict` with a Mask R-CNN: the network by its name, and the files that are written of a picture."""

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ccnet_core import files, render
from ccnet_core.errors import ConfigError, WeightsError
from ccnet_core.outputs import picture_of
from ccnet_core.picture_files import Named
from ccnet_core.predict_many import Computed, compute_many
from ccnet_train import detection
from ccnet_train.detection.config import DetectorConfig
from ccnet_train.detection.packed import PackedDetections
from ccnet_train.detection.predict import predict_batch
from ccnet_train.detection.render import draw_detections, enlarge_detections
from ccnet_train.detection.results import coco_results
from ccnet_train.errors import TrainError

if TYPE_CHECKING:
    from ccnet_train.detection.network import MaskRCNN

ENDINGS = {"overlay": "_overlay.png", "json": "_objects.json"}
"""How the file of each kind of output is called, after the name of the picture."""


@dataclass(frozen=True, kw_only=True)
class DetectionResults:
    """What is written of a picture: the `kinds`, keys of :data:`ENDINGS`, to `folder`.

    An overlay shows what scores 0.5 or more, with masks as strong as `opacity`, 0 to 1; a JSON file has all objects.
    """

    folder: Path
    kinds: tuple[str, ...] = ("overlay",)
    opacity: float = 0.5
    config: DetectorConfig = field(repr=False)

    def __post_init__(self) -> None:
        """Refuse kinds of files that there are not."""
        for kind in self.kinds:
            if kind not in ENDINGS:
                raise ConfigError(
                    f"--save {kind}: it wants one class per pixel, and the model finds objects, which may overlap. "
                    f"It can save {' and '.join(ENDINGS)}."
                )

    def paths(self, named: Named) -> dict[str, Path]:
        """Return the file of each kind for a picture."""
        return {kind: self.folder / f"{named.name}{ENDINGS[kind]}" for kind in self.kinds}

    def are_there(self, named: Named) -> bool:
        """Tell whether every file of a picture has been written."""
        return all(path.is_file() for path in self.paths(named).values())

    def predict(
        self,
        model: "MaskRCNN",
        pictures: Iterable[Named],
        *,
        batch_size: int,
        on_error: Callable[[Named, Exception], None],
        **_: object,
    ) -> Generator[Computed[PackedDetections], None, None]:
        """Give the objects of each picture."""
        return compute_many(
            pictures,
            lambda batch: predict_batch(model, list(batch)),
            batch_size=batch_size,
            read=picture_of,
            on_error=on_error,
        )

    def keep(self, found: Computed[PackedDetections]) -> None:
        """Write all files of a picture. Raises OSError."""
        for kind, path in self.paths(found.source).items():
            files.write_bytes(path, self._overlay(found) if kind == "overlay" else self._json(found))

    def _overlay(self, found: Computed[PackedDetections]) -> bytes:
        picture = found.picture.permute(1, 2, 0).cpu().numpy()
        picture, objects = enlarge_detections(picture, found.found)
        drawn = draw_detections(picture, objects, self.config.classes, self.config.palette, opacity=self.opacity)
        return render.png(drawn)

    def _json(self, found: Computed[PackedDetections]) -> bytes:
        results = coco_results(found.found, self.config.classes, image=found.source.name)
        return (json.dumps(results, indent=1, ensure_ascii=False) + "\n").encode()


class Instances:
    """What core finds under the entry point `ccnet-instances`."""

    finds = "objects"

    def load(self, source: str, *, device: str, backend: str | None) -> "MaskRCNN":
        """Return a network in evaluation mode. Raises WeightsError if torchvision is missing."""
        try:
            model: MaskRCNN = detection.MaskRCNN.from_pretrained(source, device=device)
        except TrainError as error:
            raise WeightsError(f"{source}: holds a Mask R-CNN. {error}") from error
        model.use_attention(backend)
        return model

    def results(self, network: "MaskRCNN", **how: Any) -> DetectionResults:
        """Return what is written of a picture; `how` are the fields of :class:`DetectionResults`."""
        return DetectionResults(config=network.config, **how)


kind = Instances()
