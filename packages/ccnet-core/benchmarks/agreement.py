"""Whether faster twins of a trained network answer like it: `python agreement.py WEIGHTS --root camvid [--frames N]`.

The validation frames of CamVid go through the network and through its twins. `labels` is the share of pixels labelled
as the network does, `miou` the mean intersection over union with the true labels, over all frames, in percent.
"""

import argparse
import csv
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from predict import TWINS

import ccnet_core as ccnet
import ccnet_data


@dataclass(frozen=True, kw_only=True)
class Row:
    """One line of the table; see the head of this file."""

    contender: str
    frames: int
    labels: float
    miou: float


def rows(network: ccnet.CCNet, frames: Sequence[dict[str, Any]], contenders: Sequence[str]) -> list[Row]:
    """Return one line for the network and one for each twin."""
    models: dict[str, Any] = {"network": network}
    for name in contenders:
        models[name] = network.optimized(**TWINS[name], picture=torch.from_numpy(frames[0]["image"]))
    classes = network.config.num_classes
    same = dict.fromkeys(models, 0)
    counts = {name: np.zeros((classes, classes), np.int64) for name in models}
    for frame in frames:
        labels = {name: ccnet.predict(model, torch.from_numpy(frame["image"])).labels for name, model in models.items()}
        for name, predicted in labels.items():
            same[name] += int((predicted == labels["network"]).sum())
            counts[name] += confusion(frame["label"], predicted, classes)
    pixels = sum(frame["label"].size for frame in frames)
    return [
        Row(contender=name, frames=len(frames), labels=same[name] / pixels, miou=miou(counts[name])) for name in models
    ]


def confusion(truth: NDArray[np.uint8], predicted: NDArray[np.integer], classes: int) -> NDArray[np.int64]:
    """Return counts (true class, predicted class) of the pixels that have a true class."""
    known = truth < classes
    pairs = truth[known].astype(np.int64) * classes + predicted[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def miou(counts: NDArray[np.int64]) -> float:
    """Return the mean intersection over union of the classes that occur, in percent."""
    hit = counts.diagonal()
    union = counts.sum(0) + counts.sum(1) - hit
    return float(100 * (hit[union > 0] / union[union > 0]).mean())


def main(arguments: Sequence[str] | None = None) -> None:
    """Print the table, then write the file that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", metavar="WEIGHTS", help="weights folder of a network trained on CamVid")
    parser.add_argument("--root", type=Path, required=True, help="folder of CamVid, as `ccnet_data` reads it")
    parser.add_argument("--frames", type=int, default=101, help="the first frames of val (default: all 101)")
    parser.add_argument(
        "--contenders", nargs="+", choices=TWINS, default=["optimized", "compiled", "bfloat16"], help="default: three"
    )
    parser.add_argument("--out", type=Path, help="write the table as CSV")
    options = parser.parse_args(arguments)
    data = ccnet_data.load("camvid", split="val", root=options.root)
    frames = [data[index] for index in range(min(options.frames, len(data)))]
    network = ccnet.CCNet.from_pretrained(options.weights)
    print(f"{__doc__}\n{network.config.name}, torch {torch.__version__}\n".replace("`", ""))
    table = rows(network, frames, options.contenders)
    print(f"{'':18}{'frames':>7}{'labels':>10}{'miou':>8}")
    for row in table:
        print(f"{row.contender:18}{row.frames:7}{row.labels:10.6f}{row.miou:8.3f}")
    if options.out:
        with options.out.open("w", newline="") as file:
            writer = csv.DictWriter(file, [field.name for field in fields(Row)])
            writer.writeheader()
            writer.writerows(asdict(row) for row in table)


if __name__ == "__main__":
    main()
