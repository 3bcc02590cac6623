"""A small COCO for the tests to read."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ccnet_data.layouts.categories import CATEGORIES

HEIGHT, WIDTH = 24, 32
NAMES = tuple(f"{number:012d}.jpg" for number in (9, 25, 30))


def annotation(number: int, image: int, category: int, **changes: object) -> dict[str, object]:
    left, top = number % 10, number % 7
    corners = [left, top, left + 9.5, top + 0.4, left + 12.3, top + 8.2, left + 3.1, top + 11.7]
    return {
        "id": number,
        "image_id": image,
        "category_id": category,
        "bbox": [left, top, 12.3, 11.7],
        "segmentation": [corners],
        "area": 100.5,
        "iscrowd": 0,
        **changes,
    }


@pytest.fixture
def coco() -> SimpleNamespace:
    """An annotation of a picture, by default a polygon in a box of 12.3x11.7, a crowd's run lengths, and the size."""
    crowd = {"counts": [100, 30, 20, 40, HEIGHT * WIDTH - 190], "size": [HEIGHT, WIDTH]}
    return SimpleNamespace(annotation=annotation, crowd=crowd, height=HEIGHT, width=WIDTH)


@pytest.fixture
def make_coco(tmp_path: Path, png: Callable[..., bytes]) -> Callable[..., Path]:
    """Writes a small COCO: pictures 9, 25 and 30, which have grey 0, 40 and 80, and the given annotations."""

    def make(
        *entries: object,
        split: str = "train",
        categories: list[dict[str, object]] | None = None,
        annotations: str = "annotations/instances_{split}2017.json",
        pictures: str = "{split}2017",
        names: tuple[str, ...] = NAMES,
    ) -> Path:
        folder, file = (tmp_path / name.replace("{split}", split) for name in (pictures, annotations))
        for number, name in enumerate(names):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            content = png(np.full((HEIGHT, WIDTH, 3), 40 * number, np.uint8), "JPEG")
            (folder / name).write_bytes(content)
        content = {
            "info": {"description": "COCO 2017 Dataset"},
            "licenses": [{"id": 3, "name": "Attribution-NonCommercial-NoDerivs License"}],
            "images": [
                {"id": number, "file_name": name, "height": HEIGHT, "width": WIDTH, "license": 3}
                for number, name in reversed(list(zip((9, 25, 30), names, strict=True)))
            ],
            "annotations": list(entries),
            "categories": categories
            or [{"supercategory": "any", "id": number, "name": name} for number, name in CATEGORIES.items()],
        }
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(content), encoding="utf-8")
        return tmp_path

    return make
