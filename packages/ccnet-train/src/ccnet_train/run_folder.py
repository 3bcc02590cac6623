"""What a run leaves in its folder, and whether a run can continue there."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ccnet_core import files, strict
from ccnet_train import checkpoint
from ccnet_train.errors import TrainError
from ccnet_train.recipe import Recipe, to_yaml

WITHOUT_EFFECT = ("name", "output", "data.root", "data.workers", "evaluate.", "checkpoint.", "log.")
"""Keys, or sections, that do not change the weights a run ends with, so they may differ when it resumes."""


@dataclass(frozen=True)
class RunFolder:
    """The paths in the folder of a run."""

    path: Path

    @property
    def recipe(self) -> Path:
        """The resolved recipe."""
        return self.path / "recipe.yaml"

    @property
    def metrics(self) -> Path:
        """One line per logged step and per evaluation."""
        return self.path / "metrics.jsonl"

    @property
    def checkpoints(self) -> Path:
        """Resumable state."""
        return self.path / "checkpoints"

    @property
    def best(self) -> Path:
        """Weights folder of the evaluation with the highest mIoU."""
        return self.path / "best"

    @property
    def last(self) -> Path:
        """Weights folder of the newest evaluation."""
        return self.path / "last"

    @property
    def preview(self) -> Path:
        """A few pictures with truth and prediction."""
        return self.path / "preview.png"

    @property
    def events(self) -> Path:
        """TensorBoard events."""
        return self.path / "tensorboard"

    def refuse_other_recipe(self, recipe: Recipe) -> None:
        """Raise TrainError if the state in the folder was made by a recipe that trains to another result."""
        keys = differing_keys(_read(self.recipe), strict.to_mapping(recipe))
        if keys and checkpoint.latest(self.checkpoints) is not None:
            raise TrainError(
                f"{self.path} holds a run of another recipe: {'; '.join(keys)}. "
                "Go back to those values, give another output=DIR, or start over with --fresh (deletes that run)."
            )

    def start(self, recipe: Recipe, *, fresh: bool) -> None:
        """Make the folder ready for a run: with `fresh` delete the old one, else what a kill left half written."""
        if fresh:
            self._delete_run()
        for name in (self.best.name, self.last.name):
            for leftover in self.path.glob(f".{name}-*"):
                shutil.rmtree(leftover)
        checkpoint.remove_unfinished(self.checkpoints)
        files.write_text(self.recipe, to_yaml(recipe))

    def _delete_run(self) -> None:
        # By name: the folder may hold files of the user.
        for file in (self.recipe, self.metrics, self.preview):
            file.unlink(missing_ok=True)
        for folder in (self.checkpoints, self.best, self.last, self.events):
            shutil.rmtree(folder, ignore_errors=True)


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return "key was X, is Y" for every key that differs and changes the result."""
    before, now = _flat(old), _flat(new)
    return [
        f"{key} was {before.get(key)!r}, is {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if not key.startswith(WITHOUT_EFFECT) and before.get(key) != now.get(key)
    ]


def _flat(mapping: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in mapping.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except yaml.YAMLError:
        content = None
    if not isinstance(content, dict):
        raise TrainError(f"{path} is damaged. Restore it, or start over with --fresh (deletes that run).")
    return content
