"""The objects of a sample as values of a row, and back.

`boxes` are lists of four numbers, `classes`, `crowd` and `areas` numbers, one for each object. `masks` are pictures of
one bit, black and white PNG, whatever the encoding of the image. `areas` is null where a sample has none.
"""

from collections.abc import Mapping
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..decode import decode
from ..errors import DataError
from ..sample import Instances, Pixels

if TYPE_CHECKING:
    import pyarrow

REMEDY = "convert or fetch the shard again"
_NUMBERS: dict[str, type[np.generic]] = {"classes": np.int64, "crowd": np.bool_, "areas": np.float64}
COLUMNS = ("boxes", "masks", *_NUMBERS)


def object_types() -> dict[str, "pyarrow.DataType"]:
    """Return the types of the columns by their names."""
    import pyarrow as pa

    picture = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    numbers = {name: pa.list_(pa.from_numpy_dtype(kind)) for name, kind in _NUMBERS.items()}
    return {"boxes": pa.list_(pa.list_(pa.float32())), "masks": pa.list_(picture), **numbers}


def object_features() -> dict[str, Any]:
    """Return the columns as Hugging Face `datasets` describes them."""
    box = _several({"dtype": "float32", "_type": "Value"})
    numbers = {name: _several({"dtype": np.dtype(kind).name, "_type": "Value"}) for name, kind in _NUMBERS.items()}
    return {"boxes": _several(box), "masks": _several({"_type": "Image"}), **numbers}


def object_values(sample: Instances) -> dict[str, Any]:
    """Return the objects of `sample` as values of the columns."""
    return {
        "boxes": sample["boxes"].tolist(),
        "masks": [_encoded(mask) for mask in sample["masks"]],
        "classes": sample["classes"].tolist(),
        "crowd": sample["crowd"].tolist(),
        "areas": sample["areas"].tolist() if "areas" in sample else None,
    }


def read_objects(row: Mapping[str, Any], image: Pixels, classes: int, id: str, where: str) -> Instances:
    """Return the sample of `image` and the objects of `row`, of `classes` classes.

    Raises DataError, beginning with `where`, for values that do not belong together.
    """
    size = image.shape[1], image.shape[2]
    masks = [_mask(cell, size, where) for cell in row["masks"]]
    arrays = {name: np.array(row[name], kind) for name, kind in _NUMBERS.items() if row[name] is not None}
    sample: Instances = {
        "image": image,
        "boxes": np.array(row["boxes"], np.float32).reshape(-1, 4),
        "masks": np.stack(masks) if masks else np.empty((0, *size), bool),
        "classes": arrays["classes"],
        "crowd": arrays["crowd"],
        "id": id,
    }
    if "areas" in arrays:
        sample["areas"] = arrays["areas"]
    if any(len(values) != len(masks) for values in (sample["boxes"], *arrays.values())):
        raise DataError(f"{where}: has not as many {', '.join(COLUMNS)}; {REMEDY}.")
    if not ((sample["classes"] >= 0) & (sample["classes"] < classes)).all():
        raise DataError(f"{where}, column 'classes': holds others than 0 to {classes - 1}; {REMEDY}.")
    return sample


def _several(feature: dict[str, Any]) -> dict[str, Any]:
    return {"feature": feature, "_type": "List"}


def _encoded(mask: NDArray[np.bool_]) -> dict[str, bytes | None]:
    stream = BytesIO()
    Image.fromarray(mask).save(stream, format="PNG")
    return {"bytes": stream.getvalue(), "path": None}


def _mask(cell: Mapping[str, Any], size: tuple[int, int], where: str) -> NDArray[np.bool_]:
    picture = decode(cell["bytes"], f"{where}, column 'masks'").picture
    if picture.mode != "1" or (picture.height, picture.width) != size:
        raise DataError(f"{where}, column 'masks': holds no mask of {size[1]}x{size[0]}; {REMEDY}.")
    return np.asarray(picture)
