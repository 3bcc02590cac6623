"""The names and colours of classes."""

from collections.abc import Sequence
from typing import Protocol

from ccnet_core.checks import LARGEST_SIZE, is_colour, is_text, is_whole, require

Colour = tuple[int, int, int]
"""Red, green and blue, 0-255."""


def require_classes(classes: tuple[str, ...], palette: tuple[Colour, ...]) -> None:
    """Raise ConfigError unless there are different names, and a colour for each."""
    require(classes, "a model needs at least one class")
    require(all(map(is_text, classes)), f"class names must be text, got {classes}")
    require(len(set(classes)) == len(classes), "two classes have the same name")
    require(len(palette) == len(classes), f"{len(classes)} classes but {len(palette)} palette colours")
    require(all(map(is_colour, palette)), "a palette colour is three whole numbers from 0 to 255")


class Labelled(Protocol):
    """A configuration with classes."""

    @property
    def classes(self) -> tuple[str, ...]:
        """Their names."""
        ...

    @property
    def palette(self) -> tuple[Colour, ...]:
        """Their colours."""
        ...


def replace_classes(
    config: Labelled,
    num_classes: int | None = None,
    classes: Sequence[str] | None = None,
    palette: Sequence[Sequence[int]] | None = None,
) -> tuple[tuple[str, ...], tuple[Colour, ...]]:
    """Return names and colours for other classes than those of `config`; see :meth:`CCNetConfig.with_classes`."""
    counted = num_classes is None or (is_whole(num_classes) and 0 < num_classes <= LARGEST_SIZE)
    require(counted, f"num_classes must be a whole number from 1 to {LARGEST_SIZE}, got {num_classes!r}")
    listed = classes is None or (isinstance(classes, Sequence) and not isinstance(classes, str))
    require(listed, f"classes must be a list of names, got {classes!r}")
    listed = palette is None or (isinstance(palette, Sequence) and all(isinstance(c, Sequence) for c in palette))
    require(listed, f"palette must be a list of colours, got {palette!r}")
    names = config.classes if classes is None else tuple(classes)
    if classes is None and num_classes not in (None, len(names)):
        names = tuple(f"class {index}" for index in range(num_classes or 0))
    require(num_classes in (None, len(names)), f"num_classes is {num_classes} but classes has {len(names)} names")
    if palette is not None:
        return names, tuple(tuple(colour) for colour in palette)  # type: ignore[misc]
    return names, config.palette if names == config.classes else default_palette(len(names))


def default_palette(num_classes: int) -> tuple[Colour, ...]:
    """Return Pascal VOC's palette, as its development kit computes it: bits of the class spread over R, G and B."""
    return tuple(_voc_colour(label) for label in range(num_classes))


def _voc_colour(label: int) -> Colour:
    red = green = blue = 0
    for bit in range(8):
        red |= (label & 1) << (7 - bit)
        green |= (label >> 1 & 1) << (7 - bit)
        blue |= (label >> 2 & 1) << (7 - bit)
        label >>= 3
    return red, green, blue
