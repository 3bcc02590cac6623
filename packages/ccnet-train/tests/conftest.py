"""The tests bring a dataset provider of their own: `provider/` looks like an installed distribution."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

# Before torch is imported. The networks are so small that a second thread only waits.
os.environ["OMP_NUM_THREADS"] = "1"

from ccnet_core.config import InferencePlan
from ccnet_train import load_recipe
from ccnet_train.evaluation import Evaluation, PictureCounts
from ccnet_train.evaluation_folder import write_evaluation
from ccnet_train.recipe import to_yaml
from ccnet_train.subject import Subject

TESTS = Path(__file__).parent
PROVIDER = TESTS / "provider"
SQUARES = TESTS / "squares.yaml"


@pytest.fixture
def squares(tmp_path, monkeypatch):
    """Make recipes for the provider's pictures, with `tmp_path/run` as output folder."""
    monkeypatch.syspath_prepend(PROVIDER)

    def make(*overrides):
        return load_recipe(SQUARES, [f"output={tmp_path / 'run'}", *overrides])

    return make


@pytest.fixture
def blocks(tmp_path, monkeypatch):
    """Make recipes for the provider's pictures with objects, with `tmp_path/run` as output folder."""
    monkeypatch.syspath_prepend(PROVIDER)

    def make(*overrides):
        return load_recipe(TESTS / "blocks.yaml", [f"output={tmp_path / 'run'}", *overrides])

    return make


@pytest.fixture
def evaluation_of():
    """Make an evaluation from the confusion matrices (N, K, K) of its pictures."""

    def make(classes, matrices, names="{}.png"):
        pictures = []
        for index, matrix in enumerate(np.asarray(matrices)):
            true, predicted = np.nonzero(matrix)
            cells = np.stack([true, predicted, matrix[true, predicted]], 1)
            pictures.append(PictureCounts(index=index, id=names.format(index), cells=cells))
        return Evaluation(classes=tuple(classes), pictures=tuple(pictures))

    return make


def _environment(**more):
    """Return what a run on a CPU needs, with `more` on top, and nothing that a launcher has set."""
    clean = {
        key: value
        for key, value in os.environ.items()
        if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
        and not key.startswith("ACCELERATE_")
    }
    return clean | {"PYTHONPATH": str(PROVIDER), "CUDA_VISIBLE_DEVICES": ""} | more


@pytest.fixture
def start(tmp_path):
    """Run a command in processes of its own, on a CPU, with `environment` on top of what no launcher has set."""

    def run(*words, **environment):
        return subprocess.run(
            [*map(str, words)],
            env=_environment(**environment),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return run


@pytest.fixture
def background(tmp_path):
    """Start a command as `start` does, and return its process while it runs; its group is its own."""
    processes = []

    def run(*words, **environment):
        process = subprocess.Popen(
            [*map(str, words)],
            env=_environment(**environment),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        processes.append(process)
        return process

    yield run
    for process in processes:  # what a failed test left
        if process.poll() is None:
            _kill(process.pid)
            process.communicate()


def _kill(pid):
    """Kill a process and all that it started: a launcher's processes are groups of their own."""
    for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        _kill(int(child))
    os.kill(pid, signal.SIGKILL)


@pytest.fixture
def command(start):
    """Run `ccnet_train` by `launcher`."""

    def run(*arguments, launcher=(sys.executable,), **environment):
        return start(*launcher, "-m", "ccnet_train", *arguments, **environment)

    return run


@pytest.fixture
def make_subject():
    """Say what an evaluation measured."""

    def make(**values):
        defaults = {
            "weights": "step 2",
            "digest": "0123456789abcdef",
            "model": "ccnet_tiny",
            "data": "squares",
            "options": {},
            "split": "val",
            "pictures": 8,
            "plan": InferencePlan(),
            "precision": "no",
            "classes": ("ground", "red", "green"),
            "palette": ((0, 0, 0), (250, 0, 0), (0, 250, 0)),
        }
        return Subject(**{**defaults, **values})

    return make


@pytest.fixture
def compared_run(tmp_path, squares, evaluation_of, make_subject):
    """Leave a folder as a run does, or with `run=False` as an evaluation does, and return it.

    The pictures are confused alike for the same `seed` and `wrong`, and have the same truth in any case.
    """

    def make(name, *overrides, seed=0, wrong=10, pictures=8, run=True, names="{}.png", **subject):
        rng = np.random.default_rng(seed)
        matrices = []
        for true in ([400, 200, 100],) * pictures:
            lost = rng.integers(0, wrong, 3)
            matrices.append(np.diag(np.array(true) - lost) + np.roll(np.diag(lost), 1, axis=1))
        classes = subject.setdefault("classes", ("ground", "red", "green"))
        folder = tmp_path / name
        evaluation = evaluation_of(classes, matrices, names)
        write_evaluation(
            folder / "best" if run else folder, make_subject(pictures=pictures, **subject), evaluation.pictures
        )
        if run:
            (folder / "recipe.yaml").write_text(to_yaml(squares(f"seed={seed}", f"output={folder}", *overrides)))
            records = [{"step": 1, "loss": 2.0, "lr": 0.1}, {"step": 2, "miou": evaluation.scores.miou}]
            (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
        return folder

    return make
