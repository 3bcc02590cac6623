"""Rows of undecoded pictures, through Hugging Face datasets: which splits there are, and the rows of one."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from ..errors import DataError, nearest

if TYPE_CHECKING:
    import datasets

Rows = Union["datasets.Dataset", "datasets.IterableDataset"]

# "datasets" is imported inside functions: it takes two seconds, which a user of another dataset need not wait for.


@dataclass(frozen=True, kw_only=True)
class Repository:
    """A dataset of the Hub, "org/name", or a folder that looks like one. `config` and `revision` may be chosen.

    The client's settings hold here too: HF_TOKEN or `hf auth login` for gated datasets, HF_HOME, HF_HUB_OFFLINE.
    """

    name: str
    config: str | None = None
    revision: str | None = None

    def splits(self) -> list[str]:
        """Return the names of the splits. Raises DataError if there is no such dataset, or the Hub is out of reach."""
        import datasets

        with _asking(self.name):
            return list(datasets.get_dataset_split_names(self.name, self.config, revision=self.revision))

    def read(self, split: str, streaming: bool) -> Rows:
        """Return the rows of `split`, downloaded or, if `streaming`, as they are asked for."""
        import datasets

        with _asking(self.name):
            rows: Rows = datasets.load_dataset(
                self.name, self.config, split=split, revision=self.revision, streaming=streaming
            )
            return rows

    def text(self, file: str) -> str:
        """Return the content of a small `file`. Raises DataError if it is not there."""
        import datasets

        with _asking(f"{self.name}: {file}"):
            if Path(self.name).is_dir():
                return (Path(self.name) / file).read_text(encoding="utf-8")
            revision = "" if self.revision is None else f"@{self.revision}"
            quietly = datasets.DownloadConfig(disable_tqdm=True)
            manager = datasets.DownloadManager(download_config=quietly)
            return Path(manager.download(f"hf://datasets/{self.name}{revision}/{file}")).read_text(encoding="utf-8")


def read_files(files: list[Path], where: str, streaming: bool) -> Rows:
    """Return the rows of all parquet `files`. Raises DataError, beginning with `where`, when none can be read."""
    import datasets

    try:
        with _quiet(datasets):
            rows: Rows = datasets.Dataset.from_parquet([str(file) for file in files], streaming=streaming)
            return rows
    # A damaged file surfaces as any of pyarrow's, fsspec's or datasets' own types; one without rows as ValueError.
    except Exception as error:
        raise DataError(f"{where}: no rows could be read ({reason(error)}); write the file again.") from error


def reason(error: Exception) -> str:
    """Return what an error of `datasets`, or of what it wraps, says, in one line."""
    return " ".join(str(error.__cause__ or error).split()).rstrip(".") or type(error).__name__


@contextmanager
def _asking(where: str) -> Iterator[None]:
    import datasets

    try:
        with _quiet(datasets):
            yield
    # An unknown or gated dataset, an unknown configuration, a damaged file or no network: types of four libraries.
    except Exception as error:
        raise DataError(
            f"{where}: cannot be read ({reason(error)}); check the name, the network and, for a gated or private "
            "dataset, your access (hf auth login, or HF_TOKEN)."
        ) from error


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Keep `datasets` from drawing progress bars and logging errors that are raised anyway."""
    bars, verbosity = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    hub = logging.getLogger("huggingface_hub")
    level = hub.level
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    hub.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        hub.setLevel(level)
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


def picture_column(rows: Rows, option_name: str, chosen: str | None, usual: tuple[str, ...], where: str) -> str:
    """Return the column `chosen`, or without it the first of the `usual` ones that holds pictures.

    Raises DataError, beginning with `where`, when it is missing or holds something else. `option_name` is what the user
    would set.
    """
    # Of some files the columns are not known before they are downloaded; then a stream has None here.
    features = rows.features or {}
    candidates = [name for name, feature in features.items() if _holds_bytes(feature)]
    if chosen is None:
        found = next((name for name in usual if name in candidates), None)
        if found is None:
            raise DataError(
                f"{where}: none of the columns {', '.join(usual)} holds pictures; give {option_name}=NAME. "
                f"Columns with pictures: {', '.join(candidates) or 'none'}."
            )
        return found
    if chosen not in features:
        raise DataError(f"{where}: {option_name}={chosen!r} is no column.{nearest(chosen, features)}")
    if chosen not in candidates:
        raise DataError(
            f"{where}: column {chosen!r} holds no pictures. Those that do: {', '.join(candidates) or 'none'}."
        )
    return chosen


def _holds_bytes(feature: object) -> bool:
    import datasets

    if isinstance(feature, dict):
        return "bytes" in feature
    return isinstance(feature, datasets.Image) or getattr(feature, "dtype", None) in ("binary", "large_binary")


def undecoded(rows: Rows) -> Rows:
    """Have `rows` give the bytes of its pictures, so that ours is the one place that decodes."""
    import datasets

    if isinstance(rows, datasets.IterableDataset):
        # Casting does not reach the pictures of a folder on the Hub (datasets 5.2.0).
        return rows.decode(False)
    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows


def picture_bytes(cell: object, where: str) -> bytes:
    """Return the bytes of an undecoded picture; those that lie in a file of their own are read, locally or remotely.

    Raises DataError, beginning with `where`, when there are none.
    """
    content = cell.get("bytes") if isinstance(cell, dict) else cell
    if isinstance(content, bytes):
        return content
    path = cell.get("path") if isinstance(cell, dict) else None
    if path is None:
        raise DataError(f"{where}: holds no bytes of a picture; write the file with the pictures embedded.")
    return _fetch(str(path), where)


def _fetch(path: str, where: str) -> bytes:
    from datasets.utils.file_utils import xopen

    try:
        with xopen(path, "rb") as stream:
            content: bytes = stream.read()
            return content
    # fsspec and the Hub's client raise types of their own.
    except Exception as error:
        raise DataError(
            f"{where}: names the picture {path}, which cannot be read ({reason(error)}); "
            "write the file with the pictures embedded."
        ) from error
