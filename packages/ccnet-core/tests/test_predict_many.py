import gc
import sys
import threading

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.predict import predict_batch

SIZES = [(37, 51), (51, 37), (37, 51), (20, 30), (37, 51), (51, 37), (37, 51), (20, 30), (37, 51)]

PLANS = {
    "whole": {},
    "slide": {"mode": "slide", "crop": (16, 24), "stride": (11, 16)},
    "scales and mirror images": {"scales": (0.6, 1.0), "flip": True},
}


@pytest.fixture
def pictures():
    generator = np.random.default_rng(1)
    return [generator.integers(0, 256, (*size, 3), dtype=np.uint8) for size in SIZES]


@pytest.fixture
def batches(monkeypatch):
    """The sizes of the batches that are computed."""
    seen = []

    def watched(model, batch, *arguments, **options):
        seen.append(tuple(batch.shape))
        return predict_batch(model, batch, *arguments, **options)

    monkeypatch.setattr(sys.modules["ccnet_core.predict_many"], "predict_batch", watched)
    return seen


@pytest.mark.parametrize("options", PLANS.values(), ids=PLANS)
@pytest.mark.parametrize("batch_size", [1, 3])
def test_results_are_those_of_predict_one_by_one_in_order(tiny, pictures, options, batch_size):
    model = tiny.double()  # so that no two scores are equal but for rounding
    results = list(ccnet.predict_many(model, pictures, batch_size=batch_size, **options, scores=True))
    assert len(results) == len(pictures)
    for picture, result in zip(pictures, results, strict=True):
        alone = ccnet.predict(model, picture, **options, scores=True)
        assert result.source is picture
        np.testing.assert_array_equal(result.picture.permute(1, 2, 0), picture)
        np.testing.assert_array_equal(result.labels, alone.labels)
        np.testing.assert_allclose(result.scores, alone.scores, atol=1e-6)


def test_pictures_of_one_size_share_a_batch_also_if_others_stand_between(tiny, pictures, batches):
    list(ccnet.predict_many(tiny, pictures, batch_size=3))
    assert batches == [(3, 3, 37, 51), (2, 3, 51, 37), (2, 3, 20, 30), (2, 3, 37, 51)]


def test_paths_are_read(tiny, photo, picture):
    (result,) = ccnet.predict_many(tiny, [photo])
    assert result.source == photo
    np.testing.assert_array_equal(result.labels, ccnet.predict(tiny, picture).labels)


def test_read_makes_pictures_of_anything_in_another_thread(tiny, pictures):
    threads = set()

    def read(index):
        threads.add(threading.current_thread())
        return pictures[index]

    results = list(ccnet.predict_many(tiny, range(3), read=read))
    assert [result.source for result in results] == [0, 1, 2]
    assert threading.current_thread() not in threads


def test_few_pictures_are_held_however_many_there_are(tiny):
    made, alive, most = 0, 0, 0

    class Counted(np.ndarray):
        def __del__(self):
            nonlocal alive
            alive -= 1

    def endless():
        nonlocal made, alive
        while True:
            made, alive = made + 1, alive + 1
            yield np.zeros((8, 8, 3), np.uint8).view(Counted)

    results = ccnet.predict_many(tiny, endless(), batch_size=2)
    for _, result in zip(range(40), results, strict=False):
        del result
        gc.collect()
        most = max(most, alive)
    results.close()
    assert made < 40 + 5 * 2
    assert most <= 5 * 2 + 1


def test_large_pictures_are_not_gathered(tiny, pictures, batches, monkeypatch):
    monkeypatch.setattr(sys.modules["ccnet_core.predict_many"], "WINDOW_BYTES", 1)
    list(ccnet.predict_many(tiny, pictures, batch_size=3))
    assert [batch[0] for batch in batches] == [1] * len(pictures)


def test_an_unreadable_picture_raises_in_its_turn(tiny, photo):
    results = ccnet.predict_many(tiny, [photo, "nowhere.png", photo])
    assert next(results).source == photo
    with pytest.raises(ccnet.PictureError, match=r"nowhere\.png: there is no such file"):
        next(results)


def test_an_unreadable_picture_is_left_out_and_told_on_request(tiny, photo):
    told = []
    sources = [photo, "nowhere.png", photo]
    results = ccnet.predict_many(tiny, sources, on_error=lambda source, error: told.append((source, type(error))))
    assert next(results).source == photo
    assert told == []
    assert next(results).source == photo
    assert told == [("nowhere.png", ccnet.PictureError)]
    assert next(results, None) is None


def test_an_error_of_the_iterable_itself_is_not_caught(tiny, picture):
    def broken():
        yield picture
        raise OSError("the list is gone")

    results = ccnet.predict_many(tiny, broken(), on_error=lambda *_: None)
    with pytest.raises(OSError, match="the list is gone"):
        list(results)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size must be 1 or more, got 0"),
        ({"mode": "slide"}, "mode 'slide' needs crop"),
        ({"plan": ccnet.InferencePlan(), "flip": True}, "either a plan or single options"),
    ],
)
def test_wrong_options_are_refused_at_the_call(tiny, options, message):
    with pytest.raises(ccnet.ConfigError, match=message):
        ccnet.predict_many(tiny, [], **options)


def test_no_picture_is_no_result(tiny):
    assert list(ccnet.predict_many(tiny, [])) == []


def test_progress_is_a_bar_only_on_request(tiny, photo, capsys, monkeypatch):
    list(ccnet.predict_many(tiny, [photo]))
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    list(ccnet.predict_many(tiny, [photo], progress=True))
    assert "1/1 [" in capsys.readouterr().err


def test_the_mode_of_the_model_is_left(tiny, photo):
    tiny.train()
    list(ccnet.predict_many(tiny, [photo]))
    assert tiny.training
    assert torch.is_grad_enabled()


def test_clips_are_predicted_together_and_shown_by_their_last_frame(enliven):
    model = enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, frames=3)).eval()
    clips = list(torch.randint(0, 256, (3, 3, 3, 33, 40), dtype=torch.uint8))
    for clip, found in zip(clips, ccnet.predict_many(model, clips, batch_size=2), strict=True):
        assert torch.equal(found.picture, clip[-1])
        np.testing.assert_array_equal(found.labels, ccnet.predict(model, clip).labels)
