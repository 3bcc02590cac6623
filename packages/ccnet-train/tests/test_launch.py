import json
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ccnet_train import TrainError, checkpoint
from ccnet_train.errors import ProcessError
from ccnet_train.evaluate_weights import evaluate_weights
from ccnet_train.launch import (
    agree,
    gather_texts,
    known_trackers,
    launched_processes,
    open_accelerator,
    own_errors,
    refuse_lost_processes,
)
from ccnet_train.positions import index_at
from ccnet_train.recipe import to_yaml

SQUARES_STEPS, SQUARES_IMAGES, SQUARES_LENGTH = 12, 4, 12


def accelerate_launch(*options):
    return (
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        "--mixed_precision",
        "no",
        "--dynamo_backend",
        "no",
        *options,
    )


TWO_BY_ACCELERATE = accelerate_launch(
    "--multi_gpu", "--num_processes", "2", "--num_machines", "1", "--main_process_port", "0"
)
TWO_BY_TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


COMPLETE = {"WORLD_SIZE": "2", "RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


@pytest.mark.parametrize(
    ("environment", "processes"),
    [
        ({}, 1),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, 1),
        ({"MASTER_ADDR": "10.0.0.1"}, 1),
        ({"WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"}, 1),
        ({**COMPLETE, "ACCELERATE_MIXED_PRECISION": "no"}, 2),
    ],
)
def test_a_launch_with_all_its_processes_is_accepted(environment, processes):
    refuse_lost_processes(environment, processes)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        (COMPLETE, "Launched as 2 processes .* accelerate sees 1.*--num_processes 2 "),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, "several processes .* only one was started"),
    ],
)
def test_a_launch_that_lost_processes_is_refused_with_the_command_that_works(environment, message):
    with pytest.raises(TrainError, match=message) as raised:
        refuse_lost_processes(environment, 1)
    assert "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes" in str(raised.value)


@pytest.mark.parametrize(("environment", "processes"), [({}, 1), ({"WORLD_SIZE": "1"}, 1), (COMPLETE, 2)])
def test_the_number_of_processes_launched_is_read(environment, processes):
    assert launched_processes(environment) == processes


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "abc"}, "WORLD_SIZE=abc is not a number of processes"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE=0 is not a number"),
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2, but RANK, MASTER_ADDR, MASTER_PORT is not set"),
        ({**COMPLETE, "RANK": "2"}, "RANK=2 is not a process of WORLD_SIZE=2"),
        ({**COMPLETE, "RANK": "x"}, "RANK=x is not a process"),
    ],
)
def test_a_launch_that_is_not_complete_is_refused_with_a_remedy(environment, message):
    with pytest.raises(TrainError, match=f"{message}.*accelerate launch or torchrun.*unset them"):
        launched_processes(environment)


@pytest.mark.parametrize(("words", "size"), [((), "2"), (("--dry-run",), "abc")])
def test_a_broken_launch_is_one_line_and_exit_code_2(squares, command, tmp_path, words, size):
    done = command("fit", write(squares(), tmp_path), *words, WORLD_SIZE=size)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: WORLD_SIZE={size}")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(("processes", "kind"), [(1, OSError), (2, ProcessError)])
def test_an_error_of_a_share_is_told_apart_only_among_several_processes(processes, kind):
    with pytest.raises(kind), own_errors(SimpleNamespace(num_processes=processes)):
        raise OSError("gone")


def test_an_error_of_one_of_two_processes_is_printed_by_it(squares, command, tmp_path):
    # Process 1 begins with position 2.
    broken = index_at(2, seed=squares().seed, samples=SQUARES_LENGTH)
    path = write(squares(f"data.train.broken={broken}", "data.workers=1"), tmp_path)
    done = command("fit", path, launcher=TWO_BY_TORCHRUN)
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if "not a readable picture" in line]
    assert "DataLoader" not in done.stderr
    assert told == [
        f"error (process 1): dataset 'squares', split 'train': {broken}.png: not a readable picture; "
        "fetch or export it again."
    ]


def test_accelerate_starting_one_process_instead_of_two_is_refused(squares, command, tmp_path):
    launcher = accelerate_launch("--cpu", "--num_processes", "2")
    done = command("fit", write(squares(), tmp_path), launcher=launcher)
    assert done.returncode != 0
    assert "error: Launched for several processes (MASTER_ADDR is set), but only one was started." in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("launcher", [TWO_BY_ACCELERATE, TWO_BY_TORCHRUN])
