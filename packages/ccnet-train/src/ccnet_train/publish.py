"""The best weights of a run to the Hugging Face Hub."""

from ccnet_core import hub_push
from ccnet_core.errors import CCNetError
from ccnet_train.datasets import load_split
from ccnet_train.errors import TrainError
from ccnet_train.loop import FitResult
from ccnet_train.model_card import card_values
from ccnet_train.recipe import Recipe
from ccnet_train.tasks import task_scored_in


def announce(recipe: Recipe, repository: str) -> str:
    """Return what a push to `repository` will show to others, line by line, so that it can be stopped before.

    Raises WeightsError for a wrong name and for a missing token, which are known before the training.
    """
    hub_push.require_ready(repository)
    lines = [f"after the run its best weights go to {repository}"]
    if recipe.card.picture:
        lines.append("their card shows a validation picture; card.picture=false leaves it out")
    if recipe.card.license is None:
        lines.append("their card states no licence; card.license=ID, such as cc-by-4.0, states one")
    return "\n".join(lines)


def push(recipe: Recipe, result: FitResult, repository: str) -> str:
    """Make `repository` on the Hub hold the best weights of a finished run; return the web address of the commit.

    The card is made anew from `recipe`, and names `repository`. Raises TrainError, which says how to push again.
    """
    try:
        dataset = load_split(recipe.data, "val") if recipe.card.picture else None
        values = card_values(recipe, result.best, dataset)
        task = task_scored_in(result.best)
        assert task is not None
        return str(task.load(result.best_folder).push_to_hub(repository, **values))
    except (CCNetError, TrainError) as error:
        raise TrainError(
            f"{error} The run is finished, and its best weights are in {result.best_folder}: the same command, without "
            "--fresh, only pushes them again."
        ) from error
