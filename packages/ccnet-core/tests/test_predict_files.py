import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.outputs import Outputs
from ccnet_core.picture_files import Named
from ccnet_core.predict_files import Outcome, predict_files, predict_pictures

FILES = sys.modules["ccnet_core.predict_files"]


@pytest.fixture
def sources(tmp_path):
    """Six pictures of two sizes."""
    generator = np.random.default_rng(0)
    named = []
    for index in range(6):
        size = (20, 30) if index % 2 else (24, 16)
        path = tmp_path / f"{index}.png"
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
        named.append(Named(path, f"sub/{index}"))
    return named


@pytest.fixture
def outputs(tiny, tmp_path):
    return Outputs(folder=tmp_path / "out", kinds=("labels", "json"), config=tiny.config)


@pytest.fixture
def interrupt(monkeypatch):
    """Press Ctrl-C while the network computes for the second time."""
    module, calls = sys.modules["ccnet_core.predict_many"], []
    original = module.predict_batch

    def watched(*arguments, **options):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return original(*arguments, **options)

    monkeypatch.setattr(module, "predict_batch", watched)


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_every_picture_has_its_files(tiny, sources, outputs, pixels):
    outcome = Outcome()
    predict_files(tiny, sources, outputs, outcome, batch_size=2)
    assert (outcome.written, outcome.skipped, outcome.failures) == (6, 0, [])
    assert len(names(outputs.folder)) == 12
    for named in sources:
        labels = ccnet.predict(tiny, named.source).labels
        np.testing.assert_array_equal(pixels(outputs.paths(named)["labels"]), labels)


def test_what_is_there_is_skipped_unless_asked_for(tiny, sources, outputs):
    predict_files(tiny, sources[:4], outputs, Outcome())
    first = outputs.paths(sources[0])["json"]
    first.write_text("kept")
    outputs.paths(sources[1])["json"].unlink()
    outcome = Outcome()
    predict_files(tiny, sources, outputs, outcome)
    assert (outcome.written, outcome.skipped, first.read_text()) == (3, 3, "kept")
    outcome = Outcome()
    predict_files(tiny, sources, outputs, outcome, overwrite=True)
    assert (outcome.written, outcome.skipped) == (6, 0)
    assert first.read_text() != "kept"


def test_an_unreadable_file_does_not_stop_the_rest(tiny, sources, outputs):
    sources[0].source.write_bytes(b"")
    sources[3].source.write_bytes(sources[3].source.read_bytes()[:-100])
    sources[4].source.unlink()
    outcome = Outcome()
    predict_files(tiny, sources, outputs, outcome, batch_size=2)
    assert outcome.written == 3
    reasons = ("not a picture that Pillow can read", "damaged or unreadable", "there is no such file")
    for named, reason, failure in zip([sources[0], sources[3], sources[4]], reasons, outcome.failures, strict=True):
        assert failure.startswith(f"{named.source}: {reason}")
    assert names(outputs.folder) == [
        f"sub/{index}{ending}" for index in (1, 2, 5) for ending in ("_areas.json", "_labels.png")
    ]


def test_an_interruption_leaves_whole_files_and_the_next_run_the_rest(tiny, sources, outputs, interrupt, pixels):
    outcome = Outcome()
    with pytest.raises(KeyboardInterrupt):
        predict_files(tiny, sources, outputs, outcome, batch_size=2)
    assert 0 < outcome.written < 6
    assert len(names(outputs.folder)) == 2 * outcome.written  # both of each, and no file of another name
    done = [named for named in sources if outputs.are_there(named)]
    assert len(done) == outcome.written
    again = Outcome()
    predict_files(tiny, sources, outputs, again)
    assert (again.written, again.skipped) == (6 - outcome.written, outcome.written)
    for named in sources:
        np.testing.assert_array_equal(pixels(outputs.paths(named)["labels"]), ccnet.predict(tiny, named.source).labels)


def test_a_result_that_cannot_be_written_stops_the_run(tiny, sources, outputs):
    outputs.folder.mkdir()
    (outputs.folder / "sub").touch()
    outcome = Outcome()
    with pytest.raises(OSError, match=r"sub/\d_\w+\.\w+: cannot be written"):
        predict_files(tiny, sources, outputs, outcome)
    assert outcome.written == 0


def test_a_fault_of_the_network_is_raised(tiny, sources, outputs, monkeypatch):
    def fail(*_arguments, **_options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(sys.modules["ccnet_core.predict_many"], "predict_batch", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        predict_files(tiny, sources, outputs, Outcome())


def test_options_are_those_of_predict(tiny, sources, outputs, pixels):
    options = {"mode": "slide", "crop": (16, 24), "stride": (11, 16), "flip": True}
    predict_files(tiny, sources[:2], outputs, Outcome(), **options)
    for named in sources[:2]:
        labels = ccnet.predict(tiny, named.source, **options).labels
        np.testing.assert_array_equal(pixels(outputs.paths(named)["labels"]), labels)


def test_videos_come_after_pictures_and_a_damaged_one_is_told(tiny, sources, outputs, monkeypatch):
    seen = []

    def predict_video(model, path, drawings, **options):
        seen.append((path, [place.name for place in drawings]))
        if path.name == "bad.mp4":
            raise ccnet.PictureError("bad.mp4: damaged")

    monkeypatch.setattr(FILES, "predict_video", predict_video)
    outcome = Outcome()
    both = Outputs(folder=outputs.folder, kinds=("overlay", "labels"), config=tiny.config)
    videos = [Named(Path("good.mp4"), "good"), Named(Path("bad.mp4"), "bad")]
    predict_files(tiny, [*videos, *sources[:1]], both, outcome)
    assert seen == [(Path("good.mp4"), ["good_overlay.mp4"]), (Path("bad.mp4"), ["bad_overlay.mp4"])]
    assert (outcome.written, outcome.failures) == (2, ["bad.mp4: damaged"])


def test_pictures_may_come_one_by_one(tiny, outputs, picture, pixels):
    outcome = Outcome()
    predict_pictures(tiny, (Named(picture, str(number)) for number in range(3)), outputs, outcome, total=3)
    assert outcome.written == 3
    np.testing.assert_array_equal(pixels(outputs.folder / "2_labels.png"), ccnet.predict(tiny, picture).labels)
