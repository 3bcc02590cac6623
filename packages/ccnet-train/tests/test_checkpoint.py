import subprocess
import sys

import pytest
import torch

from ccnet_train import TrainError, checkpoint

STATE = {"network": {"weight": torch.arange(3.0)}, "step": 4}


def save(folder, step, keep=2):
    with checkpoint.saving(folder, step, keep=keep) as incomplete:
        checkpoint.write_state(incomplete, STATE)


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_state_comes_back(tmp_path):
    save(tmp_path, 5)
    state = checkpoint.read_state(checkpoint.latest(tmp_path))
    assert torch.equal(state["network"]["weight"], STATE["network"]["weight"])
    assert state["step"] == 4


def test_only_the_newest_are_kept(tmp_path):
    for step in (5, 100, 20):
        save(tmp_path, step, keep=2)
    assert [found.step for found in checkpoint.checkpoints(tmp_path)] == [20, 100]
    assert checkpoint.latest(tmp_path).path.name == "step-000100"


def fail_to_save(folder, step, error):
    with checkpoint.saving(folder, step, keep=1) as incomplete:
        checkpoint.write_state(incomplete, STATE)
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError])
def test_a_checkpoint_that_was_not_finished_is_none(tmp_path, error):
    save(tmp_path, 5)
    with pytest.raises(error):
        fail_to_save(tmp_path, 10, error)
    assert [found.step for found in checkpoint.checkpoints(tmp_path)] == [5]
    checkpoint.remove_incomplete(tmp_path)
    assert names(tmp_path) == ["step-000005"]


def test_after_an_error_its_room_is_free_again(tmp_path):
    with pytest.raises(OSError, match="full"):
        fail_to_save(tmp_path, 10, OSError("full"))
    assert names(tmp_path) == []


def test_all_is_on_the_disk_before_it_becomes_visible(tmp_path, monkeypatch):
    order = []
    for name in ("sync_tree", "sync"):
        monkeypatch.setattr(checkpoint, name, lambda path, name=name: order.append((name, path.name, names(tmp_path))))
    with checkpoint.saving(tmp_path, 5, keep=1) as incomplete:
        checkpoint.write_state(incomplete, STATE)
    assert order == [("sync_tree", ".step-000005", [".step-000005"]), ("sync", tmp_path.name, ["step-000005"])]


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    for folder in (tmp_path, tmp_path / "missing"):
        assert checkpoint.latest(folder) is None
        assert checkpoint.latest_sound(folder) == (None, [])


def test_damaged_ones_are_named_and_the_newest_that_is_not_is_found(tmp_path):
    for step in (5, 10, 15):
        save(tmp_path, step, keep=3)
    (tmp_path / "step-000015" / "manifest.json").unlink()
    (tmp_path / "step-000010" / "state.pt").write_bytes(b"")
    found, faults = checkpoint.latest_sound(tmp_path)
    assert found.step == 5
    assert faults == [
        f"{tmp_path}/step-000015 is damaged (manifest.json is missing)",
        f"{tmp_path}/step-000010 is damaged (state.pt is not what was written)",
    ]
    (tmp_path / "step-000005" / "state.pt").unlink()
    with pytest.raises(TrainError, match=r"step-000015 .*step-000010 .*step-000005 .*state.pt is missing.*--fresh"):
        checkpoint.latest_sound(tmp_path)


def test_a_kill_while_an_old_one_is_removed_leaves_no_half_checkpoint(tmp_path, monkeypatch):
    save(tmp_path, 5)

    def killed(folder, ignore_errors=False):
        if not ignore_errors:
            raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.remove(tmp_path / "step-000005")
    assert checkpoint.latest(tmp_path) is None


def test_one_that_is_set_aside_is_out_of_use_until_the_next_start_removes_it(tmp_path):
    save(tmp_path, 5)
    aside = checkpoint.set_aside(tmp_path / "step-000005")
    assert checkpoint.latest(tmp_path) is None
    assert (aside / "state.pt").is_file()
    save(tmp_path, 5)
    assert names(tmp_path) == ["step-000005"]


def test_only_folders_named_by_a_step_are_checkpoints(tmp_path):
    for name in ("step-000003", "step-000004.bak", "step-", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000009").write_text("a file")
    assert [found.step for found in checkpoint.checkpoints(tmp_path)] == [3]


@pytest.mark.parametrize("content", [b"", b"PK", b"no archive", None])
def test_a_state_that_cannot_be_read_is_named_with_a_remedy(tmp_path, content):
    save(tmp_path, 5)
    file = tmp_path / "step-000005" / "state.pt"
    file.unlink() if content is None else file.write_bytes(content)
    with pytest.raises(TrainError, match=r"state.pt: cannot be read .*Remove .*step-000005 to use.*--fresh") as raised:
        checkpoint.read_state(checkpoint.latest(tmp_path))
    assert "\n" not in str(raised.value)


def test_a_state_that_would_run_code_is_not_loaded(tmp_path):
    with checkpoint.saving(tmp_path, 5, keep=1) as incomplete:
        checkpoint.write_state(incomplete, {"network": print})
    with pytest.raises(TrainError, match=r"state.pt: cannot be read"):
        checkpoint.read_state(checkpoint.latest(tmp_path))


SMALL_DISK = """
import subprocess, sys
from pathlib import Path
import torch
from ccnet_train import checkpoint

disk = Path(sys.argv[1])
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
for step, numbers in ((5, 1000), (10, 1000000)):
    try:
        with checkpoint.saving(disk, step, keep=1) as incomplete:
            checkpoint.write_state(incomplete, {"weight": torch.zeros(numbers)})
    except OSError as error:
        print(error.errno, sorted(path.name for path in disk.iterdir()))
print(len(checkpoint.read_state(checkpoint.latest_sound(disk)[0])["weight"]))
"""


def test_a_full_disk_is_an_error_of_the_system_and_leaves_the_older_checkpoint(tmp_path):
    apart = ["unshare", "--map-root-user", "--mount"]
    if subprocess.run([*apart, "mount", "-t", "tmpfs", "tmpfs", tmp_path], capture_output=True).returncode:
        pytest.skip("no small disk can be made here: unshare and mount do not work")
    done = subprocess.run(
        [*apart, sys.executable, "-W", "ignore", "-c", SMALL_DISK, str(tmp_path)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["28 ['step-000005']", "1000"]
