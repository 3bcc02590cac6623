"""Real frames through the whole house: parquet -> training -> weights folder -> picture."""

import json
import sys

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
import ccnet_data
from ccnet_train import fit, load_recipe

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch")
TWO_PROCESSES = (*LAUNCH, "--main_process_port", "0", "--multi_gpu", "--num_processes", "2", "--num_machines", "1")


@pytest.mark.timeout(900)
def test_recipe_learns_real_streets(camvid_mini, tmp_path):
    result = fit(load_recipe("camvid-mini", [f"data.root={camvid_mini}", f"output={tmp_path / 'run'}"]), quiet=True)
    assert result.best_miou >= 0.45
    model = ccnet.CCNet.from_pretrained(result.best_folder)
    assert model.config.classes[3] == "road"
    sample = ccnet_data.load("parquet", split="val", root=camvid_mini, classes=model.config.classes)[0]
    labels = ccnet.predict(model, sample["image"].transpose(1, 2, 0)).labels
    counted = sample["label"] != 255
    assert (labels == sample["label"])[counted].mean() >= 0.7
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left >= {"recipe.yaml", "metrics.jsonl", "checkpoints", "best", "last"}
    with Image.open(tmp_path / "run" / "preview.png") as preview:
        assert np.asarray(preview).std() > 10


def test_two_processes_train_it_on_a_cpu(run, camvid_mini, tmp_path):
    arguments = ("fit", "camvid-mini", f"data.root={camvid_mini}", "output=run", "train.iterations=4", "log.every=1")
    done = run("-m", "ccnet_train", *arguments, launcher=TWO_PROCESSES, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    assert "processes: 2, device: cpu" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [record["step"] for record in records if "loss" in record] == [1, 2, 3, 4]
    assert 0 <= records[-1]["miou"] <= 1


def test_one_process_where_two_were_asked_for_is_refused(run, camvid_mini):
    arguments = ("-m", "ccnet_train", "fit", "camvid-mini", f"data.root={camvid_mini}")
    done = run(*arguments, launcher=(*LAUNCH, "--cpu", "--num_processes", "2"))
    assert done.returncode != 0
    assert "only one was started" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["camvid-mini"], "root"),
        (["camvid-mini", "data.root=/nowhere"], "/nowhere"),
        (["camvid-mimi"], "'camvid-mini'"),
        (["beacon", "data.name=becon"], "'beacon'"),
        (["beacon", "train.iteration=3"], "'iterations'"),
        (["beacon", "model.name=ccnet_tny"], "'ccnet_tiny'"),
    ],
)
def test_mistake_is_one_line_and_exit_code_2(run, arguments, message):
    done = run("-m", "ccnet_train", "fit", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr
