"""docs/transformers.md runs as it stands there, and transformers' Trainer trains, saves and resumes."""

import re
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.transformers import CCNetForSemanticSegmentation, CCNetImageProcessor

PAGE = Path(__file__).resolve().parents[1] / "docs" / "transformers.md"
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)


@pytest.fixture(autouse=True)
def _quiet(monkeypatch):
    transformers.utils.logging.disable_progress_bar()
    torch.manual_seed(0)


@pytest.mark.parametrize("code", BLOCKS, ids=range(len(BLOCKS)))
def test_python_of_the_page_runs(code, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    ccnet.CCNet.from_config("ccnet_tiny", num_classes=3).save_pretrained("path/to/weights-folder")
    config = transformers.SwinConfig(embed_dim=8, depths=[1, 1, 1, 1], num_heads=[1, 1, 2, 2], window_size=4)
    transformers.SwinForImageClassification(config).save_pretrained("path/to/swin")
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save("street.jpg")
    exec(compile(code, str(PAGE), "exec"), {"__name__": "__main__"})


class Halves(torch.utils.data.Dataset):
    """Pictures whose left half is of one class and the right half of another."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        labels = np.zeros((32, 40), np.uint8)
        labels[:, :20] = index % 3
        inputs = CCNetImageProcessor()(np.stack([labels * 80] * 3, axis=2), labels)
        return {"pixel_values": inputs["pixel_values"][0], "labels": inputs["labels"][0]}


def trainer(model, folder, steps, **options):
    arguments = transformers.TrainingArguments(
        str(folder),
        max_steps=steps,
        save_steps=1,
        per_device_train_batch_size=2,
        learning_rate=1e-2,
        lr_scheduler_type="constant",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        **options,
    )
    return transformers.Trainer(model=model, args=arguments, train_dataset=Halves(), eval_dataset=Halves())


def new_model():
    torch.manual_seed(0)
    return CCNetForSemanticSegmentation.from_network(ccnet.CCNet.from_config("ccnet_small", num_classes=3))


@pytest.mark.parametrize("checkpointing", [False, True])
def test_trainer_learns_and_its_checkpoints_are_weights_folders(tmp_path, checkpointing):
    model = new_model()
    training = trainer(model, tmp_path / "run", 4, activation_checkpointing=checkpointing)
    before = training.evaluate()["eval_loss"]
    training.train()
    assert training.evaluate()["eval_loss"] < before
    loaded = ccnet.CCNet.from_pretrained(tmp_path / "run" / "checkpoint-4")
    assert all(torch.equal(loaded.state_dict()[name], tensor) for name, tensor in model.state_dict().items())
    training.save_model()
    assert (tmp_path / "run" / "checkpoint-4").is_dir()
    assert ccnet.CCNet.from_pretrained(tmp_path / "run").config == loaded.config


def test_trainer_continues_where_it_stopped(tmp_path):
    whole, stopped, resumed = new_model(), new_model(), new_model()
    trainer(whole, tmp_path / "whole", 2).train()
    trainer(stopped, tmp_path / "run", 1).train()
    trainer(resumed, tmp_path / "run", 2).train(resume_from_checkpoint=True)
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(resumed.state_dict()[name], tensor, rtol=1e-5, atol=1e-6, msg=name)
