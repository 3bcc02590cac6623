import errno
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ccnet_train import TrainError, checkpoint, fit
from ccnet_train.errors import ProcessError
from ccnet_train.faults import in_plain_words
from ccnet_train.positions import index_at
from ccnet_train.recipe import to_yaml

PROVIDER = Path(__file__).parent / "provider"
LOST = "[../gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:1"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nGPU 0 has"), "model.activation_check"),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), "larger train.accumulation"),
        (MemoryError(), "Out of memory"),
        (OSError(errno.ENOSPC, "No space left on device", "x/metrics.jsonl"), "output=runs/a: the disk is full"),
        (RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed. "), "lower data.workers"),
    ],
)
def test_what_the_system_does_to_one_process_says_what_to_do(error, message):
    for processes, kind in ((1, TrainError), (2, ProcessError)):
        with pytest.raises(kind, match=message) as raised, in_plain_words(Path("runs/a"), processes):
            raise error
        assert "\n" not in str(raised.value)


@pytest.mark.parametrize("error", [RuntimeError(LOST), torch.distributed.DistBackendError("NCCL error")])
def test_a_lost_process_is_told_where_there_are_several(error):
    message = "connection to another process was lost"
    with pytest.raises(TrainError, match=message) as raised, in_plain_words(Path("run"), 2):
        raise error
    assert not isinstance(raised.value, ProcessError)
    with pytest.raises(RuntimeError) as raised, in_plain_words(Path("run"), 1):
        raise error
    assert raised.value is error


@pytest.mark.parametrize("error", [RuntimeError("size mismatch"), OSError(errno.EACCES, "Permission denied")])
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as raised, in_plain_words(Path("run"), 2):
        raise error
    assert raised.value is error


def write(recipe, tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text(to_yaml(recipe))
    return path


def test_memory_that_is_out_in_a_step_is_one_line_and_leaves_what_was_saved(squares, tmp_path, monkeypatch):
    from ccnet_train import step

    backward, calls = step._backward, []

    def full(*arguments):
        calls.append(arguments)
        if len(calls) == 4:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return backward(*arguments)

    monkeypatch.setattr(step, "_backward", full)
    with pytest.raises(TrainError, match=r"Out of memory .*activation_checkpointing.*continues from the newest"):
        fit(squares("checkpoint.every=2"), quiet=True)
    assert checkpoint.latest(tmp_path / "run" / "checkpoints").step == 2


def test_a_loading_process_that_dies_is_one_line(squares, command, tmp_path):
    done = command("fit", write(squares("data.workers=1", "checkpoint.every=2"), tmp_path), FAKE_DIE_AT="25")
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("error: A process that loads pictures died (DataLoader worker (pid ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("failure", ["a sample", "a kill"])
def test_when_one_of_two_processes_fails_the_other_ends_within_seconds(squares, background, tmp_path, failure):
    broken = index_at(4 * 5 + 2, seed=squares().seed, samples=12)  # in step 6 the first picture of process 1
    overrides = ["augment=null", "train.iterations=1000", "checkpoint.every=2", "evaluate.every=1000"]
    if failure == "a sample":
        overrides.append(f"data.train.broken={broken}")
    recipe = squares(*overrides)
    words = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")
    process = background(*words, "-m", "ccnet_train", "fit", write(recipe, tmp_path))
    if failure == "a kill":
        metrics = tmp_path / "run" / "metrics.jsonl"
        while process.poll() is None and not (metrics.exists() and metrics.stat().st_size > 300):
            time.sleep(0.02)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        os.kill(max(map(int, children)), signal.SIGKILL)
        killed = time.monotonic()
    _, err = process.communicate(timeout=100)
    assert process.returncode == 1  # the launcher's own
    assert "ccnet_train/" not in err  # no traceback of ours
    assert "gloo" not in err
    told = [line for line in err.splitlines() if line.startswith("error")]
    assert "error: The connection to another process was lost. What that one said tells why; the same" in told[-1]
    if failure == "a sample":
        assert f"error (process 1): dataset 'squares', split 'train': {broken}.png: not a readable picture" in told[0]
    else:
        assert time.monotonic() - killed < 20
        assert checkpoint.latest(tmp_path / "run" / "checkpoints").step >= 2


SMALL_DISK = """
import os, subprocess, sys
from pathlib import Path
from ccnet_train.cli import main

disk, recipe = Path(sys.argv[1]), sys.argv[2]
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", disk], check=True)
words = ["fit", recipe, f"output={disk / 'run'}"]
print("code", main([*words, "train.iterations=4"]))
for room in (0, 20_000, 100_000):
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_bsize
    (disk / "filler").write_bytes(bytes(free - room))
    print("code", main([*words, "--allow-change"]))
    (disk / "filler").unlink()
print("code", main([*words, "--allow-change"]))
"""


def test_a_full_disk_stops_the_run_in_one_line_and_with_room_it_continues(squares, tmp_path):
    apart = ["unshare", "--map-root-user", "--mount"]
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", disk], capture_output=True).returncode:
        pytest.skip("no small disk can be made here: unshare and mount do not work")
    done = subprocess.run(
        [*apart, sys.executable, "-W", "ignore", "-c", SMALL_DISK, disk, write(squares(), tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(PROVIDER), "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    codes = [line.split()[1] for line in done.stdout.splitlines() if line.startswith("code")]
    assert codes == ["0", "2", "2", "2", "0"]
    assert "Traceback" not in done.stderr
    told = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert len(told) == 3
    for line in told:
        assert re.search(r"(cannot be written|disk is full) .*No space left on device.*(Give another|Make room)", line)
