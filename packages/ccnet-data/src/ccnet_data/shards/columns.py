"""A sample as a row of a shard, and a row as a sample.

| encoding | columns |
|---|---|
| raw | `image`, `label`: the bytes of the arrays as they lie in memory; `height`, `width`; `frames` of a clip; `id` |
| png, jpeg | `image`, `label`: pictures as Hugging Face `datasets` stores them, of a clip a list of them; `id` |

Labels are PNG whatever the pictures are, since JPEG would change them. A sample with objects has the columns of
`objects` in place of `label`.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from PIL import Image

from ..errors import DataError
from ..labels import ClassLabels, require_classes
from ..pictures import channels_last, read_picture, require_same_size
from ..sample import Instances, Pixels, Sample
from . import objects
from .manifest import JPEG, RAW, Manifest

if TYPE_CHECKING:
    import pyarrow

# pyarrow is imported inside functions: users of other datasets need not wait for it.

PNG_LEVEL = 1
"""Of zlib, for pictures. Level 6 makes those of CamVid 5 % smaller and takes 4.9 times as long."""
CHROMA = 0
"""No subsampling of colours in JPEG. At quality 90 values of CamVid change by up to 27, and by 1.0 on average. With
Pillow's 4:2:0 it would be 99 and 1.5, in files 16 % smaller."""
LARGEST_VALUE = 2**31 - 2**16
"""Bytes of a picture or clip: a page of parquet counts them with 31 bits."""

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the rows of a shard hold: `encoding`, "raw", "png" or "jpeg", of `task`, with `classes` classes.

    `quality`, 1 to 100, is that of JPEG.
    """

    encoding: str
    quality: int | None = None
    task: str
    classes: int

    @classmethod
    def of(cls, manifest: Manifest) -> "Columns":
        """Return the columns of the shards that `manifest` lists."""
        return cls(
            encoding=manifest.encoding, quality=manifest.quality, task=manifest.task, classes=len(manifest.classes)
        )

    @property
    def is_raw(self) -> bool:
        """Whether values are bytes of arrays, which lie in the file as they are."""
        return self.encoding == RAW

    @property
    def is_video(self) -> bool:
        """Whether `image` has an axis of frames."""
        return self.task == "video"

    @property
    def has_objects(self) -> bool:
        """Whether there are objects in place of a label map."""
        return self.task == "instances"

    @property
    def pixels(self) -> tuple[str, ...]:
        """The columns that hold bytes of arrays where `is_raw`."""
        return ("image",) if self.has_objects else ("image", "label")

    def schema(self) -> "pyarrow.Schema":
        """Return the names and types of the columns; those of pictures are known to Hugging Face `datasets`."""
        import pyarrow as pa

        of_objects = objects.object_types() if self.has_objects else {}
        if self.is_raw:
            numbers = ("frames", "height", "width") if self.is_video else ("height", "width")
            types = dict.fromkeys(self.pixels, pa.binary()) | dict.fromkeys(numbers, pa.int32())
            types |= {**of_objects, "id": pa.string()}
            return pa.schema([pa.field(name, kind, nullable=name in of_objects) for name, kind in types.items()])
        picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        image = pa.list_(picture) if self.is_video else picture
        labels = of_objects or {"label": picture}
        return pa.schema({"image": image, **labels, "id": pa.string()}, metadata=self._features())

    def row(self, sample: Sample) -> dict[str, Any]:
        """Return `sample` as values for the columns. Raises DataError, naming the sample, if it does not fit in."""
        _refuse_unfit(sample, self._keys())
        return {**self._image_values(sample["image"]), **self._label_values(sample), "id": sample["id"]}

    def sample(self, row: Row, where: str) -> Sample:
        """Return the sample of `row`. Raises DataError, beginning with `where`, for values that are none."""
        if self.has_objects:
            image = self._raw_image(row, where) if self.is_raw else self._decoded_image(row, where)
            return cast(Sample, objects.read_objects(row, image, self.classes, row["id"], where))
        image, label = self._raw_arrays(row, where) if self.is_raw else self._decoded_arrays(row, where)
        return {"image": image, "label": label, "id": row["id"]}

    def _keys(self) -> tuple[str, ...]:
        labels = objects.COLUMNS if self.has_objects else ("label",)
        return ("image", *labels, "id")

    def _image_values(self, image: Pixels) -> dict[str, Any]:
        if self.is_raw:
            numbers = dict(zip(("width", "height", "channels", "frames"), image.shape[::-1], strict=False))
            del numbers["channels"]
            return {"image": image.tobytes(), **numbers}
        pictures = [self._picture(frame) for frame in (image if self.is_video else image[np.newaxis])]
        return {"image": pictures if self.is_video else pictures[0]}

    def _label_values(self, sample: Sample) -> dict[str, Any]:
        if self.has_objects:
            return objects.object_values(cast(Instances, sample))
        label = sample["label"]
        return {"label": label.tobytes() if self.is_raw else _encoded(_indexed(label), "PNG")}

    def _features(self) -> dict[str, str]:
        picture = {"_type": "Image"}
        image = {"feature": picture, "_type": "List"} if self.is_video else picture
        labels = objects.object_features() if self.has_objects else {"label": picture}
        features = {"image": image, **labels, "id": {"dtype": "string", "_type": "Value"}}
        return {"huggingface": json.dumps({"info": {"features": features}})}

    def _picture(self, frame: Pixels) -> dict[str, bytes | None]:
        picture = channels_last(frame)
        if self.encoding == JPEG:
            return _encoded(picture, "JPEG", quality=self.quality, subsampling=CHROMA)
        return _encoded(picture, "PNG", compress_level=PNG_LEVEL)

    def _raw_image(self, row: Row, where: str) -> Pixels:
        frames = (row["frames"],) if self.is_video else ()
        return _array(row["image"], (*frames, 3, row["height"], row["width"]), f"{where}, column 'image'")

    def _raw_arrays(self, row: Row, where: str) -> tuple[Pixels, Pixels]:
        image = self._raw_image(row, where)
        label = _array(row["label"], (row["height"], row["width"]), f"{where}, column 'label'")
        require_classes(label, self.classes, f"{where}, column 'label'")
        return image, label

    def _decoded_image(self, row: Row, where: str) -> Pixels:
        return read_picture(_content(row["image"], where), f"{where}, column 'image'")

    def _decoded_arrays(self, row: Row, where: str) -> tuple[Pixels, Pixels]:
        frames = row["image"] if self.is_video else [row["image"]]
        images = [self._decoded_image({"image": frame}, where) for frame in frames or ()]
        label = ClassLabels(count=self.classes)(_content(row["label"], where), f"{where}, column 'label'")
        for image in images:
            require_same_size(image, label, where)
        if not images:
            raise DataError(f"{where}: the clip has no frames; convert or fetch the shard again.")
        return np.stack(images) if self.is_video else images[0], label


def _refuse_unfit(sample: Sample, keys: tuple[str, ...]) -> None:
    where = f"Sample {sample['id']!r}"
    surplus = [key for key in sample if key not in keys]
    if surplus:
        raise DataError(f"{where}: holds {', '.join(surplus)}, for which shards have no column; convert it as loaded.")
    if sample["image"].nbytes > LARGEST_VALUE:
        raise DataError(f"{where}: has {sample['image'].nbytes} bytes, more than {LARGEST_VALUE}; cut it into tiles.")
    try:
        sample["id"].encode()
    except UnicodeEncodeError as error:
        raise DataError(f"{where}: the id is not UTF-8; rename its file.") from error


def _indexed(label: Pixels) -> Image.Image:
    """Return a palette picture of `label`, in the grey of its values.

    PNG does not filter such rows, and nothing is to be undone: Pillow decodes a label of 2048x1024 in 6.4 ms instead of
    10.5, from 14 % fewer bytes.
    """
    picture = Image.fromarray(label)
    picture.putpalette(bytes(value for value in range(256) for _ in range(3)))
    return picture


def _encoded(picture: Image.Image, file_format: str, **options: Any) -> dict[str, bytes | None]:
    stream = BytesIO()
    picture.save(stream, format=file_format, **options)
    return {"bytes": stream.getvalue(), "path": None}


def _content(cell: Any, where: str) -> bytes:
    content = None if cell is None else cell["bytes"]
    if content is None:
        raise DataError(f"{where}: holds no picture; convert or fetch the shard again.")
    return bytes(content)


def _array(content: Any, shape: tuple[int, ...], where: str) -> Pixels:
    """Return the bytes of `content` as an array that belongs to the caller: the one copy on the way from the file."""
    array = np.frombuffer(content, np.uint8)
    if min(shape) < 1 or array.size != int(np.prod(shape, dtype=object)):
        raise DataError(f"{where}: has {array.size} bytes, not those of {shape}; convert or fetch the shard again.")
    return array.reshape(shape).copy()
