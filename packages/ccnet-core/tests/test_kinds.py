import json

import pytest

from ccnet_core import WeightsError
from ccnet_core.errors import OtherKindError
from ccnet_core.kinds import ENTRY_POINT_GROUP, find_kind
from ccnet_core.outputs import Outputs


class Installed:
    def __init__(self, kind):
        self.kind = kind

    def load(self):
        return self.kind


@pytest.fixture
def install(monkeypatch):
    """Pretend that another distribution predicts with networks of the kind `ccnet-instances`."""

    def with_kind(kind):
        installed = {(ENTRY_POINT_GROUP, "ccnet-instances"): [Installed(kind)]} if kind else {}
        monkeypatch.setattr("ccnet_core.kinds.entry_points", lambda group, name: installed.get((group, name), []))

    return with_kind


@pytest.fixture
def other(weights):
    """A weights folder that says it holds a Mask R-CNN."""
    content = json.loads((weights / "config.json").read_text())
    (weights / "config.json").write_text(json.dumps({**content, "model_type": "ccnet-instances"}))
    return weights


class Echo:
    """A kind whose networks find nothing; `loaded` is how they were asked for."""

    finds = "nothing"

    def __init__(self, network):
        self.network, self.loaded = network, []

    def load(self, source, *, device, backend):
        self.loaded.append((source, device, backend))
        return self.network

    def results(self, network, **how):
        return Outputs(config=network.config, **how)


def test_a_kind_is_found_by_the_model_type_that_was_refused(install):
    install("the kind")
    assert find_kind(OtherKindError("other.", "ccnet-instances")) == "the kind"


def test_who_is_not_installed_is_told_how_to_install_it(install):
    install(None)
    with pytest.raises(WeightsError) as raised:
        find_kind(OtherKindError("w: holds a Mask R-CNN.", "ccnet-instances"))
    assert str(raised.value) == (
        'w: holds a Mask R-CNN. Both need ccnet-train: python -m pip install "ccnet-train[detection]"'
    )


def test_predict_uses_who_can(install, run, tiny, other, photo, tmp_path):
    kind = Echo(tiny)
    install(kind)
    done = run("predict", photo, "--model", other, "--out", tmp_path / "out", "--device", "cpu", "--save", "json")
    assert (done.returncode, done.stderr) == (0, "")
    assert kind.loaded == [(str(other), "cpu", None)]
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["photo_areas.json"]


def test_predict_without_ccnet_train_is_one_line(install, run, other, photo, tmp_path):
    install(None)
    done = run("predict", photo, "--model", other, "--out", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {other}: holds a Mask R-CNN")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("option", ["--tta", "--fast", "--mode=whole", "--crop=16,16", "--resize=plan"])
def test_options_of_segmentation_are_refused(install, run, tiny, other, photo, tmp_path, option):
    install(Echo(tiny))
    done = run("predict", photo, "--model", other, "--out", tmp_path, option)
    assert done.returncode == 2
    assert done.stderr == (
        f"error: {option.split('=')[0]}: the model finds nothing, and takes every picture whole. Leave it out.\n"
    )


def test_videos_are_refused(install, run, tiny, other, tmp_path):
    install(Echo(tiny))
    done = run("predict", "camera:0", "--model", other, "--out", tmp_path)
    assert done.returncode == 2
    assert done.stderr == "error: camera:0: the model finds nothing in pictures only. Leave the video out.\n"


def test_other_commands_say_what_the_folder_holds(run, other, photo, tmp_path):
    done = run("attend", photo, "--model", other, "--point", "1,1", "--out", tmp_path / "a.png")
    assert done.returncode == 2
    assert "holds a Mask R-CNN, which finds objects. Use it with `ccnet predict`" in done.stderr
