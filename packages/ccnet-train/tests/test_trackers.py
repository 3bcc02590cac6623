import io
import json

import numpy as np
import pytest
from accelerate.tracking import LOGGER_TYPE_TO_CLASS, GeneralTracker
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from ccnet_train import TrainError, fit
from ccnet_train.dry_run import describe
from ccnet_train.launch import open_accelerator
from ccnet_train.trackers import check_trackers, log_picture, scalars, start_trackers


class Remembering(GeneralTracker):
    """A tracker of somebody else: what it was given, and whether it is finished."""

    name = "remembering"
    requires_logging_directory = False
    made = ()

    def __init__(self, project):
        super().__init__()
        self.project, self.config, self.logged, self.finished = project, None, [], 0
        Remembering.made = (*Remembering.made, self)

    tracker = property(lambda self: self)

    def store_init_configuration(self, values):
        self.config = values

    def log(self, values, step=None, **kwargs):
        self.logged.append((step, values))

    def finish(self):
        self.finished += 1


class Refusing(Remembering):
    name = "refusing"

    def start(self):
        raise RuntimeError("no API key\nconfigured")

    def finish(self):
        raise AttributeError("run")


@pytest.fixture(autouse=True)
def others(monkeypatch):
    monkeypatch.setattr(Remembering, "made", ())
    for tracker in (Remembering, Refusing):
        monkeypatch.setitem(LOGGER_TYPE_TO_CLASS, tracker.name, tracker)


@pytest.fixture
def accepted(monkeypatch):
    """Let Accelerator take the trackers of these tests, as one that is registered would be."""
    monkeypatch.setattr("accelerate.accelerator.filter_trackers", lambda names, folder: list(names or ()))


def events(folder):
    found = EventAccumulator(str(folder), size_guidance={"images": 0, "scalars": 0})
    return found.Reload()


