import io
import json
from codecs import BOM_UTF8

import pytest

from ccnet_data.errors import DataError
from ccnet_data.layouts import json_pieces
from ccnet_data.layouts.json_pieces import pieces

CONTENT = {
    "info": {"year": 2017, "note": ["a", "b"]},
    "images": [{"id": 1, "file_name": "straße 道.jpg"}, {"id": 2, "nested": {"list": [1, [2, 3]], "text": "]},\\"}}],
    "empty": [],
    "count": 12345678,
    "numbers": [1, 22, 333, -4.5e3],
}


@pytest.fixture(params=[3, 7, 64, 1 << 20])
def window(request, monkeypatch):
    """Reads so few bytes at once that values are cut anywhere."""
    monkeypatch.setattr(json_pieces, "_WINDOW", request.param)


@pytest.mark.parametrize("layout", [{"indent": 1}, {"separators": (",", ":")}, {"ensure_ascii": False}])
@pytest.mark.parametrize("start", [b"", BOM_UTF8])
@pytest.mark.usefixtures("window")
def test_every_value_comes_with_its_bytes(layout, start):
    content = start + json.dumps(CONTENT, **layout).encode()
    found = {}
    for piece in pieces(io.BytesIO(content), "a.json"):
        if piece.number is None:
            found[piece.key] = [] if content[piece.start : piece.end] == f'"{piece.key}"'.encode() else piece.value
        else:
            found[piece.key].append(piece.value)
        if piece.value is not None:
            assert json.loads(content[piece.start : piece.end]) == piece.value
    assert found == CONTENT
    assert list(found) == list(CONTENT)


def test_an_empty_object_has_no_pieces():
    assert list(pieces(io.BytesIO(b" {} "), "a.json")) == []


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "near byte 0: expected {, found the end"),
        (b"[1, 2]", r"near byte 0: expected {, found \["),
        (b'{"a": [1, 2', "near byte 11: expected , or ], found the end"),
        (b'{"a": [1 2]}', "near byte 9: expected , or ], found 2"),
        (b'{"a": [{"b": 1]}', "near byte 7"),
        (b'{"a": 1', "near byte 7: expected , or }"),
        (b"{1: 2}", "expected a text, found 1"),
        (b'{"a": "\xff"}', "utf-8"),
        (b'{"a": ' + b"[" * 100_000, "recursion"),
    ],
)
def test_a_damaged_file_says_where(content, message):
    with pytest.raises(DataError, match=rf"^a\.json: not a whole JSON object .*{message}.*fetch or export"):
        list(pieces(io.BytesIO(content), "a.json"))
