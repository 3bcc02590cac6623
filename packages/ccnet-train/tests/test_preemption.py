import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from ccnet_train import checkpoint
from ccnet_train.preemption import chosen, listening
from ccnet_train.recipe import to_yaml


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_in_the_block_is_a_request(number, capfd):
    before = signal.getsignal(number)
    with listening(show=True) as request:
        os.kill(os.getpid(), number)
        assert chosen(request.counts) == number
    assert signal.getsignal(number) == before
    assert capfd.readouterr().err.strip() == "stopping after this step; Ctrl-C leaves at once"


def test_without_a_signal_nobody_asks_to_stop():
    with listening(show=False) as request:
        assert chosen(request.counts) is None


def test_the_second_ctrl_c_leaves_at_once(capfd):
    with listening(show=False):
        for number in (signal.SIGINT, signal.SIGTERM):
            os.kill(os.getpid(), number)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("counts", "number"), [([0, 0], None), ([0.0, 2.0], signal.SIGINT), ([1.0, 3.0], signal.SIGTERM)]
)
def test_any_process_may_ask_and_sigterm_comes_first(counts, number):
    assert chosen(counts) == number


def test_outside_of_the_main_thread_signals_are_left_alone():
    before, seen = signal.getsignal(signal.SIGTERM), []

    def enter():
        with listening(show=False) as request:
            seen.append((signal.getsignal(signal.SIGTERM), chosen(request.counts)))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [(before, None)]


LONG = ("train.iterations=100000", "evaluate.every=100000", "checkpoint.every=100000", "log.every=1")
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture
def path(squares, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(squares(*LONG, "data.workers=1")))
    return path


def wait_for_steps(process, run):
    """Wait until the process has logged a step: then it listens."""
    before = size(run)
    while process.poll() is None and size(run) <= before:
        time.sleep(0.02)
    assert process.poll() is None, process.communicate()


def size(run):
    return (run / "metrics.jsonl").stat().st_size if (run / "metrics.jsonl").exists() else 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_run_that_is_asked_to_stop_saves_and_the_same_command_continues(background, path, tmp_path, number, code):
    """The signal goes to the whole group, as that of a terminal does: also to the process that loads pictures."""
    run = tmp_path / "run"
    for _ in range(2):
        process = background(sys.executable, "-m", "ccnet_train", "fit", path)
        found = checkpoint.latest(run / "checkpoints")
        wait_for_steps(process, run)
        os.killpg(process.pid, number)
        out, err = process.communicate()
        assert process.returncode == code, err
        saved = checkpoint.latest(run / "checkpoints")
        assert f"stopped. The same command continues from step {saved.step}." in err
        assert "Traceback" not in err
        assert f"steps {found.step + 1 if found else 1} to 100000" in out
        assert saved.step > (found.step if found else 0)


def test_two_processes_agree_where_one_of_them_is_asked_to_stop(background, path, tmp_path):
    process = background(*TORCHRUN, "-m", "ccnet_train", "fit", path)
    wait_for_steps(process, tmp_path / "run")
    children = ranks_of(process)
    os.kill(children[1], signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 1  # the launcher's own
    saved = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert f"stopped. The same command continues from step {saved.step}." in err
    assert "exitcode  : 143" in err
    assert "ccnet_train/" not in err  # no traceback of ours


def test_a_launcher_that_is_asked_to_stop_lets_its_processes_save(background, path, tmp_path):
    process = background(*TORCHRUN, "-m", "ccnet_train", "fit", path)
    wait_for_steps(process, tmp_path / "run")
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert process.returncode == 1
    saved = checkpoint.latest(tmp_path / "run" / "checkpoints")
    assert f"stopped. The same command continues from step {saved.step}." in err


def ranks_of(launcher):
    """Return the processes that `launcher` started, in the order of their ranks."""
    text = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text()
    return sorted(map(int, text.split()))
