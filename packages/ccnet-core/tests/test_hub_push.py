"""Weights folders pushed by the real client to a Hub on the loopback interface."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.hub_push import push_folder, require_ready
from ccnet_core.weights_folder import WEIGHTS_FILE

NAME = "org/name"

# The client's own: its HTTP library wants large files in another argument.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")


@pytest.fixture
def folder(tiny, tmp_path):
    tiny.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


def held(hub, revision="main", name=NAME):
    """The files of a repository, without the one that the Hub puts into a new one."""
    repository = hub.repositories[name]
    files = dict(repository.commits[repository.refs[revision]])
    assert files.pop(".gitattributes") == b""
    return files


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("large", [(), (".safetensors",)])
def test_pushed_model_comes_back_the_same(hub_server, tiny, picture, tmp_path, large):
    hub_server.large = large
    address = tiny.push_to_hub(NAME, metrics={"miou": 0.5061}, datasets=["camvid"], license="mit", picture=picture)
    assert address == f"{hub_server.address}/{NAME}/commit/{hub_server.repositories[NAME].refs['main']}"
    loaded = ccnet.CCNet.from_pretrained(NAME)
    image = torch.rand(1, 3, 33, 41) * 255
    assert torch.equal(loaded(image).logits, tiny(image).logits)
    assert loaded.config == tiny.config


def test_what_is_pushed_is_what_would_be_saved_but_for_the_repositorys_name(hub_server, tiny, picture, tmp_path):
    described = {"metrics": {"miou": 0.5061}, "datasets": ["camvid"], "license": "mit", "picture": picture}
    tiny.push_to_hub(NAME, **described)
    tiny.save_pretrained(tmp_path / "saved", **described)
    pushed, saved = held(hub_server), content(tmp_path / "saved")
    card = pushed.pop("README.md").decode()
    assert f'from_pretrained("{NAME}")' in card
    assert "license: mit" in card
    assert saved.pop("README.md")
    assert pushed == saved


def test_large_model_is_pushed_in_shards_and_comes_back_the_same(hub_server, tiny):
    tiny.push_to_hub(NAME, max_shard_size="100KB")
    assert len([name for name in held(hub_server) if name.startswith("model-")]) > 1
    loaded = ccnet.CCNet.from_pretrained(NAME).state_dict()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tiny.state_dict().items())


def test_folder_is_pushed_as_it_is_in_one_commit(hub_server, folder):
    push_folder(folder, NAME, commit_message="Better weights")
    assert held(hub_server) == content(folder)
    assert len(hub_server.repositories[NAME].commits) == 2  # the first one makes the repository
    assert hub_server.messages == ["Better weights"]


@pytest.mark.parametrize("revision", ["main", "experiment"])
def test_second_push_leaves_nothing_of_the_first_and_nothing_else_away(hub_server, folder, revision):
    stale = {"model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": b"1", "picture.png": b"p"}
    others = {"LICENSE": b"mine", "logs/train.txt": b"loss"}
    hub_server.add(NAME, {".gitattributes": b""})
    hub_server.add(NAME, {".gitattributes": b"", **stale, **others}, branch=revision)
    (folder / "picture.png").unlink(missing_ok=True)
    push_folder(folder, NAME, revision=revision)
    assert held(hub_server, revision) == {**content(folder), **others}


def test_older_weights_come_back_by_their_revision(hub_server, tiny):
    before = tiny.state_dict()["head.classify.conv.weight"].clone()
    commit = tiny.push_to_hub(NAME, max_shard_size="100KB").rpartition("/")[2]
    tiny.head.classify.conv.weight.data.add_(1)
    tiny.push_to_hub(NAME)
    weights = [ccnet.CCNet.from_pretrained(NAME, revision=r).head.classify.conv.weight for r in (commit, None)]
    assert torch.equal(weights[0], before)
    assert torch.equal(weights[1], before + 1)


def test_branch_is_made_and_the_main_one_left_alone(hub_server, folder):
    push_folder(folder, NAME, revision="experiment")
    push_folder(folder, NAME, revision="experiment")
    assert held(hub_server, "experiment") == content(folder)
    assert held(hub_server) == {}


def test_pushing_the_same_again_makes_no_commit(hub_server, folder):
    address = push_folder(folder, NAME)
    assert push_folder(folder, NAME) == address
    assert len(hub_server.repositories[NAME].commits) == 2


@pytest.mark.parametrize(("private", "made"), [(True, True), (False, False), (None, False)])
def test_new_repository_is_as_private_as_asked(hub_server, folder, private, made):
    push_folder(folder, NAME, private=private)
    assert hub_server.repositories[NAME].private is made


@pytest.mark.parametrize(("private", "message"), [(True, "it is public already"), (False, "it is private already")])
def test_repository_that_is_there_does_not_change_who_may_see_it(hub_server, folder, private, message):
    hub_server.add(NAME, {".gitattributes": b""})
    hub_server.repositories[NAME].private = not private
    with pytest.raises(ccnet.WeightsError, match=f"org/name: {message}, and .* was asked for"):
        push_folder(folder, NAME, private=private)
    assert held(hub_server) == {}


def test_token_goes_to_the_hub_and_not_to_the_storage(hub_server, folder):
    push_folder(folder, NAME, token="hf_secret")
    others = [request for request in hub_server.requests if NAME in request.path or "/repos/" in request.path]
    assert {request.token for request in others} == {"hf_secret"}
    assert {request.token for request in hub_server.requests if request.path.startswith("/objects/")} == {None}


@pytest.mark.parametrize("name", ["name", "org/", "a/b/c", "./name", None, 5, Path("org/name"), b"org/name"])
def test_name_without_an_owner_is_refused(hub_server, folder, name):
    with pytest.raises(ccnet.WeightsError, match=rf"{name}: expected a Hub name of the form org/name"):
        push_folder(folder, name)
    assert hub_server.requests == []


@pytest.mark.parametrize("place", [{"repository": "name"}, {"repository": NAME, "token": "hf secret"}])
def test_no_folder_is_written_for_a_place_that_cannot_be(hub_server, tiny, monkeypatch, place):
    monkeypatch.setattr("ccnet_core.weights_folder.save_folder", lambda *_, **__: pytest.fail("a folder was written"))
    with pytest.raises(ccnet.WeightsError, match=r"expected a (Hub name|token)"):
        tiny.push_to_hub(**place)


def test_token_that_cannot_be_one_is_refused_and_not_repeated(hub_server, folder):
    with pytest.raises(ccnet.WeightsError, match=r"^token: expected a token of the Hub, which begins with hf_"):
        push_folder(folder, NAME, token="hf_secret\n")


def test_what_stops_every_push_is_known_without_asking_the_hub(hub_server, monkeypatch):
    require_ready(NAME, "hf_secret")
    with pytest.raises(ccnet.WeightsError, match=r"^org/name: .* without a token\. Log in with `hf auth login`"):
        require_ready(NAME)
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    require_ready(NAME)
    for name in ("name", "org/na me", "org/--name"):
        with pytest.raises(ccnet.WeightsError, match=f"^{name}: "):
            require_ready(name)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ccnet.WeightsError, match=r"^org/name: cannot be pushed to: HF_HUB_OFFLINE is set\. Unset it\."):
        require_ready(NAME)
    assert hub_server.requests == []


CREATE, UPLOAD, COMMIT = "/repos/create", "PUT /objects", "POST .*/commit/"


@pytest.mark.parametrize(
    ("where", "fault", "message"),
    [
        (CREATE, {"status": 401}, "did not accept who you are.*log in with `hf auth login`, or give a token"),
        (CREATE, {"status": 403}, r"does not have the right to do this \(ordered by the test\)"),
        (CREATE, {"status": 429}, "too many requests"),
        (CREATE, {"status": 500}, "the Hub has a fault of its own"),
        ("/branch/", {"status": 403}, "does not have the right"),
        ("/api/models", {"status": 500}, "the Hub has a fault of its own"),
        ("/preupload/", {"status": 403}, "does not have the right"),
        ("/validate-yaml", {"status": 400}, "Invalid metadata in README.md"),
        ("/objects/batch", {"status": 500}, "the Hub has a fault of its own"),
        (UPLOAD, {"status": 403}, "does not have the right"),
        (UPLOAD, {"status": 500}, "the Hub has a fault of its own"),
        (COMMIT, {"status": 403}, "does not have the right"),
        (COMMIT, {"status": 409}, "somebody else is changing the repository. Try again"),
        (COMMIT, {"status": 412}, "somebody else pushed at the same time. Push again"),
        (COMMIT, {"cut": 5}, "the connection to the Hub failed"),
    ],
)
def test_fault_of_the_hub_gives_a_sentence_that_helps_and_the_next_push_works(
    hub_server, folder, where, fault, message
):
    hub_server.order(where, times=99, **fault)
    with pytest.raises(ccnet.WeightsError, match=f"org/name: not pushed: .*{message}") as caught:
        push_folder(folder, NAME, revision="experiment")
    assert "\n" not in str(caught.value)
    hub_server.faults.clear()
    push_folder(folder, NAME, revision="experiment")
    assert held(hub_server, "experiment") == content(folder)


def test_push_that_another_one_overtakes_is_refused(hub_server, folder):
    """Its list of stale files would be out of date."""
    hub_server.add(NAME, {".gitattributes": b""})
    hub_server.order("/preupload/", act=lambda: hub_server.add(NAME, {".gitattributes": b"", WEIGHTS_FILE: b"other"}))
    with pytest.raises(ccnet.WeightsError, match=r"somebody else pushed at the same time\. Push again"):
        push_folder(folder, NAME)
    assert held(hub_server) == {WEIGHTS_FILE: b"other"}


def test_hub_that_is_not_there_is_named(hub_server, folder):
    hub_server.stop()
    with pytest.raises(ccnet.WeightsError, match=r"not pushed: the connection to the Hub failed \(.*refused\)"):
        push_folder(folder, NAME)


def test_offline_mode_is_named(hub_server, folder, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(ccnet.WeightsError, match="not pushed: HF_HUB_OFFLINE is set"):
        push_folder(folder, NAME)


PUSH_AND_PULL = """
import sys, torch
import ccnet_core as ccnet

torch.manual_seed(0)
model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=4).eval()
image = torch.rand(1, 3, 33, 41) * 255
print(model.push_to_hub("org/name", max_shard_size="100KB", token="hf_secret"))
pulled = ccnet.CCNet.from_pretrained("org/name")
print(torch.equal(pulled(image).logits, model(image).logits))
"""


def test_program_of_a_user_pushes_and_pulls(hub_server, tmp_path):
    """Nothing of its client is changed but the environment."""
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith(("HF_", "HUGGING"))},
        "HF_ENDPOINT": hub_server.address,
        "HF_HOME": str(tmp_path / "user"),
        "HF_HUB_DISABLE_XET": "1",
        "no_proxy": "127.0.0.1",
    }
    command = [sys.executable, "-W", "error", "-W", "ignore:Use 'content=", "-c", PUSH_AND_PULL]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    commit = hub_server.repositories[NAME].refs["main"]
    assert ended.stdout.splitlines() == [f"{hub_server.address}/{NAME}/commit/{commit}", "True"]
    assert (tmp_path / "user" / "hub" / "models--org--name" / "snapshots" / commit / "config.json").is_symlink()
