import json
import sys

import pytest

from ccnet_train import TrainError
from ccnet_train.evaluate import evaluate_weights
from ccnet_train.launch import refuse_lost_processes
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


@pytest.mark.parametrize(
    ("environment", "processes"),
    [
        ({}, 1),
        ({"ACCELERATE_MIXED_PRECISION": "no"}, 1),
        ({"MASTER_ADDR": "10.0.0.1"}, 1),
        ({"WORLD_SIZE": "1", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"}, 1),
        ({"WORLD_SIZE": "4", "MASTER_ADDR": "127.0.0.1", "ACCELERATE_MIXED_PRECISION": "no"}, 4),
    ],
)
def test_a_launch_with_all_its_processes_is_accepted(environment, processes):
    refuse_lost_processes(environment, processes)


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"WORLD_SIZE": "2"}, "Launched as 2 processes .* accelerate sees 1.*--num_processes 2 "),
        ({"ACCELERATE_MIXED_PRECISION": "no", "MASTER_ADDR": "127.0.0.1"}, "several processes .* only one was started"),
    ],
)
def test_a_launch_that_lost_processes_is_refused_with_the_command_that_works(environment, message):
    with pytest.raises(TrainError, match=message) as raised:
        refuse_lost_processes(environment, 1)
    assert "ACCELERATE_USE_CPU=true accelerate launch --multi_gpu --num_processes" in str(raised.value)


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
    ranks = [list(map(int, (seen / f"rank{rank}.txt").read_text().split())) for rank in (0, 1)]
    assert len(ranks[0]) == len(ranks[1]) == SQUARES_STEPS * SQUARES_IMAGES // 2
    assert steps_of(*ranks) == steps_of(alone(recipe))
    # The weights of the main process, measured by one process: equal only if both processes measured these weights.
    scores, _ = evaluate_weights(recipe, tmp_path / "run" / "last")
    last = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last == {"step": 12, "miou": scores.miou, "macc": scores.macc, "aacc": scores.aacc}


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
