"""A dataset provider for the tests: small pictures of coloured squares, the class of a pixel told by its colour.

It notes what was read and can kill its own process, so that tests can look at a run from outside.
"""

import os
import signal
from pathlib import Path

import numpy as np

COLOURS = np.array([[20, 20, 20], [220, 40, 40], [40, 220, 40]], np.uint8)
reads = 0


class Squares:
    classes = ("ground", "red", "green")
    palette = ((20, 20, 20), (220, 40, 40), (40, 220, 40))
    task = "segmentation"
    ignore_index = 255
    flip_pairs = ()

    def __init__(self, split, length=12, size=32, seen=None, broken=None, replaced=None, **forms):
        self.split, self.length, self.size, self.seen = split, length, size, seen
        self.broken, self.replaced, self.forms = broken, replaced, forms
        self.frames = forms.get("frames", 1)
        if self.frames > 1:
            self.task = "video"

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(index)
        self._note(index)
        if index == self.broken:
            raise ValueError(f"{index}.png: not a readable picture; fetch or export it again.")
        if index == self.replaced:
            return {**self[(index + 1) % self.length], "replaces": f"{index}.png: not a readable picture"}
        rng = np.random.default_rng((self.split == "val", index))
        label = np.zeros((self.size, self.size), np.uint8)
        for name in (1, 2):
            y, x = rng.integers(0, self.size - 12, 2)
            label[y : y + 12, x : x + 12] = name
        image = COLOURS[label].transpose(2, 0, 1).copy()
        label[:2] = 255
        if self.forms.get("unlabelled"):
            label[:] = 255
        if self.forms.get(
            "ragged"
        ):  # noise, and each picture ignores more than the one before, the last one everything
            image = image // 2 + rng.integers(0, 120, image.shape, np.uint8)
            label[: index * self.size // (self.length - 1)] = 255
        if self.frames > 1:  # the squares come from the left
            image = np.stack([np.roll(image, t + 1 - self.frames, axis=2) for t in range(self.frames)])
        return {"image": image, "label": label, "id": f"{self.split}-{index}"}

    def _note(self, index):
        global reads
        if self.split != "train":
            return
        reads += 1
        if reads == int(os.environ.get("FAKE_DIE_AT", -1)):
            os.kill(os.getpid(), signal.SIGKILL)
        if self.seen:
            with (Path(self.seen) / f"rank{os.environ.get('RANK', '0')}.txt").open("a") as file:
                file.write(f"{index}\n")


class Blocks:
    """Pictures of different sizes with up to two blocks; the colour of a block tells its class."""

    classes = ("red", "green")
    palette = ((220, 40, 40), (40, 220, 40))
    task = "instances"
    ignore_index = 255
    flip_pairs = ()

    def __init__(self, split, length=6, size=48, blocks=2, crowd=False):
        self.split, self.length, self.size, self.blocks, self.crowd = split, length, size, blocks, crowd

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        if not 0 <= index < self.length:
            raise IndexError(index)
        rng = np.random.default_rng((self.split == "val", index))
        height, width = self.size, self.size + 16 * (index % 2)
        count = index % (self.blocks + 1)  # the first picture has none
        image = np.full((3, height, width), 20, np.uint8)
        masks = np.zeros((count, height, width), bool)
        boxes, classes = np.zeros((count, 4), np.float32), np.arange(count) % 2
        for number in range(count):
            left = number * width // 2 + int(rng.integers(0, 6))
            top = int(rng.integers(0, height - 24))
            boxes[number] = left, top, left + 16, top + 20
            masks[number, top : top + 20, left : left + 16] = True
            image[:, top : top + 20, left : left + 16] = np.array(self.palette[classes[number]])[:, None, None]
        crowd = np.zeros(count, bool)
        crowd[1:] = self.crowd
        sample = {"image": image, "boxes": boxes, "masks": masks, "classes": classes, "crowd": crowd}
        return {**sample, "id": f"{self.split}-{index}"}


class Provider:
    name = "fake-data"
    version = "1.0"
    api_version = 1

    def datasets(self):
        return ("squares", "blocks")

    def check(self, name, options):
        if name == "blocks":
            return [f"Unknown option {key!r}." for key in options if key not in ("length", "size", "blocks", "crowd")]
        known = ("length", "size", "seen", "broken", "replaced", "ragged", "unlabelled", "frames", "root")
        return [f"Unknown option {key!r}." for key in options if key not in known]

    def load(self, name, split, **options):
        if options.pop("root", None) == "missing":
            raise ValueError("there is no folder 'missing'. Download it first.")
        return Blocks(split, **options) if name == "blocks" else Squares(split, **options)

    def augmentation(self, spec):
        if spec is None:
            return lambda sample, generator: sample
        if "flip" not in spec:
            raise ValueError(f"unknown key in {spec}; known: flip.")

        def flip(sample, generator):
            if sample["label"].shape[0] < spec.get("smallest", 0):
                raise ValueError("the picture is too small; lower augment.smallest.")
            if generator.random() >= spec["flip"]:
                return sample
            return {**sample, "image": sample["image"][..., ::-1], "label": sample["label"][:, ::-1]}

        return flip


provider = Provider()
