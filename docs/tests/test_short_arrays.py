"""Arrays have short names in signatures, and nothing else changes."""

from short_arrays import on_signature, shorten

LONG = "numpy.ndarray[tuple[typing.Any, ...], numpy.dtype[numpy.uint8]]"


def test_array_is_named_as_numpy_names_it():
    assert shorten(f"(picture: str | {LONG}, flip: bool = False)") == (
        "(picture: str | ~numpy.typing.NDArray[numpy.uint8], flip: bool = False)"
    )


def test_other_types_stay():
    assert shorten("(size: tuple[int, int])") == "(size: tuple[int, int])"


def test_part_that_is_missing_stays_missing():
    assert on_signature("app", "function", "name", None, None, f"(x: {LONG})", None) == (
        "(x: ~numpy.typing.NDArray[numpy.uint8])",
        None,
    )
