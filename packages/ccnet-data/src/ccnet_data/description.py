"""What is known of a published dataset before a file of it is there."""

from collections.abc import Mapping
from dataclasses import dataclass

from .sample import Colour


@dataclass(frozen=True, kw_only=True)
class Description:
    """The facts of a published dataset, as `ccnet-data info` prints them.

    `page` is where one registers or downloads, `terms` one sentence about the licence, `sizes` the published number of
    samples of each split, `tree` the expected files below the root, one per line, with a comment after two spaces.
    `unpacked` is the folder that the archive unpacks to, such as "VOCdevkit/VOC2012"; the root may be this one or any
    on the way to it.
    """

    title: str
    page: str
    terms: str
    classes: tuple[str, ...]
    palette: tuple[Colour, ...]
    sizes: Mapping[str, int]
    tree: str
    unpacked: str = ""
    flip_pairs: tuple[tuple[int, int], ...] = ()
