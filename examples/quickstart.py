"""From generated pictures to trained weights to a picture: what criss-cross attention is for, in a few minutes.

A coloured beacon somewhere in the picture decides the class of every dark square, so a pixel must look far away. The
same small network is trained with R = 0, 1 and 2 attention steps: without attention it can only guess, one step sees
its row and column, two steps see everything.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

import ccnet_core as ccnet
import ccnet_data
from ccnet_core import render
from ccnet_train import fit, load_recipe

RECURRENCES = (0, 1, 2)


def main() -> int:
    """Train, print the table, predict. Returns 1 if two steps do not help as they should."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--out", type=Path, default=Path("runs/quickstart"), help="folder of everything it writes")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="train once per seed (default: 0)")
    options = parser.parse_args()
    scores = {seed: train(options.out, seed) for seed in options.seeds}
    print_table(scores)
    first = options.seeds[0]
    draw(options.out / f"seed{first}-R2" / "best", options.out, seed=first)
    return 0 if attention_helps(scores[first]) else 1


def train(out: Path, seed: int) -> list[float]:
    """Train with every number of attention steps and return the mIoU (0 to 1) of each."""
    scores = []
    for recurrence in RECURRENCES:
        overrides = [f"model.recurrence={recurrence}", f"seed={seed}", f"output={out}/seed{seed}-R{recurrence}"]
        scores.append(fit(load_recipe("beacon", overrides), fresh=True).best_miou)
    return scores


def print_table(scores: dict[int, list[float]]) -> None:
    """Print the mIoU of every seed and number of steps."""
    print("\nmIoU on 200 pictures never trained on\n| seed | R = 0 | R = 1 | R = 2 |\n|---|---|---|---|")
    for seed, row in scores.items():
        print(f"| {seed} | " + " | ".join(f"{score:.3f}" for score in row) + " |")


def draw(weights: Path, out: Path, *, seed: int) -> None:
    """Load the weights folder, predict a fresh picture, write it and what one pixel of a square looks at."""
    model = ccnet.CCNet.from_pretrained(weights)
    sample = ccnet_data.load("beacon", split="val", length=1, seed=1000 + seed)[0]
    picture, truth = sample["image"].transpose(1, 2, 0), sample["label"]
    labels = ccnet.predict(model, picture).labels
    palette = model.config.palette
    row = [picture, render.colour_labels(truth, palette), render.overlay(picture, labels, palette)]
    render.write_png(out / "overlay.png", render.beside([render.enlarge(part, 4) for part in row]))
    bottom, right = (int(axis[-1]) for axis in np.nonzero(truth))
    point = (right - 4, bottom - 4)  # the middle of the lowest square, which is 8 pixels wide
    maps = [ccnet.attention_map(model, picture, point=point, recurrence=steps) for steps in (1, 2)]
    render.write_png(out / "attention.png", render.attention_picture(picture, point, maps))
    print(f"\nloaded {weights}\n{out}/overlay.png    picture, truth, prediction over the picture")
    print(f"{out}/attention.png  what the marked pixel looks at after one step and after two")


def attention_helps(scores: list[float]) -> bool:
    """Return whether the scores are what they should be, and say so."""
    without, once, twice = scores
    expected = without <= 0.45 and without < once < twice and twice >= 0.95
    print(f"\nexpected: R = 0 at most 0.45, R = 2 at least 0.95, R = 1 between: {'yes' if expected else 'NO'}")
    return expected


if __name__ == "__main__":
    sys.exit(main())
