"""Write model-card.png: the card of the beacon network, rendered in Chromium in the manner of the Hub.

From the root of the repository, with `markdown-it-py` and `linkify-it-py` installed and `chromium` on the path:
python docs/make_model_card.py [FOLDER_OF_THE_RUN]
"""

import html
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from markdown_it import MarkdownIt
from PIL import Image

import ccnet_core as ccnet
import ccnet_data
from ccnet_train import fit, load_recipe

DOCS = Path(__file__).parent
WIDTH, HEIGHT = 860, 2400

STYLE = """
body { font: 15px/1.55 sans-serif; color: #222; width: 780px; margin: 24px auto }
h1, h2 { border-bottom: 1px solid #ddd; padding-bottom: 4px; margin: 22px 0 10px } h1 { font-size: 26px }
h2 { font-size: 19px } p { margin: 8px 0 }
table { border-collapse: collapse } td, th { border: 1px solid #ddd; padding: 4px 12px }
pre { background: #f5f6f8; padding: 10px 14px } code { font-size: 13px }
p code, li code { background: #f0f1f3; padding: 1px 4px }
.tag { display: inline-block; border: 1px solid #ccc; border-radius: 8px; padding: 1px 9px; margin: 0 6px 6px 0 }
.tag { font-size: 13px } .tag b { font-weight: normal; color: #888 }
"""


def main() -> int:
    """Train for a minute, or take the run that is there; save the folder with its card; draw the page."""
    run = Path(sys.argv[1] if len(sys.argv) > 1 else "runs/model-card")
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "weights"
        save(run, folder)
        page = folder / "card.html"
        page.write_text(page_of((folder / "README.md").read_text("utf-8")), "utf-8")
        draw(page, DOCS / "model-card.png")
    return 0


def save(run: Path, folder: Path) -> None:
    """Train the beacon recipe in `run` and save its best weights with metrics, data, licence and picture."""
    fit(load_recipe("beacon", [f"output={run}"]))
    evaluations = [line for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "miou" in line]
    best = max(evaluations, key=lambda line: line["miou"])
    picture = ccnet_data.load("beacon", split="val", length=1, seed=1000)[0]["image"].transpose(1, 2, 0)
    ccnet.CCNet.from_pretrained(run / "best").save_pretrained(
        folder,
        metrics={name: best[name] for name in ("miou", "macc", "aacc")},
        datasets=["beacon"],
        license="mit",
        picture=picture,
    )


def page_of(card: str) -> str:
    """Return the card as a web page: its metadata as tags, then its text."""
    _, metadata, text = card.split("---\n", 2)
    fields = yaml.safe_load(metadata)
    named = [
        (key, value) for key in ("pipeline_tag", "library_name", "datasets", "license") for value in listed(fields[key])
    ]
    tags = [f'<span class="tag"><b>{key}</b> {html.escape(value)}</span>' for key, value in named]
    tags += [f'<span class="tag">{html.escape(tag)}</span>' for tag in fields["tags"]]
    body = MarkdownIt("gfm-like").render(text)
    return f"<!doctype html><meta charset=utf-8><style>{STYLE}</style>{''.join(tags)}{body}"


def listed(value: str | list[str]) -> list[str]:
    """Return a metadata value, one or several, as a list."""
    return [value] if isinstance(value, str) else value


def draw(page: Path, out: Path) -> None:
    """Photograph the page, cut the white below it, keep 128 colours."""
    shot = page.with_suffix(".png")
    options = ["--headless", "--no-sandbox", "--hide-scrollbars", f"--window-size={WIDTH},{HEIGHT}"]
    subprocess.run(["chromium", *options, f"--screenshot={shot}", page.as_uri()], check=True, capture_output=True)
    with Image.open(shot) as image:
        pixels = np.asarray(image.convert("RGB"))
    rows = np.nonzero((pixels < 250).any((1, 2)))[0]
    Image.fromarray(pixels[: rows[-1] + 24]).quantize(128).save(out, optimize=True)


if __name__ == "__main__":
    sys.exit(main())
