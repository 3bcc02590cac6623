import subprocess
import sys

import pytest
import torch


@pytest.fixture
def checkpoint(tiny, mmseg_state, tmp_path):
    """A file of mmsegmentation without the names of its classes."""
    torch.save({"state_dict": mmseg_state(tiny)}, tmp_path / "checkpoint.pth")
    return tmp_path / "checkpoint.pth"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["predict", "{photo}", "--model", "nowhere"], "nowhere: there is no such folder"),
        (["predict", "missing.png", "--model", "{weights}"], "missing.png: there is no such file"),
        (["convert", "{photo}", "--model", "ccnet_tiny", "--out", "out"], "photo.png: is no checkpoint"),
        (["convert", "{photo}", "--model", "ccnet_tinny", "--out", "out"], "Did you mean 'ccnet_tiny'"),
        (
            ["convert", "{checkpoint}", "--model", "ccnet_tiny", "--out", "{photo}/out"],
            "photo.png/out: cannot be written",
        ),
        (["convert", "{checkpoint}", "--model", "ccnet_small", "--out", "out"], "Its backbone is that of ccnet_tiny."),
        (["predict", "{photo}", "--model", "{weights}", "--backend", "torhc"], "Did you mean 'torch'"),
        (["predict", "{photo}", "--model", "{weights}", "--device", "mps:7"], "no device 'mps:7' here, only cpu"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "1,1", "--device", "gpu"], "no device 'gpu' here"),
        (["predict", "{photo}", "--model", "{weights}", "--mode", "slide"], "mode 'slide' needs crop"),
        (["predict", "{photo}", "--model", "{weights}", "--crop", "8,8"], "crop and stride belong to mode='slide'"),
        (["predict", "{photo}", "--model", "{weights}", "--resize", "plan"], "resize='plan' needs base_scale"),
        (["attend", "{photo}", "--model", "{weights}", "--point", "99,0"], "99,0 is outside the picture of 51x37"),
        (
            ["predict", "{photo}", "--model", "{weights}", "--out", "{photo}/x"],
            "photo.png/x: cannot be written",
        ),
        (["attend", "{photo}", "--model", "{weights}", "--point", "1,1", "--out", "."], "this is a folder"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(run, weights, checkpoint, photo, arguments, message):
    done = run(*(argument.format(photo=photo, weights=weights, checkpoint=checkpoint) for argument in arguments))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["attend", "a.png", "--model", "m", "--point", "ten"],
            "expected two whole numbers with a comma between, got 'ten'",
        ),
        (["predikt"], "invalid choice"),
        (["predict", "a.png", "--model", "m", "--crop", "512"], "expected two whole numbers with a comma between"),
        (["predict", "a.png", "--model", "m", "--mode", "tile"], "invalid choice: 'tile'"),
        ([], "COMMAND"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(run, arguments, message):
    done = run(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_process_ends_with_the_code_and_without_a_traceback(photo):
    command = [sys.executable, "-m", "ccnet_core", "predict", str(photo), "--model", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: nowhere: there is no such folder")


def test_reader_that_stops_early_is_no_error():
    done = subprocess.run(
        f"{sys.executable} -m ccnet_core models | head -1", shell=True, capture_output=True, text=True
    )
    assert done.stderr == ""


def test_ctrl_c_is_exit_code_130(run, monkeypatch):
    def interrupted():
        raise KeyboardInterrupt

    monkeypatch.setattr("ccnet_core.commands.models.list_models", interrupted)
    done = run("models")
    assert (done.returncode, done.stderr) == (130, "\nstopped.\n")


def test_nothing_is_imported_that_most_commands_do_not_need():
    code = "import sys, ccnet_core.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert {"av", "huggingface_hub", "yaml", "PIL.ImageDraw", "PIL.ImageFont"} & set(done.stdout.split()) == set()
