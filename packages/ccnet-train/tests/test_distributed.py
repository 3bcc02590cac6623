"""One, two and three processes do the same; `distributed_step.py` says what they do."""

import sys
from pathlib import Path

import pytest
import torch

from ccnet_train.recipe import to_yaml

SCRIPT = Path(__file__).parent / "distributed_step.py"
STEPS, IMAGES = 2, 6
ACCELERATE = (
    *(sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_machines", "1"),
    *("--main_process_port", "0", "--mixed_precision", "no", "--dynamo_backend", "no", "--num_processes"),
)
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node")
LAUNCHERS = {1: (sys.executable,), 2: (*ACCELERATE, "2"), 3: (*TORCHRUN, "3")}
ACCUMULATION = {1: 3, 2: 3, 3: 2}


@pytest.fixture
def observe(start, tmp_path):
    """Run the script in `processes` processes and return what each of them saw."""

    def run(processes):
        folder = tmp_path / str(processes)
        folder.mkdir()
        variables = {"ACCELERATE_USE_CPU": "true"} if processes == 2 else {}
        done = start(*LAUNCHERS[processes], SCRIPT, folder, ACCUMULATION[processes], **variables)
        assert done.returncode == 0, done.stderr
        assert len(list(folder.glob("rank*.pt"))) == processes
        return [torch.load(folder / f"rank{rank}.pt") for rank in range(processes)]

    return run


def test_steps_and_evaluations_do_not_depend_on_the_number_of_processes(observe):
    (alone,) = observe(1)
    for name, expected in alone.items():
        assert torch.isfinite(torch.tensor(expected["losses"])).all()
        assert all(gradient.any() for gradient in expected["gradients"][-1].values()), name
    compare_steps(alone["counted, accumulated"], alone["counted"])
    compare_steps(alone["consistent, accumulated"], alone["consistent"])
    compare_steps(alone["edges, accumulated"], alone["edges"])
    for processes in (2, 3):
        ranks = observe(processes)
        for name, expected in alone.items():
            for rank in ranks:
                compare_steps(rank[name], expected)
                assert torch.equal(*(torch.stack(each["matrices"]) for each in (rank[name], expected)))
            assert positions(*(rank[name] for rank in ranks)) == positions(expected)


def compare_steps(seen, expected):
    assert seen["losses"] == pytest.approx(expected["losses"], rel=1e-6)
    assert len(seen["gradients"]) == len(expected["gradients"]) == STEPS
    for one, other in zip(seen["gradients"], expected["gradients"], strict=True):
        assert one.keys() == other.keys()
        for name, gradient in other.items():
            # A key's bias has no gradient but rounding: it shifts all energies of a pixel alike.
            difference = (one[name] - gradient).abs().max() / gradient.abs().max().clamp(min=1e-9)
            assert difference < 1e-6, f"{name}: {difference}"


def positions(*ranks):
    """Return the positions of each step, in the order of the ranks. The first one read is the check before the run."""
    share = IMAGES // len(ranks)
    read = [rank["positions"][1:] for rank in ranks]
    assert all(len(each) == STEPS * share for each in read)
    return [[place for each in read for place in each[step * share : (step + 1) * share]] for step in range(STEPS)]


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_fifty_runs_of_two_processes_end_without_an_abort(squares, command, tmp_path):
    """gloo's threads abort a process that exits before them: "terminate called without an active exception"."""
    for number in range(50):
        path = tmp_path / f"{number}.yaml"
        path.write_text(to_yaml(squares(f"output={tmp_path / str(number)}", "train.iterations=1")))
        done = command("fit", path, launcher=LAUNCHERS[2], ACCELERATE_USE_CPU="true")
        assert (done.returncode, "terminate called" in done.stderr) == (0, False), f"run {number}: {done.stderr}"
