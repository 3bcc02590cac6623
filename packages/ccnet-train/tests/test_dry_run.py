import pytest

from ccnet_train import TrainError
from ccnet_train.dry_run import describe
from ccnet_train.loop import fit


def test_a_dry_run_describes_the_run_and_writes_nothing(squares, tmp_path):
    network, data, steps = describe(squares(), processes=2).splitlines()
    assert network.startswith("network  ccnet_tiny, ")
    assert network.endswith(" parameters, 3 classes")
    assert data == "data     squares, 12 pictures to train on, 5 to evaluate"
    assert steps == f"steps    12 of 4 pictures (2 x 2), 4.0 epochs, to {tmp_path / 'run'}"
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("override", ["data.root=missing", "loss.class_weights=[1]"])
def test_what_a_run_refuses_a_dry_run_refuses(squares, override):
    with pytest.raises(TrainError):
        describe(squares("augment=null", override))


def test_a_step_that_cannot_be_shared_is_refused(squares):
    with pytest.raises(TrainError, match="cannot be shared by 3 processes"):
        describe(squares(), processes=3)


def test_another_recipe_in_the_output_folder_is_refused(squares):
    fit(squares("train.iterations=1"), quiet=True)
    with pytest.raises(TrainError, match="holds a run of another recipe: seed was"):
        describe(squares("train.iterations=1", "seed=9"))
