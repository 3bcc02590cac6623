from types import SimpleNamespace

import numpy as np
import pytest

import ccnet_core as ccnet
from ccnet_core.outputs import Outputs
from ccnet_core.picture_files import Named
from ccnet_core.zoo import load_config
from ccnet_train import TrainError, prediction
from ccnet_train.launch import open_accelerator
from ccnet_train.prediction import predict_files_shared, predict_split_shared


@pytest.fixture
def outputs(tmp_path):
    return Outputs(folder=tmp_path / "out", kinds=("json",), config=load_config("ccnet_tiny"))


def test_processes_that_find_other_pictures_are_refused(outputs, monkeypatch):
    monkeypatch.setattr(prediction, "gather_texts", lambda texts, accelerator: [*texts, "3 other"])
    accelerator = SimpleNamespace(process_index=0, num_processes=2)
    with pytest.raises(TrainError, match=r"do not find the same pictures.*a folder that all machines see"):
        predict_files_shared(None, [Named("a.png", "a")], outputs, accelerator)


class Split:
    """A split of one picture."""

    def __init__(self, id):
        self.id = id

    def __len__(self):
        return 1

    def __getitem__(self, index):
        return {"image": np.zeros((3, 8, 8), np.uint8), "id": self.id}


@pytest.fixture
def predict(outputs):
    def run(id):
        with open_accelerator() as accelerator:
            return predict_split_shared(ccnet.CCNet.from_config("ccnet_tiny"), Split(id), outputs, accelerator)

    return run


@pytest.mark.parametrize(("id", "name"), [("sub/a.PNG", "sub/a"), ("a", "a"), ("0.5", "0.5")])
def test_results_are_called_by_the_id_without_the_suffix_of_a_picture(predict, tmp_path, id, name):
    assert predict(id).written == 1
    assert (tmp_path / "out" / f"{name}_areas.json").is_file()


@pytest.mark.parametrize("id", ["../a", "/a", "a/../../b", ""])
def test_an_id_that_leads_out_of_the_folder_is_a_failure(predict, id):
    outcome = predict(id)
    assert (outcome.written, len(outcome.failures)) == (0, 1)
    assert "cannot be written. Rename it." in outcome.failures[0]
