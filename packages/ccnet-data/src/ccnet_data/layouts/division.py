"""Samples without published splits, divided into "train" and "val" by their names."""

import hashlib

from ..errors import DataError
from ..options import number
from .pairs import Pairs

SPLITS = TRAIN, VAL = "train", "val"


def read_fraction(value: object) -> float:
    """Read a number between 0 and 1, neither of them."""
    if (fraction := float(number(0, 1)(value))) in (0, 1):
        raise DataError(f"must be between 0 and 1, such as 0.2, got {value!r}.")
    return fraction


def keep_side(pairs: Pairs, split: str, fraction: float, seed: int) -> None:
    """Leave in `pairs` those of `split`. Raises DataError if either split is empty."""
    pictures = pairs.pictures
    sides = [is_val(pictures.key(name), fraction, seed) for name in pictures.names]
    if len(set(sides)) < 2:
        empty = TRAIN if all(sides) else VAL
        raise DataError(
            f"{pictures.folder}: val_fraction={fraction:g} with seed={seed} leaves no picture of {len(sides)} to "
            f"{empty}; give another one, or more pictures."
        )
    kept = [place for place, side in enumerate(sides) if side == (split == VAL)]
    pictures.keep(kept)
    if pairs.labels is not None:
        pairs.labels.keep(kept)


def is_val(name: str, fraction: float, seed: int) -> bool:
    """Return whether the sample `name` goes to the split "val", as a hash of (seed, name) decides.

    So a sample stays on its side when others are added or removed, and about `fraction` of many are in "val".
    """
    digest = hashlib.blake2b(f"{seed}/{name}".encode("utf-8", "surrogateescape"), digest_size=8).digest()
    return int.from_bytes(digest) < fraction * 2**64
