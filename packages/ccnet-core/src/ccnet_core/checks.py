"""What values of a configuration must be, wherever they come from."""

import math

from ccnet_core.errors import ConfigError

LARGEST_SIZE = 2**16
"""Of a channel count, stride or dilation: enough for any network, and no size that overflows."""

LARGEST_COUNT = 256
"""Of blocks in a stage, of attention steps, and of the edge of a kernel: what a network is built from one by one."""


def require(condition: object, message: str) -> None:
    """Raise ConfigError with `message` unless `condition` holds."""
    if not condition:
        raise ConfigError(f"{message}.")


def require_sizes(*, largest: int = LARGEST_SIZE, **values: tuple[int, ...]) -> None:
    """Raise ConfigError unless all values are whole numbers from 1 to `largest`."""
    for name, sizes in values.items():
        fits = all(is_whole(size) and 1 <= size <= largest for size in sizes)
        require(fits, f"{name} must be whole numbers from 1 to {largest}, got {', '.join(map(repr, sizes))}")


def require_slope(negative_slope: float) -> None:
    """Raise ConfigError unless the slope of a leaky ReLU is from 0 (ReLU) to below 1."""
    require(0 <= negative_slope < 1, f"negative_slope must be from 0 to below 1, got {negative_slope}")


def require_flip_pairs(pairs: object, num_classes: int) -> None:
    """Raise ConfigError unless `pairs` are tuples of two classes below `num_classes`, none of which is there twice."""
    listed = isinstance(pairs, tuple) and all(isinstance(pair, tuple) and len(pair) == 2 for pair in pairs)
    classes = [index for pair in pairs for index in pair] if isinstance(pairs, tuple) and listed else []
    sensible = listed and all(is_whole(index) and 0 <= index < num_classes for index in classes)
    require(sensible, f"flip_pairs must be pairs of classes from 0 to {num_classes - 1}, got {pairs!r}")
    require(len(set(classes)) == len(classes), f"flip_pairs names a class twice: {pairs}")


def is_whole(value: object) -> bool:
    """Return whether `value` is an int and not a bool."""
    return isinstance(value, int) and not isinstance(value, bool)


def is_text(value: object) -> bool:
    """Return whether `value` is a str that UTF-8 can hold: half a surrogate pair, as JSON can spell it, is none."""
    return isinstance(value, str) and not any("\ud800" <= letter <= "\udfff" for letter in value)


def is_positive(value: object) -> bool:
    """Return whether `value` is a finite number above 0 and not a bool."""
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def is_pair(value: object) -> bool:
    """Return whether `value` is a tuple of two whole numbers above 0."""
    return isinstance(value, tuple) and len(value) == 2 and all(is_whole(edge) and edge > 0 for edge in value)


def is_colour(value: object) -> bool:
    """Return whether `value` is a tuple of three whole numbers from 0 to 255."""
    return isinstance(value, tuple) and len(value) == 3 and all(is_whole(part) and 0 <= part <= 255 for part in value)
