"""Pictures and labels of the size of Cityscapes' files, in its folders, for timing: no street is to be seen in them.

Noise whose amplitude falls with frequency, as in photographs, and a little white noise: the PNG takes about 2.3 MB, as
those of Cityscapes do (11 GB for 5000). Labels are blobs in 19 classes, which have about their shares of Cityscapes.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

SIZE = (1024, 2048)
MEAN = (73, 83, 72)
"""Of Cityscapes' red, green and blue, 0-255."""
CONTRAST, COLOURFULNESS, NOISE = 40, 8, 1.8
SHARES = (33, 5, 20, 1, 1, 1, 0.2, 0.5, 14, 1, 4, 1, 0.2, 6, 0.3, 0.2, 0.2, 0.1, 0.4)
"""Percent of the pixels of each class; the others are ignored."""


def write_split(root: Path, count: int, split: str = "train") -> None:
    """Write `count` pictures and their labels in train ids; the same at every call."""
    pictures, labels = root / "leftImg8bit" / split / "a", root / "gtFine" / split / "a"
    pictures.mkdir(parents=True)
    labels.mkdir(parents=True)
    for number in range(count):
        random = np.random.default_rng(number)
        name = f"a_{number:06}_000019"
        Image.fromarray(picture(random)).save(pictures / f"{name}_leftImg8bit.png")
        Image.fromarray(label(random)).save(labels / f"{name}_gtFine_labelTrainIds.png")


def picture(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 (H, W, 3), RGB: what the channels share, what each has alone, and noise."""
    shared = CONTRAST * clouds(random, 1.9) + random.normal(0, NOISE, SIZE)
    channels = [mean + shared + COLOURFULNESS * clouds(random, 2.2) for mean in MEAN]
    rounded: NDArray[np.uint8] = np.stack(channels, -1).round().clip(0, 255).astype(np.uint8)
    return rounded


def label(random: np.random.Generator) -> NDArray[np.uint8]:
    """Return uint8 (H, W): levels of clouds, where each class has its share."""
    levels = clouds(random, 2.6)
    order = random.permutation(len(SHARES))
    bounds = np.quantile(levels[::8, ::8], np.cumsum(np.take(SHARES, order)) / 100)
    classes: NDArray[np.uint8] = np.append(order, 255).astype(np.uint8)[np.searchsorted(bounds, levels)]
    return classes


def clouds(random: np.random.Generator, exponent: float) -> NDArray[np.float64]:
    """Return noise (H, W) of mean 0 and deviation 1, whose amplitude is 1 / frequency^exponent."""
    frequency = np.hypot(np.fft.fftfreq(SIZE[0])[:, None], np.fft.rfftfreq(SIZE[1]))
    frequency[0, 0] = np.inf
    spectrum = np.fft.rfft2(random.normal(size=SIZE)) / np.maximum(frequency, 1 / 512) ** exponent
    noise: NDArray[np.float64] = np.fft.irfft2(spectrum, s=SIZE)
    return noise / noise.std()
