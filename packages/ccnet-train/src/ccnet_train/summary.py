"""The last lines of a run."""

import shlex

from ccnet_train.history import Record
from ccnet_train.run_folder import RunFolder
from ccnet_train.tasks import task_scored_in


def summary(folder: RunFolder, best: Record, trained: str | None) -> str:
    """Return where the weights are and how to use them, line by line; `trained` says how long which steps took."""
    task = task_scored_in(best)
    assert task is not None
    score = f"{task.score_name} {best[task.score]:.4f}"
    lines = [f"best  {score} at step {best['step']}: {folder.best}", f"last  {folder.last}"]
    if trained:
        lines.append(f"time  {trained}")
    lines.append(f"next  ccnet predict PICTURE --model {shlex.quote(str(folder.best))}")
    return "\n".join(lines)
