import json
import pickle
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_train import TrainError, fit
from ccnet_train.checkpoint import path_of
from ccnet_train.datasets import load_split
from ccnet_train.dry_run import describe
from ccnet_train.evaluate_weights import evaluate_weights
from ccnet_train.network import build_network
from ccnet_train.recipe import ModelSection
from ccnet_train.tasks.video import Video

CLIPS = ("data.options.frames=4", "model.frames=3", "train.iterations=4", "evaluate.every=2", "checkpoint.every=2")


def config(frames):
    return ccnet.CCNet.from_config("ccnet_tiny", frames=frames).config


@pytest.fixture
def sample(squares):
    return load_split(squares(*CLIPS).data, "val")[0]


@pytest.mark.parametrize(("frames", "expected"), [(3, np.s_[-3:]), (4, np.s_[:]), (1, -1)])
def test_a_network_trains_on_the_last_frames_of_a_clip_augmented_alike(sample, frames, expected):
    def mirror(sample, generator):
        return {**sample, "image": sample["image"][..., ::-1], "label": sample["label"][:, ::-1]}

    training = pickle.loads(pickle.dumps(Video().training(mirror_of_module, config(frames))))
    given = training(sample, np.random.default_rng(0))
    np.testing.assert_array_equal(given["image"], mirror(sample, None)["image"][expected])
    np.testing.assert_array_equal(given["label"], sample["label"][:, ::-1])


def mirror_of_module(sample, generator):
    return {**sample, "image": sample["image"][..., ::-1], "label": sample["label"][:, ::-1]}


def test_the_last_frame_is_shown(sample):
    np.testing.assert_array_equal(Video().picture(sample), sample["image"][3])


@pytest.mark.parametrize("frames", [1, 3])
def test_a_clip_is_predicted_from_as_many_frames_as_the_model_takes(sample, frames):
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=3, frames=frames).eval()
    clip = torch.tensor(sample["image"])
    with torch.no_grad():
        logits = model(clip[None, -frames:] if frames > 1 else clip[None, -1]).logits
    expected = model.resize_logits(logits, (32, 32)).argmax(1)[0]
    assert (Video().predict(model, sample) == expected.numpy()).mean() > 0.999


@pytest.mark.parametrize(
    ("frames", "asked", "message"),
    [
        (5, 5, "takes clips of 5 frames, and those of the data have 4. Set data.options.frames=5 or model.frames=4"),
        (1, None, "are clips of 4 frames, and the network takes pictures. Set model.frames=4, or model.frames=1 to"),
    ],
)
def test_clips_that_the_network_cannot_take_are_refused(sample, frames, asked, message):
    with pytest.raises(TrainError, match=message):
        Video().require_fit(config(frames), ModelSection(frames=asked), [sample])


def test_a_network_for_pictures_is_trained_on_last_frames_where_it_is_asked_for(sample):
    Video().require_fit(config(1), ModelSection(frames=1), [sample])
    Video().require_fit(config(4), ModelSection(), [sample])  # of weights for clips


def test_a_run_on_clips_evaluates_resumes_and_leaves_a_model_of_clips(squares):
    whole = fit(squares(*CLIPS), quiet=True)
    expected = ccnet.CCNet.from_pretrained(whole.last_folder)
    assert (expected.config.task, expected.config.head.frames) == ("video", 3)
    run = whole.last_folder.parent
    with Image.open(run / "preview.png") as preview:
        assert preview.size == (3 * 32 + 2 * 4, 4 * 32 + 3 * 4)
    shutil.rmtree(path_of(run / "checkpoints", 4))
    resumed = fit(squares(*CLIPS), quiet=True)
    assert resumed.history == whole.history
    found = ccnet.CCNet.from_pretrained(resumed.last_folder).state_dict()
    assert all(torch.equal(found[name], value) for name, value in expected.state_dict().items())


def test_the_number_of_processes_of_a_loader_changes_nothing(squares, tmp_path):
    results = [
        fit(squares(*CLIPS, f"data.workers={workers}", f"output={tmp_path / str(workers)}"), quiet=True)
        for workers in (0, 2)
    ]
    first, second = (ccnet.CCNet.from_pretrained(result.last_folder).state_dict() for result in results)
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_network_for_pictures_measures_the_same_labelled_frames(squares, tmp_path):
    recipe = squares(*CLIPS, "model.frames=1")
    result = fit(recipe, quiet=True)
    clips = squares(*CLIPS)
    found = evaluate_weights(clips, result.last_folder, out=tmp_path / "out", report=True, labels="indices", show=False)
    assert len(found.pictures) == 5
    assert found.scores.miou == pytest.approx(result.history[-1]["miou"])
    assert (tmp_path / "out" / "report.html").is_file()
    of_pictures = evaluate_weights(
        squares("data.options.frames=1"), result.last_folder, out=tmp_path / "pictures", show=False
    )
    assert of_pictures.scores.miou == found.scores.miou  # the labelled frames are the pictures
    assert json.loads((tmp_path / "out" / "metrics.json").read_text())["pictures"] == 5


def test_activations_and_channels_last_change_only_how_it_computes(squares):
    recipe = squares(*CLIPS, "train.channels_last=true", "model.activation_checkpointing=true")
    assert fit(recipe, quiet=True).best_miou >= 0


@pytest.mark.parametrize(("before", "after"), [(1, 3), (3, 1)])
def test_weights_for_pictures_begin_a_network_for_clips_and_the_other_way_round(squares, tmp_path, before, after):
    dataset = load_split(squares().data, "train")
    weights = ccnet.CCNet.from_config("ccnet_tiny", classes=dataset.classes, frames=before)
    weights.save_pretrained(tmp_path / "weights")
    network = build_network(squares(f"model.weights={tmp_path / 'weights'}", f"model.frames={after}"), dataset)
    assert network.config.head.frames == after
    picture = torch.randint(0, 256, (1, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad():
        expected = weights.eval()(picture).logits  # of one frame both are the same function
        torch.testing.assert_close(network.eval()(picture).logits, expected)


def test_a_dry_run_tells_the_size_of_a_clip(squares):
    assert "for 4 x 3 frames of 32 x 32 pixels in float32" in describe(squares(*CLIPS))
