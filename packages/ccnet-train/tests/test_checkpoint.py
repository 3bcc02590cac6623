import pytest
import torch

from ccnet_train import TrainError, checkpoint
from ccnet_train.launch import open_accelerator


@pytest.fixture
def prepared():
    """An accelerator that holds one small network."""
    with open_accelerator() as accelerator:
        model = torch.nn.Linear(2, 2)
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        yield accelerator, *accelerator.prepare(model, optimiser)
        accelerator.free_memory()


def save(accelerator, folder, step, keep=2):
    with checkpoint.saving(accelerator, folder, step, keep=keep):
        pass


def train_once(model, optimiser):
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_loading_gives_back_weights_and_optimiser_state(prepared, tmp_path):
    accelerator, model, optimiser = prepared
    train_once(model, optimiser)
    save(accelerator, tmp_path, 1)
    expected = train_once(model, optimiser)
    train_once(model, optimiser)
    checkpoint.load(accelerator, tmp_path, 1)
    for name, tensor in train_once(model, optimiser).items():
        assert torch.equal(tensor, expected[name]), name


def test_only_the_newest_are_kept(prepared, tmp_path):
    for step in (5, 100, 20):
        save(prepared[0], tmp_path, step, keep=2)
    assert [found.step for found in checkpoint.checkpoints(tmp_path)] == [20, 100]
    assert checkpoint.latest(tmp_path).path.name == "step-000100"


def test_an_incomplete_checkpoint_is_ignored_and_removed(prepared, tmp_path, monkeypatch):
    save(prepared[0], tmp_path, 5)

    def killed(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepared[0], "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        save(prepared[0], tmp_path, 10)
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoint.latest(tmp_path).step == 5
    checkpoint.remove_incomplete(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "missing") is None


def test_what_belongs_to_the_state_appears_together_with_it(prepared, tmp_path):
    with checkpoint.saving(prepared[0], tmp_path, 5, keep=2) as incomplete:
        (incomplete / "best").mkdir()
        assert checkpoint.latest(tmp_path) is None
    assert (checkpoint.latest(tmp_path).path / "best").is_dir()


def test_a_kill_while_an_old_one_is_removed_leaves_no_half_checkpoint(prepared, tmp_path, monkeypatch):
    save(prepared[0], tmp_path, 5)

    def killed(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(checkpoint.shutil, "rmtree", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.remove(tmp_path / "step-000005")
    assert checkpoint.latest(tmp_path) is None


def test_only_folders_named_by_a_step_are_checkpoints(tmp_path):
    for name in ("step-000003", "step-000004.bak", "step-", "other"):
        (tmp_path / name).mkdir()
    (tmp_path / "step-000009").write_text("a file")
    assert [found.step for found in checkpoint.checkpoints(tmp_path)] == [3]


@pytest.mark.parametrize("damaged", ["model.safetensors", "optimizer.bin", None])
def test_a_damaged_checkpoint_is_named_with_a_remedy(prepared, tmp_path, damaged):
    save(prepared[0], tmp_path, 5)
    for file in (tmp_path / "step-000005").iterdir():
        if damaged is None:
            file.unlink()
        elif file.name == damaged:
            file.write_bytes(file.read_bytes()[:20])
    with pytest.raises(
        TrainError, match=r"step-000005: cannot be loaded .*Remove it to use the one before.*--fresh"
    ) as raised:
        checkpoint.load(prepared[0], tmp_path, 5)
    assert "\n" not in str(raised.value)
