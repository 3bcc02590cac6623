import pytest
import torch

from ccnet_train import checkpoint
from ccnet_train.launch import open_accelerator


@pytest.fixture
def prepared():
    """An accelerator that holds one small network."""
    with open_accelerator() as accelerator:
        model = torch.nn.Linear(2, 2)
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        yield accelerator, *accelerator.prepare(model, optimiser)
        accelerator.free_memory()


def train_once(model, optimiser):
    model(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    optimiser.zero_grad()
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def test_loading_gives_back_weights_and_optimiser_state(prepared, tmp_path):
    accelerator, model, optimiser = prepared
    train_once(model, optimiser)
    checkpoint.save(accelerator, tmp_path, 1, keep=1)
    expected = train_once(model, optimiser)
    train_once(model, optimiser)
    accelerator.load_state(str(checkpoint.path_of(tmp_path, 1)))
    for name, tensor in train_once(model, optimiser).items():
        assert torch.equal(tensor, expected[name]), name


def test_only_the_newest_are_kept(prepared, tmp_path):
    for step in (5, 100, 20):
        checkpoint.save(prepared[0], tmp_path, step, keep=2)
    assert [found.step for found in checkpoint.checkpoints(tmp_path)] == [20, 100]
    assert checkpoint.latest(tmp_path).path.name == "step-000100"


def test_an_unfinished_checkpoint_is_ignored_and_removed(prepared, tmp_path, monkeypatch):
    checkpoint.save(prepared[0], tmp_path, 5, keep=2)

    def killed(folder):
        raise KeyboardInterrupt

    monkeypatch.setattr(prepared[0], "save_state", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoint.save(prepared[0], tmp_path, 10, keep=2)
    assert len(list(tmp_path.iterdir())) == 2
    assert checkpoint.latest(tmp_path).step == 5
    checkpoint.remove_unfinished(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000005"]


def test_a_folder_without_checkpoints_has_no_latest(tmp_path):
    assert checkpoint.latest(tmp_path) is None
    assert checkpoint.latest(tmp_path / "missing") is None