def test_two_processes_see_the_samples_of_one_and_share_the_evaluation(squares, command, tmp_path, launcher):
    seen = tmp_path / "seen"
    seen.mkdir()
    recipe = squares(f"data.train.seen={seen}")
    environment = {"ACCELERATE_USE_CPU": "true"} if launcher == TWO_BY_ACCELERATE else {}
    done = command("fit", write(recipe, tmp_path), launcher=launcher, **environment)
    assert done.returncode == 0, done.stderr
    assert "processes: 2, device: cpu" in done.stdout
    # The first picture of each is the check before the run.
    ranks = [list(map(int, (seen / f"rank{rank}.txt").read_text().split()))[1:] for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == SQUARES_STEPS * SQUARES_IMAGES // 2
    assert steps_of(*ranks) == steps_of(alone(recipe))
    # The weights of the main process, measured by one process: equal only if both processes measured these weights.
    scores = evaluate_weights(recipe, tmp_path / "run" / "last", out=tmp_path / "alone").scores
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last == {"step": 12, "miou": scores.miou, "macc": scores.macc, "aacc": scores.aacc}


def test_of_two_processes_the_other_one_prints_nothing(squares, command, tmp_path):
    recipe = squares("train.iterations=12", "data.train.replaced=7", "data.workers=1", "augment=null")
    launcher = (*TWO_BY_TORCHRUN, "--log-dir", tmp_path / "said", "--redirects", "3")
    done = command("fit", write(recipe, tmp_path), launcher=launcher)
    assert done.returncode == 0, done.stderr
    said = {"/".join(path.parts[-2:]): path.read_text() for path in (tmp_path / "said").rglob("std*.log")}
    assert (said["1/stdout.log"], said["1/stderr.log"]) == ("", "")
    for word in ("processes: 2", "damaged samples replaced", "mIoU", "best  ", "time  ", "next  "):
        assert word in said["0/stdout.log"]
    assert "train 12/12 (100%)" in said["0/stderr.log"]
    assert len(list((tmp_path / "run" / "tensorboard" / "squares").glob("events.*"))) == 1


def test_the_number_of_processes_may_change_where_a_run_goes_on(squares, command, tmp_path):
    """One process, killed in step 6; two, killed in step 9; one again."""
    overrides = ("train.freeze_batch_norm=true", "optimiser={name: sgd, lr: 0.1}", "checkpoint.every=2")
    path = write(squares(*overrides), tmp_path)
    command("fit", path, FAKE_DIE_AT="23")
    two = command("fit", path, launcher=TWO_BY_TORCHRUN, FAKE_DIE_AT="10")
    assert "steps 5 to 12, processes: 2" in two.stdout
    one = command("fit", path)
    assert "steps 9 to 12, processes: 1" in one.stdout, one.stderr
    whole = write(squares(*overrides, f"output={tmp_path / 'whole'}"), tmp_path)
    assert command("fit", whole).returncode == 0
    assert losses(tmp_path / "run") == pytest.approx(losses(tmp_path / "whole"), rel=1e-5)


def losses(run):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line["loss"] for line in lines if "loss" in line]


POISONED = str(Path(__file__).parent / "distributed_poisoned.py")


def test_a_loss_that_one_of_two_processes_meets_stops_both_and_its_samples_are_named(squares, start, tmp_path):
    recipe = squares("checkpoint.every=1")
    done = start(*TWO_BY_TORCHRUN, POISONED, "fit", write(recipe, tmp_path))
    names = ", ".join(f"train-{index_at(p, seed=recipe.seed, samples=SQUARES_LENGTH)}" for p in (10, 11))
    told = [line for line in done.stderr.splitlines() if line.startswith("error")]
    assert len(told) == 1
    assert f"error: step 3: the loss is nan, with the samples {names}. Nothing of this step was saved." in told[0]
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").step == 2


def test_a_step_is_left_out_by_both_processes_or_by_none(squares, start, tmp_path):
    done = start(*TWO_BY_TORCHRUN, POISONED, "fit", write(squares("train.nonfinite=skip"), tmp_path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("weights differ: False") == 2
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "skipped" in line] == [3]


def test_a_launch_that_would_divide_the_loss_is_refused(squares, command, tmp_path):
    done = command("fit", write(squares(), tmp_path), ACCELERATE_GRADIENT_ACCUMULATION_STEPS="2")
    assert done.returncode == 2
    assert done.stderr == (
        "error: The launch asks for gradient accumulation. Leave that to train.accumulation of the recipe.\n"
    )


def test_the_trackers_are_those_of_accelerate_and_tensorboard_is_installed():
    known = known_trackers()
    assert known["tensorboard"] is True
    assert known.keys() >= {"wandb", "mlflow", "aim", "comet_ml", "dvclive"}
    assert "all" not in known


def test_one_process_agrees_with_itself():
    with open_accelerator() as accelerator:
        assert agree(torch.tensor([1.5, 2.0]), accelerator)() == [1.5, 2.0]
        assert gather_texts(["a", "b"], accelerator) == ["a", "b"]


def alone(recipe):
    positions = range(SQUARES_STEPS * SQUARES_IMAGES)
    return [index_at(position, seed=recipe.seed, samples=SQUARES_LENGTH) for position in positions]


def steps_of(*ranks):
    share = SQUARES_IMAGES // len(ranks)
    steps = [slice(step * share, (step + 1) * share) for step in range(SQUARES_STEPS)]
    return [[index for rank in ranks for index in rank[step]] for step in steps]


def write(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe))
    return path
