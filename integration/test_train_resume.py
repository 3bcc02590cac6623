"""The whole way with two processes: fit, kill, the same command again, and a picture through the weights."""

import json
import signal
import sys

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
import ccnet_data

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0")
TWO_PROCESSES = (*LAUNCH, "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
FIT = ("-m", "ccnet_train", "fit", "beacon", "train.iterations=60", "train.images_per_step=4")
EVERY = ("evaluate.every=20", "checkpoint.every=5", "log.every=1", "data.val.length=6")


def lines(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


@pytest.mark.timeout(600)
def test_a_run_of_two_processes_is_killed_continued_and_predicts(run, launch, kill, wait_for, tmp_path):
    launcher = launch(*TWO_PROCESSES, *FIT, *EVERY, "output=killed", ACCELERATE_USE_CPU="true")
    wait_for(tmp_path / "killed" / "checkpoints" / "step-000025")
    ranks = [variables["RANK"] for process, variables in kill().items() if process != launcher.pid]
    assert launcher.wait() == -signal.SIGKILL
    assert sorted(ranks) == ["0", "1"]
    assert json.loads(lines(tmp_path / "killed")[-1])["step"] < 60

    for folder in ("killed", "whole"):
        done = run(*FIT, *EVERY, f"output={folder}", launcher=TWO_PROCESSES, ACCELERATE_USE_CPU="true")
        assert done.returncode == 0, done.stderr
        assert "processes: 2, device: cpu" in done.stdout
        assert ("steps 1 to 60" in done.stdout) == (folder == "whole")
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole")
    weights = [tmp_path / folder / "best" / "model.safetensors" for folder in ("killed", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()

    sample = ccnet_data.load("beacon", split="val", length=1, size=64)[0]
    Image.fromarray(sample["image"].transpose(1, 2, 0)).save(tmp_path / "picture.png")
    done = run("-m", "ccnet_core", "predict", "picture.png", "--model", "killed/best", "--out", "out")
    assert done.returncode == 0, done.stderr
    with Image.open(tmp_path / "out" / "picture_labels.png") as labels:
        predicted = np.asarray(labels)
    model = ccnet.CCNet.from_pretrained(tmp_path / "killed" / "best")
    np.testing.assert_array_equal(predicted, ccnet.predict(model, tmp_path / "picture.png").labels)
