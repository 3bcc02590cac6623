"""The datasets by name: listing, checking and opening them."""

from collections.abc import Mapping
from typing import Any

from .errors import DataError, nearest, reading
from .figures.dataset import Figures
from .layouts.ade20k import Ade20k
from .layouts.camvid import Camvid
from .layouts.cityscapes import Cityscapes
from .layouts.coco import Coco
from .layouts.folder import Folder
from .layouts.lip import Lip
from .layouts.parquet import Parquet
from .layouts.shards import Shards
from .layouts.voc import Voc12Aug
from .options import Fault, raise_faults, read_options
from .replace import Replacing
from .sample import SegmentationDataset
from .shapes import Shapes
from .source import REPLACE, Source
from .synthetic import Beacon

SOURCES: dict[str, type[Source]] = {
    "cityscapes": Cityscapes,
    "ade20k": Ade20k,
    "voc12aug": Voc12Aug,
    "lip": Lip,
    "camvid": Camvid,
    "coco": Coco,
    "folder": Folder,
    "parquet": Parquet,
    "beacon": Beacon,
    "shapes": Shapes,
    "figures": Figures,
    "shards": Shards,
}


def list_datasets() -> tuple[str, ...]:
    """Return the names that `load` takes."""
    return tuple(SOURCES)


def source_named(name: str) -> type[Source]:
    """Return the source called `name`. Raises DataError with the nearest names."""
    try:
        return SOURCES[name]
    except (KeyError, TypeError):
        raise DataError(f"There is no dataset {name!r}.{nearest(str(name), SOURCES)}") from None


def check(name: str, options: Mapping[str, object] | None = None) -> list[str]:
    """Return one sentence for each thing that is wrong, an empty list when `load` would begin.

    Looks at option names and values, folders, and the pairing of files, of every split there is. Opens no pictures.
    """
    try:
        kind = source_named(name)
    except DataError as error:
        return [str(error)]
    return [fault.text for fault in _faults(kind, options or {}, None)]


def load(name: str, split: str, **options: Any) -> SegmentationDataset:
    """Open a split of the dataset `name`; `options` are those that `ccnet-data list` prints for it.

    Samples are read when indexed: `image` uint8 (3, H, W) RGB 0-255, `label` uint8 (H, W), `id` str. Raises DataError
    with all faults of the options at once, and later, on indexing, for damaged files.
    """
    kind = source_named(name)
    values, faults = read_options(kind, options)
    try:
        raise_faults(faults)
        source = kind(**values)
        with reading():
            dataset = source.open(split)
    except DataError:
        # Looking for all faults first would list the files twice.
        raise_faults(_faults(kind, options, split), f"Cannot load {name!r}:")
        raise
    return Replacing(dataset) if source.on_error == REPLACE else dataset


def _faults(kind: type[Source], options: Mapping[str, object], split: str | None) -> list[Fault]:
    """Return the faults of the options, and of what those that could be read point at."""
    values, faults = read_options(kind, options)
    misread = {fault.option for fault in faults}
    return faults + [fault for fault in kind(**values).faults(split) if fault.option not in misread]