def test_tensorboard_has_the_curves_the_pictures_and_the_recipe(squares, tmp_path):
    fit(squares("train.iterations=4", "evaluate.every=2", "log.every=2", "name=my squares/1"), quiet=True)
    folder = tmp_path / "run" / "tensorboard" / "my-squares-1"
    found = events(folder)
    expected = {f"train/{name}" for name in ("loss", "lr", "images_per_second", "data_share", "memory_gib")}
    assert set(found.Tags()["scalars"]) == expected | {"val/miou", "val/macc", "val/aacc"}
    assert [event.step for event in found.Scalars("train/images_per_second")] == [2, 4]
    lines = map(json.loads, (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
    logged = [line["loss"] for line in lines if "loss" in line]
    assert [event.value for event in found.Scalars("train/loss")] == pytest.approx(logged, rel=1e-6)
    assert [event.step for event in found.Images("val/preview")] == [2, 4]
    (stored,) = folder.glob("*/hparams.yml")
    assert "optimiser.lr: 0.001\n" in stored.read_text()


def test_the_picture_in_tensorboard_is_the_preview(squares, tmp_path):
    fit(squares("train.iterations=2", "evaluate.every=2"), quiet=True)
    (event,) = events(tmp_path / "run" / "tensorboard" / "squares").Images("val/preview")
    shown, preview = Image.open(io.BytesIO(event.encoded_image_string)), Image.open(tmp_path / "run" / "preview.png")
    np.testing.assert_array_equal(np.asarray(shown), np.asarray(preview))


def test_a_resumed_run_has_each_step_once(squares, tmp_path):
    fit(squares("train.iterations=2", "evaluate.every=2"), quiet=True)
    fit(squares("train.iterations=4", "evaluate.every=2"), quiet=True, allow_change=True)
    found = events(tmp_path / "run" / "tensorboard" / "squares")
    assert [event.step for event in found.Scalars("train/loss")] == [1, 2, 3, 4]


def test_without_a_tracker_nothing_is_left_but_the_rest(squares, tmp_path):
    fit(squares("train.iterations=1", "log.trackers=[]"), quiet=True)
    assert not (tmp_path / "run" / "tensorboard").exists()
    assert (tmp_path / "run" / "metrics.jsonl").is_file()


@pytest.mark.parametrize("trackers", ["[remembering]", "[tensorboard, remembering]"])
def test_another_tracker_gets_everything_and_is_finished(squares, accepted, trackers):
    fit(squares("train.iterations=2", f"log.trackers={trackers}"), quiet=True)
    (tracker,) = Remembering.made
    assert (tracker.project, tracker.finished) == ("squares", 1)
    assert tracker.config["train.iterations"] == 2
    assert {step for step, _ in tracker.logged} == {1, 2}
    assert {"train/loss", "train/memory_gib", "val/miou"} <= {key for _, values in tracker.logged for key in values}


def test_a_run_that_fails_finishes_its_trackers(squares, accepted):
    recipe = squares("train.iterations=2", "log.trackers=[remembering]", "data.val.broken=3")
    with pytest.raises(TrainError, match=r"3\.png"):
        fit(recipe, quiet=True)
    assert [tracker.finished for tracker in Remembering.made] == [1]


def test_all_are_finished_also_where_one_fails_at_it(accepted, monkeypatch):
    def fail(self):
        raise OSError("no network")

    monkeypatch.setattr(Refusing, "start", lambda self: None)
    monkeypatch.setattr(Refusing, "finish", fail)

    def interrupted():
        with open_accelerator(trackers=["refusing", "remembering"]) as accelerator:
            accelerator.init_trackers("project")
            raise KeyboardInterrupt

    with pytest.raises(OSError, match="no network"):
        interrupted()
    assert Remembering.made[1].finished == 1


def test_one_that_does_not_start_is_an_error_that_says_so(squares, accepted):
    with pytest.raises(TrainError, match=r"one did not start \(no API key configured\)\. Set it up .* or leave it out"):
        fit(squares("log.trackers=[remembering, refusing]"), quiet=True)
    assert [tracker.finished for tracker in Remembering.made if type(tracker) is Remembering] == [1]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("tensorbord", r"knows no tracker 'tensorbord'\. Did you mean 'tensorboard'\?"),
        ("all", r"knows no tracker 'all'"),
        ("wandb", r"wandb is not installed\. Run: python -m pip install wandb"),
        ("comet_ml", r"comet_ml is not installed\. Run: python -m pip install comet-ml"),
    ],
)
def test_a_tracker_that_cannot_be_is_refused_before_anything_is_written(squares, tmp_path, name, message):
    recipe = squares(f"log.trackers=[tensorboard, {name}]")
    for start in (lambda: fit(recipe, quiet=True), lambda: describe(recipe)):
        with pytest.raises(TrainError, match=f"log.trackers: .*{message}"):
            start()
    assert not (tmp_path / "run").exists()


def test_every_known_tracker_is_either_fine_or_not_installed():
    check_trackers(["tensorboard", "remembering"])
    check_trackers([])


def test_the_hyperparameters_are_the_recipes_texts_and_numbers(squares):
    found = scalars(squares("model.freeze=[backbone]", "augment={flip: 0.5, crop: [1, 2]}"))
    assert found["augment.flip"] == 0.5
    assert found["model.name"] == "ccnet_tiny"
    assert found["train.sync_batch_norm"] is True
    assert not found.keys() & {"model.freeze", "augment.crop", "model.weights", "augment", "model"}


def test_a_large_picture_is_thinned_out_for_the_trackers(squares, tmp_path):
    large = np.zeros((10, 3201, 3), np.uint8)
    large[:, ::3] = 200  # what is kept
    with open_accelerator(tmp_path, ["tensorboard"]) as accelerator:
        start_trackers(squares(), accelerator, 1)
        log_picture(accelerator, "val/preview", large, 7)
    (event,) = events(tmp_path / "squares").Images("val/preview")
    assert (event.step, event.width, event.height) == (7, 1067, 4)
