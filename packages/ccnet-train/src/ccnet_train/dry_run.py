"""What a recipe would run, checked without training."""

from pathlib import Path

from ccnet_train.network import train_mode
from ccnet_train.recipe import Recipe
from ccnet_train.run import Parts, load_parts
from ccnet_train.run_folder import RunFolder
from ccnet_train.trackers import check_trackers


def describe(recipe: Recipe, *, processes: int = 1, fresh: bool = False, allow_change: bool = False) -> str:
    """Load data and network as a run would, leave nothing behind, and return what would run, line by line.

    `fresh` and `allow_change` are those of :func:`ccnet_train.fit`. Raises TrainError or CCNetError where a run would,
    also if nothing could be written to the output folder.
    """
    folder = RunFolder(Path(recipe.output).expanduser())
    folder.refuse_unfit(recipe, fresh=fresh, allow_change=allow_change)
    check_trackers(recipe.log.trackers)
    parts = load_parts(recipe, processes)
    try_folder(folder)
    return "\n".join((_network(parts), _data(parts), _steps(parts, processes), _memory(parts)))


def try_folder(folder: RunFolder) -> None:
    """Write to `folder` and remove what that made. Raises TrainError if it cannot be written."""
    missing = [path for path in (folder.checkpoints, folder.path, *folder.path.parents) if not path.exists()]
    try:
        folder.refuse_unwritable()
    finally:
        for path in missing:
            if path.is_dir():
                path.rmdir()


def _network(parts: Parts) -> str:
    sizes = [(parameter.numel(), parameter.requires_grad) for parameter in parts.network.parameters()]
    total, trained = sum(size for size, _ in sizes), sum(size for size, trains in sizes if trains)
    frozen = "" if trained == total else f", {trained:,} of them trained"
    return f"network  {parts.network.config.name}, {total:,} parameters{frozen}, {len(parts.train.classes)} classes"


def _data(parts: Parts) -> str:
    name, train, val = parts.recipe.data.name, len(parts.train), len(parts.val)
    return f"data     {name}, {train} pictures to train on, {val} to evaluate"


def _steps(parts: Parts, processes: int) -> str:
    train = parts.recipe.train
    epochs = train.iterations * train.images_per_step / len(parts.train)
    in_parts = f" x {train.accumulation}" if train.accumulation > 1 else ""
    shares = f"{processes} x {parts.share}{in_parts}"
    steps = f"{train.iterations} of {train.images_per_step} pictures ({shares}), {epochs:.1f} epochs"
    return f"steps    {steps}, to {parts.recipe.output}"


def _memory(parts: Parts) -> str:
    train_mode(parts.network, parts.recipe)
    memory = parts.task.memory(parts.network, parts.recipe, parts.train, parts.samples[0], parts.share)
    return f"memory   {memory}"
