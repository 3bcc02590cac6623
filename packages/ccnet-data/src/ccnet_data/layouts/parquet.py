"""The dataset "parquet": pictures and label maps in a table, in parquet files or in a dataset of the Hub."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from ..classes import ClassesOption, PaletteOption, read_classes, resolve
from ..errors import DataError, enumerate_some
from ..labels import LabelReader
from ..options import Fault, Option, one_or_several, path, several, switch, text, whole_number
from ..sample import Colour, SegmentationDataset
from ..source import REPLACE, Source, faults_of
from .parquet_files import files_by_split, require_parquet, split_files
from .rows import RowReader, StreamDataset, TableDataset
from .table import Repository, Rows, picture_column, read_files, reason, undecoded
from .table_labels import reader_of

IMAGE_COLUMNS = ("image", "pixel_values", "img", "picture")
LABEL_COLUMNS = (
    "label",
    "annotation",
    "mask",
    "semantic_segmentation",
    "segmentation",
    "segmentation_mask",
    "semantic_mask",
    "labels",
)
ID_COLUMNS = ("file_name", "id", "name")

NAMES_FILE = "id2label.json"
ALIASES = {"val": "validation"}
"""What the splits of this house are called on the Hub."""


@dataclass(frozen=True, kw_only=True)
class Parquet(Source):
    """Columns of pictures and of label PNGs: ROOT/train.parquet and ROOT/val.parquet, or a dataset of the Hub."""

    root: Annotated[
        Path | None, Option(path, "folder with SPLIT.parquet, or SPLIT-00000-of-00012.parquet and so on")
    ] = None
    files: Annotated[
        tuple[Path, ...] | None, Option(one_or_several(path), "instead of root: the file or files of the wanted split")
    ] = None
    repo: Annotated[
        str | None, Option(text, "instead of root: org/name on the Hub, or a folder that looks like one")
    ] = None
    config: Annotated[str | None, Option(text, "with repo: which of its configurations")] = None
    revision: Annotated[str | None, Option(text, "with repo: which branch, tag or commit")] = None
    streaming: Annotated[bool, Option(switch, "receive rows as they are read; no length, no order but its own")] = False
    classes: ClassesOption = None
    palette: PaletteOption = None
    image_column: Annotated[str | None, Option(text, f"found if not given: {', '.join(IMAGE_COLUMNS)}")] = None
    label_column: Annotated[str | None, Option(text, f"found if not given: {', '.join(LABEL_COLUMNS)}")] = None
    reduce_zero_label: Annotated[bool, Option(switch, "labels count from 1, and 0 is ignored, as in ADE20K")] = False
    ignored_colours: Annotated[
        tuple[Colour, ...],
        Option(
            several(several(whole_number(0, 255), count=3)), "of labels in the colours of palette: those of no class"
        ),
    ] = ()

    def splits(self) -> tuple[str, ...]:
        """Return those that files in root are named after, or the repository's; files= are one split, "train"."""
        if self.files is not None:
            return ("train",)
        repository = self._repository()
        return tuple(files_by_split(self._given_root()) if repository is None else repository.splits())

    def faults(self, split: str | None) -> list[Fault]:
        """Return the faults of the options, class names and files; columns and pictures are read on opening."""
        place = next((name for name in ("repo", "files") if getattr(self, name) is not None), "root")
        return faults_of(**{place: lambda: self._find(split), "classes": self._names, "streaming": self._check_stream})

    def open(self, split: str) -> SegmentationDataset:
        """Read the rows of `split`; `datasets` keeps a copy of them in its cache (HF_HOME) unless they are streamed."""
        self._check_stream()
        classes, palette = self._names()
        rows, where = self._read(split)
        image = picture_column(rows, "image_column", self.image_column, IMAGE_COLUMNS, where)
        label = picture_column(rows, "label_column", self.label_column, LABEL_COLUMNS, where)
        name = next((column for column in ID_COLUMNS if column in rows.column_names), None)
        columns = [column for column in (image, label, name) if column is not None]
        reader = RowReader(
            where=where, image_column=image, label_column=label, id_column=name, read_label=self._read_label(classes)
        )
        kind = StreamDataset if self.streaming else TableDataset
        return kind(rows=undecoded(rows).select_columns(columns), reader=reader, classes=classes, palette=palette)

    def _read(self, split: str) -> tuple[Rows, str]:
        """Return the rows of `split` and their name in messages."""
        repository = self._repository()
        if repository is None:
            files = self._files(split)
            where = enumerate_some(files)
            return read_files(files, where, self.streaming), where
        found = known_as(split, repository.splits(), repository.name)
        return repository.read(found, self.streaming), f"{repository.name}, split {found!r}"

    def _find(self, split: str | None) -> None:
        repository = self._repository()
        if repository is None:
            self._files(split)
        else:
            splits = repository.splits()
            if split is not None:
                known_as(split, splits, repository.name)

    def _check_stream(self) -> None:
        if self.streaming and self.on_error == REPLACE:
            raise DataError('streaming: no other sample can replace a damaged one; leave out on_error="replace".')

    def _repository(self) -> Repository | None:
        if sum(place is not None for place in (self.root, self.files, self.repo)) > 1:
            raise DataError("Give one of root=DIR, files=FILE and repo=NAME, not several.")
        if self.repo is not None:
            return Repository(name=self.repo, config=self.config, revision=self.revision)
        if self.config is not None or self.revision is not None:
            raise DataError("config and revision are those of a repo; give repo=NAME, or leave them out.")
        return None

    def _files(self, split: str | None) -> list[Path]:
        if self.files is not None:
            files = list(self.files)
        elif split is not None:
            files = split_files(self._given_root(), split)
        else:
            files = [file for each in files_by_split(self._given_root()).values() for file in each]
        for file in files:
            require_parquet(file)
        return files

    def _given_root(self) -> Path:
        if self.root is None:
            raise DataError(
                "root is missing: give root=DIR with train.parquet and val.parquet in it, files=FILE, or repo=NAME."
            )
        return self.root

    def _names(self) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
        """Return class names and colours; a repository may hold the names in id2label.json."""
        names = self.classes
        if names is None and self.repo is not None:
            names = read_names(Repository(name=self.repo, revision=self.revision))[self.reduce_zero_label :]
        return resolve(names, self.palette, self.root)

    def _read_label(self, classes: tuple[str, ...]) -> LabelReader:
        return reader_of(len(classes), self.palette, self.ignored_colours, self.reduce_zero_label)


