"""Parquet files as rows of undecoded pictures, through Hugging Face datasets."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataError, nearest

if TYPE_CHECKING:
    import datasets


def read_rows(files: list[Path], where: str) -> "datasets.Dataset":
    """Return the rows of all `files`. Raises DataError, beginning with `where`, when none can be read."""
    # Importing takes two seconds, which a user of another dataset, or of the command line, need not wait for.
    import datasets

    try:
        with _quiet(datasets):
            return datasets.Dataset.from_parquet([str(file) for file in files])
    # A damaged file surfaces as any of pyarrow's, fsspec's or datasets' own types; one without rows as ValueError.
    except Exception as error:
        reason = str(error.__cause__ or error).rstrip(".")
        raise DataError(f"{where}: no rows could be read ({reason}); write the file again.") from error


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Keep `datasets` from drawing progress bars and logging errors that are raised anyway."""
    bars, verbosity = datasets.are_progress_bars_disabled(), datasets.logging.get_verbosity()
    datasets.disable_progress_bars()
    datasets.logging.set_verbosity(datasets.logging.CRITICAL)
    try:
        yield
    finally:
        datasets.logging.set_verbosity(verbosity)
        if not bars:
            datasets.enable_progress_bars()


def picture_column(
    rows: "datasets.Dataset", option_name: str, chosen: str | None, usual: tuple[str, ...], where: str
) -> str:
    """Return the column `chosen`, or without it the first of the `usual` ones that holds pictures.

    Raises DataError, beginning with `where`, when it is missing or holds something else. `option_name` is what the user
    would set.
    """
    candidates = [name for name, feature in rows.features.items() if _holds_bytes(feature)]
    if chosen is None:
        found = next((name for name in usual if name in candidates), None)
        if found is None:
            raise DataError(
                f"{where}: none of the columns {', '.join(usual)} holds pictures; give {option_name}=NAME. "
                f"Columns with pictures: {', '.join(candidates) or 'none'}."
            )
        return found
    if chosen not in rows.column_names:
        raise DataError(f"{where}: {option_name}={chosen!r} is no column.{nearest(chosen, rows.column_names)}")
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


def undecoded(rows: "datasets.Dataset") -> "datasets.Dataset":
    """Have `rows` give the bytes of its pictures, so that ours is the one place that decodes."""
    import datasets

    for name, feature in rows.features.items():
        if isinstance(feature, datasets.Image):
            rows = rows.cast_column(name, datasets.Image(decode=False))
    return rows
