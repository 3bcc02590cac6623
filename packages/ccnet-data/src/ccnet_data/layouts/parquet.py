"""The dataset "parquet": pictures and label maps as bytes in parquet files, as Hugging Face datasets writes them."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, SupportsIndex

from ..classes import ClassesOption, PaletteOption, resolve
from ..errors import DataError, enumerate_some, nearest
from ..labels import ClassLabels
from ..options import Fault, Option, one_or_several, path, text
from ..pictures import read_picture, require_same_size
from ..sample import API_VERSION, IGNORE_INDEX, Colour, Sample, position
from ..source import Source, faults_of
from .table import picture_column, read_rows, undecoded

if TYPE_CHECKING:
    import datasets

IMAGE_COLUMNS = ("image", "pixel_values", "img", "picture")
LABEL_COLUMNS = ("label", "annotation", "mask", "segmentation", "segmentation_mask", "semantic_mask", "labels")
ID_COLUMNS = ("file_name", "id", "name")

_MAGIC = b"PAR1"
_SMALLEST_FILE = 12
"""A parquet file begins and ends with the magic; four bytes before the last hold the footer's length."""


@dataclass(frozen=True, kw_only=True)
class Parquet(Source):
    """Parquet files with a column of pictures and a column of label PNGs: ROOT/train.parquet, ROOT/val.parquet."""

    root: Annotated[Path | None, Option(path, "folder that holds one SPLIT.parquet per split")] = None
    files: Annotated[
        tuple[Path, ...] | None, Option(one_or_several(path), "instead of root: the file or files of the wanted split")
    ] = None
    classes: ClassesOption = None
    palette: PaletteOption = None
    image_column: Annotated[str | None, Option(text, f"found if not given: {', '.join(IMAGE_COLUMNS)}")] = None
    label_column: Annotated[str | None, Option(text, f"found if not given: {', '.join(LABEL_COLUMNS)}")] = None

    def splits(self) -> tuple[str, ...]:
        """Return the stems of the parquet files in root; files= are one split, "train"."""
        return ("train",) if self.files is not None else tuple(file.stem for file in self._files(None))

    def faults(self, split: str | None) -> list[Fault]:
        """Return the faults of the class names and of the files; columns and pictures are read on opening."""
        files = {"root" if self.files is None else "files": lambda: self._files(split)}
        return faults_of(classes=lambda: resolve(self.classes, self.palette, self.root), **files)

    def open(self, split: str) -> "ParquetDataset":
        """Read the rows of `split`; `datasets` keeps a copy of them in its cache (HF_DATASETS_CACHE)."""
        classes, palette = resolve(self.classes, self.palette, self.root)
        files = self._files(split)
        where = enumerate_some(files)
        rows = read_rows(files, where)
        image = picture_column(rows, "image_column", self.image_column, IMAGE_COLUMNS, where)
        label = picture_column(rows, "label_column", self.label_column, LABEL_COLUMNS, where)
        name = next((column for column in ID_COLUMNS if column in rows.column_names), None)
        columns = [column for column in (image, label, name) if column is not None]
        return ParquetDataset(
            rows=undecoded(rows.select_columns(columns)),
            where=where,
            image_column=image,
            label_column=label,
            id_column=name,
            classes=classes,
            palette=palette,
        )

    def _files(self, split: str | None) -> list[Path]:
        if self.files is not None and self.root is not None:
            raise DataError("Give either root=DIR or files=FILE, not both.")
        if self.files is not None:
            files = list(self.files)
        elif self.root is not None:
            files = _split_files(self.root, split)
        else:
            raise DataError("root is missing: give root=DIR with train.parquet and val.parquet in it, or files=FILE.")
        for file in files:
            _require_parquet(file)
        return files


@dataclass(frozen=True, kw_only=True)
class ParquetDataset:
    """A split read row by row: one `Sample` per row, decoded when asked for.

    Reading raises DataError, naming file, row and column, when a picture is damaged, when a label lies outside
    `classes`, or when picture and label differ in size.
    """

    rows: "datasets.Dataset"
    where: str
    image_column: str
    label_column: str
    id_column: str | None
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    flip_pairs: tuple[tuple[int, int], ...] = ()

    api_version = API_VERSION
    task = "segmentation"
    ignore_index = IGNORE_INDEX

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: SupportsIndex) -> Sample:
        number = position(index, len(self))
        row = self.rows[number]
        where = f"{self.where}, row {number}"
        image_place, label_place = f"{where}, column {self.image_column!r}", f"{where}, column {self.label_column!r}"
        image = read_picture(_content(row[self.image_column], image_place), image_place)
        label = ClassLabels(count=len(self.classes))(_content(row[self.label_column], label_place), label_place)
        require_same_size(image, label, where)
        name = None if self.id_column is None else row[self.id_column]
        return {"image": image, "label": label, "id": f"{number:06d}" if name is None else str(name)}


def _split_files(root: Path, split: str | None) -> list[Path]:
    if not root.is_dir():
        raise DataError(f"{root}: there is no such folder; root must hold train.parquet and val.parquet.")
    files = {file.stem: file for file in sorted(root.glob("*.parquet"))}
    if not files:
        found = enumerate_some(sorted(entry.name for entry in root.iterdir())) or "nothing"
        raise DataError(f"{root}: root must hold train.parquet and val.parquet; found {found}.")
    if split is None:
        return list(files.values())
    if split not in files:
        raise DataError(f"{root}: there is no {split}.parquet for the split {split!r}.{nearest(str(split), files)}")
    return [files[split]]


def _require_parquet(file: Path) -> None:
    """Raise DataError unless `file` is whole, as far as its first and last bytes tell."""
    try:
        with file.open("rb") as stream:
            head = stream.read(len(_MAGIC))
            size = stream.seek(0, 2)
            stream.seek(max(0, size - 8))
            footer_size, tail = int.from_bytes(stream.read(4), "little"), stream.read()
    except OSError as error:
        raise DataError(
            f"{file}: cannot be read ({error.strerror}); check that it exists and its permissions."
        ) from error
    if head != _MAGIC or tail != _MAGIC or size < footer_size + _SMALLEST_FILE:
        raise DataError(f"{file}: not a whole parquet file ({size} bytes); fetch or write it again.")


def _content(value: object, where: str) -> bytes:
    content = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(content, bytes):
        raise DataError(f"{where}: holds no bytes of a picture; write the file with the pictures embedded.")
    return content