def known_as(split: str, splits: Sequence[str], where: str) -> str:
    """Return what `split` is called among `splits`: "val" may be "validation". Raises DataError if it is not there."""
    found = split if split in splits else ALIASES.get(split)
    if found not in splits:
        raise DataError(f"{where}: there is no split {split!r}. Those there are: {', '.join(splits)}.")
    return str(found)


def read_names(repository: Repository) -> tuple[str, ...]:
    """Return the class names in id2label.json, {"0": NAME, ...}, as datasets for transformers keep them."""
    try:
        content = repository.text(NAMES_FILE)
    except DataError as error:
        raise DataError(
            "classes is missing: give classes=[...] in the order of the label values. "
            f"{repository.name} has no {NAMES_FILE} that can be read ({reason(error)})."
        ) from error
    where = f"{repository.name}: {NAMES_FILE}"
    try:
        names = {int(value): name for value, name in json.loads(content).items()}
    except (ValueError, AttributeError) as error:
        raise DataError(f'{where}: is not {{"0": NAME, "1": NAME, ...}} ({error}); give classes=[...].') from error
    if sorted(names) != list(range(len(names))):
        raise DataError(f"{where}: names the values {enumerate_some(sorted(names))}, with gaps; give classes=[...].")
    try:
        return read_classes([names[value] for value in range(len(names))])
    except DataError as error:
        raise DataError(f"{where}: class names {error}") from error
