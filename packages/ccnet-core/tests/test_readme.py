"""The Python of the README runs as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

README = Path(__file__).parents[1] / "README.md"
BLOCKS = re.findall(
    r"^## ([^\n]+)\n(?:(?!^## ).)*?```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL | re.MULTILINE
)


def test_the_readme_has_python_for_each_use():
    titles = [title for title, _ in BLOCKS]
    assert titles == [
        "Load, predict, convert",
        "Build a network",
        "Weights folders and the Hub",
        "Use criss-cross attention in your own network",
    ]


# The client's own: its HTTP library wants large files in another argument.
@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
@pytest.mark.parametrize("code", [code for _, code in BLOCKS], ids=[title for title, _ in BLOCKS])
def test_python_of_the_readme_runs(code, tiny, hub_server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.save_pretrained("path/to/weights-folder")
    for name in ("street.jpg", "park.jpg"):
        Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(name)
    names = {}
    exec(compile(code, str(README), "exec"), names)
    assert names["ccnet"].__name__ == "ccnet_core"
    if "labels" in names:
        assert names["labels"].shape in [(24, 32), (1, 48, 64)]
    if "z" in names:
        assert names["z"].shape == names["clip"].shape
