"""What a run leaves in its folder, and whether a run can continue there."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from ccnet_core import files, strict
from ccnet_train import checkpoint, kept_weights
from ccnet_train.checkpoint import Checkpoint
from ccnet_train.durable import sync
from ccnet_train.errors import TrainError
from ccnet_train.recipe import Recipe, to_yaml
from ccnet_train.recipe_text import flat

WITHOUT_EFFECT = (
    "name",
    "output",
    "model.activation_checkpointing",
    "data.root",
    *(f"data.options.{how}" for how in ("cache", "attempts", "patience", "timeout")),
    "data.workers",
    "train.nonfinite",
    "evaluate.",
    "checkpoint.",
    "log.",
    "card.",
)
"""How keys begin that do not change the weights a run ends with, so they may differ when it resumes.

Those of data.options say how shards are fetched. A run that reached a checkpoint met no loss that `train.nonfinite`
would have treated otherwise.
"""


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

    def refuse_unfit(self, recipe: Recipe, *, fresh: bool, allow_change: bool) -> None:
        """Raise TrainError if what the folder holds does not go with `recipe` and how it is to start."""
        if fresh:
            self.refuse_own_weights(recipe)
            return
        if not allow_change:
            self.refuse_other_recipe(recipe)
        self.refuse_lost_state()

    def refuse_other_recipe(self, recipe: Recipe) -> None:
        """Raise TrainError if the state in the folder was made by a recipe that trains to another result."""
        changes = self.changes(recipe)
        if changes:
            raise TrainError(
                f"{self.path} holds a run of another recipe: {'; '.join(changes)}. Go back to those values, give "
                "another output=DIR, continue all the same with --allow-change, or start over with --fresh (deletes "
                "that run)."
            )

    def changes(self, recipe: Recipe) -> list[str]:
        """Return "key was X, is Y" for what the state in the folder was made with and `recipe` has otherwise."""
        if checkpoint.latest(self.checkpoints) is None:
            return []
        return differing_keys(_read(self.recipe), strict.to_mapping(recipe))

    def refuse_lost_state(self) -> None:
        """Raise TrainError if there are weights of a run whose checkpoints are gone: starting would replace them."""
        for weights in (self.best, self.last):
            if weights.is_dir() and checkpoint.latest(self.checkpoints) is None:
                raise TrainError(
                    f"{weights} is there, but no checkpoint in {self.checkpoints}. Give another output=DIR, or start "
                    "over with --fresh (deletes that run)."
                )

    def refuse_own_weights(self, recipe: Recipe) -> None:
        """Raise TrainError if deleting the run in the folder would delete the weights that `recipe` starts from."""
        if recipe.model.weights is None:
            return
        weights = Path(recipe.model.weights).expanduser().resolve()
        if any(weights.is_relative_to(folder.resolve()) for folder in self._folders):
            raise TrainError(
                f"model.weights={recipe.model.weights} lies in output={self.path}, where --fresh deletes the run. "
                "Give another output=DIR, or copy the weights out of it."
            )

    def refuse_unwritable(self) -> None:
        """Raise TrainError if nothing can be written here: before the training, not after it."""
        if self.path.resolve() in (Path("/"), Path.home(), Path.cwd()):
            raise TrainError(f"output={self.path}: a run needs a folder of its own. Give output=DIR.")
        try:
            for folder in (self.path, self.checkpoints):
                folder.mkdir(parents=True, exist_ok=True)
                (folder / ".probe").write_text("")
                (folder / ".probe").unlink()
        except OSError as error:
            raise TrainError(f"output={self.path}: cannot be written ({error}). Give another output=DIR.") from error

    def start(self, resumed: Checkpoint | None, *, fresh: bool) -> None:
        """Make the folder ready for a run: with `fresh` delete the old one, else go back to what it is `resumed` from.

        Newer checkpoints are damaged; they are set aside, and the next start removes them.
        """
        if fresh:
            self._delete_run()
        self._remove_unfinished()
        if resumed:
            for found in checkpoint.checkpoints(self.checkpoints):
                if found > resumed:
                    checkpoint.set_aside(found.path)
            kept_weights.settle(resumed.path, self.path)

    def write_recipe(self, recipe: Recipe) -> None:
        """Say what the run is. Comes after its state was loaded: a recipe that this does not fit changes nothing."""
        files.write_text(self.recipe, to_yaml(recipe))
        sync(self.recipe)

    def _remove_unfinished(self) -> None:
        """Remove what a kill left half written or half deleted."""
        checkpoint.remove_incomplete(self.checkpoints)
        for path in (self.recipe, self.metrics, self.preview, self.best, self.last):
            for unfinished in self.path.glob(f".{path.name}-*.tmp*"):
                _remove(unfinished)

    @property
    def _folders(self) -> tuple[Path, ...]:
        return self.checkpoints, self.best, self.last, self.events

    def _delete_run(self) -> None:
        # By name: the folder may hold files of the user. The checkpoints first and the recipe last, so that what a kill
        # leaves is either a run that can continue or none.
        checkpoint.remove_incomplete(self.checkpoints)
        for found in checkpoint.checkpoints(self.checkpoints):
            checkpoint.remove(found.path)
        for path in (*self._folders, self.preview, self.metrics, self.recipe):
            _remove(path)


def run_of(*places: Path) -> RunFolder | None:
    """Return the first of `places` that is the folder of a run."""
    return next((folder for folder in map(RunFolder, places) if folder.recipe.is_file()), None)


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def differing_keys(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """Return "key was X, is Y" for every key that differs and changes the result."""
    before, now = flat(old), flat(new)
    return [
        f"{key} was {_text(before.get(key))}, is {_text(now.get(key))}"
        for key in sorted(before.keys() | now.keys())
        if not key.startswith(WITHOUT_EFFECT) and before.get(key) != now.get(key)
    ]


def _text(value: object) -> str:
    return "not set" if value is None else repr(value)


def _read(path: Path) -> dict[str, Any]:
    remedy = "Restore it, give another output=DIR, or start over with --fresh (deletes that run)."
    try:
        content = yaml.safe_load(path.read_text("utf-8"))
    except FileNotFoundError:
        raise TrainError(f"{path} is missing, although checkpoints of its run are there. {remedy}") from None
    except (yaml.YAMLError, ValueError):
        content = None
    if not isinstance(content, dict):
        raise TrainError(f"{path} is damaged. {remedy}")
    return content
