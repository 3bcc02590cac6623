"""Weights folders pulled by the real client from a Hub on the loopback interface."""

import contextlib
import hashlib
import logging
import os
import random

import pytest
import torch
from huggingface_hub import constants

import ccnet_core as ccnet
from ccnet_core.hub import find_folder
from ccnet_core.weights_folder import CONFIG_FILE, WEIGHTS_FILE

NAME = "org/name"
CACHE = "models--org--name"


@pytest.fixture
def files(tiny, tmp_path):
    """The files of a weights folder, by name."""
    tiny.save_pretrained(tmp_path / "weights")
    return content(tmp_path / "weights")


@pytest.fixture
def hub(hub_server, files):
    hub_server.add(NAME, files)
    return hub_server


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def change(files, name=CONFIG_FILE):
    """The same weights folder with a blank more at the end of one of its text files."""
    return {**files, name: files[name] + b" "}


def asked(hub, part=""):
    return [f"{request.method} {request.path}" for request in hub.requests if part in request.path]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("no/such/folder", "there is no such folder"),
        ("ccnet_tiny", "there are no published weights"),
        ("ccnet_tinny", r"there is no such folder, .* no model of the zoo\. Did you mean .ccnet_tiny."),
        ("../elsewhere", "there is no such folder"),
    ],
)
def test_missing_folder_is_named(source, message):
    with pytest.raises(ccnet.WeightsError, match=f"{source}: {message}"):
        ccnet.CCNet.from_pretrained(source)


def test_model_comes_from_the_hub(hub, tiny):
    image = torch.rand(1, 3, 33, 41) * 255
    assert torch.equal(ccnet.CCNet.from_pretrained(NAME)(image).logits, tiny(image).logits)


@pytest.mark.parametrize("large", [(), (".safetensors",), (".safetensors", ".json", ".md")])
def test_files_come_as_they_are_from_lfs_and_from_git(hub, files, large):
    hub.large = large
    assert content(find_folder(NAME)) == files


def test_only_the_files_of_a_weights_folder_are_fetched(hub, files):
    shards = {"model.safetensors.index.json": b"{}", "model-00001-of-00002.safetensors": b"1", "picture.png": b"p"}
    others = {"pytorch_model.bin": b"2", "logs/config.json": b"3", "optimizer.safetensors": b"4", ".gitattributes": b""}
    hub.add(NAME, {**files, **shards, **others})
    assert content(find_folder(NAME)) == {**files, **shards}
    assert not [line for name in others for line in asked(hub, name)]


@pytest.mark.parametrize("kind", ["branch", "commit"])
def test_revision_is_pinned(hub, files, kind):
    newer = change(files)
    commit = hub.add(NAME, newer, branch="experiment")
    revision = commit if kind == "commit" else "experiment"
    assert content(find_folder(NAME, revision=revision)) == newer
    assert content(find_folder(NAME)) == files


def test_revision_that_is_missing_is_named_with_those_there_are(hub, files):
    hub.add(NAME, files, branch="v1.0")
    with pytest.raises(ccnet.WeightsError, match=r"org/name: there is no revision 'v1'\. Did you mean 'v1\.0'\?"):
        find_folder(NAME, revision="v1")


def test_new_commit_is_fetched_and_only_what_changed(hub, files):
    find_folder(NAME)
    hub.add(NAME, change(files))
    hub.requests.clear()
    assert content(find_folder(NAME)) == change(files)
    assert not [line for line in asked(hub) if line.startswith("GET /objects")]


def test_token_goes_to_the_hub_and_not_to_the_storage(hub):
    find_folder(NAME, token="hf_secret")
    storage = [request.token for request in hub.requests if "/objects/" in request.path]
    others = [request.token for request in hub.requests if NAME in request.path]
    assert storage == [None]
    assert set(others) == {"hf_secret"}


@pytest.mark.parametrize("token", ["", " hf_x", "hf_secret\n", "hf_ключ", 5, False])
def test_token_that_cannot_be_one_is_refused_and_not_repeated(hub, token):
    with pytest.raises(ccnet.WeightsError, match=r"^token: expected a token of the Hub, which begins with hf_"):
        find_folder(NAME, token=token)
    assert hub.requests == []


@pytest.mark.parametrize("local_files_only", [False, True])
@pytest.mark.parametrize("pinned", [False, True])
def test_second_load_needs_no_hub(hub, files, caplog, local_files_only, pinned):
    revision = hub.repositories[NAME].refs["main"] if pinned else None
    find_folder(NAME, revision=revision)
    hub.stop()
    assert content(find_folder(NAME, revision=revision, local_files_only=local_files_only)) == files
    told = [record.getMessage() for record in caplog.records if record.name == "ccnet_core.hub"]
    assert [("The copy in the cache is used." in line) for line in told] == [True] * (not local_files_only)


def test_local_files_only_asks_nothing(hub, files):
    find_folder(NAME)
    hub.requests.clear()
    assert content(find_folder(NAME, local_files_only=True)) == files
    assert hub.requests == []


def test_folder_of_that_name_wins(hub, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.save_pretrained(NAME)
    assert ccnet.CCNet.from_pretrained(NAME).config == tiny.config
    assert hub.requests == []


def test_interrupted_download_goes_on_where_it_stopped(hub, files, monkeypatch):
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # 10 MB; what is less than one is lost
    hub.order("GET /objects", cut=1000, times=3)
    assert content(find_folder(NAME)) == files
    ranges = [request.range for request in hub.requests if "/objects/" in request.path]
    assert ranges == [None, "bytes=1000-", "bytes=2000-", "bytes=3000-"]


def test_download_that_breaks_off_for_good_leaves_nothing_half_written(hub, files, tmp_path):
    hub.order("GET /objects", cut=1000)
    hub.order("GET /objects", cut=0, times=99)
    with pytest.raises(ccnet.WeightsError, match=r"the connection to the Hub failed \(peer closed connection.*\)"):
        find_folder(NAME)
    cache = tmp_path / "home" / "hub" / CACHE
    assert not [path.name for path in cache.rglob("*") if path.name in (WEIGHTS_FILE, *hub.objects)]
    assert not list(cache.rglob("*.incomplete"))
    hub.faults.clear()
    assert content(find_folder(NAME)) == files


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE, "README.md"])
@pytest.mark.parametrize("large", [(), (".safetensors", ".json", ".md")])
def test_wrong_content_is_refused_and_none_of_it_kept(hub, files, tmp_path, name, large):
    hub.large = large
    hub.order(f"GET .*{_place(files, name, large)}", garbled=True, times=99)
    with pytest.raises(ccnet.WeightsError, match=rf"org/name: what comes is not .* announced: {name} has the digest"):
        find_folder(NAME)
    assert not [path for path in (tmp_path / "home").rglob("*") if path.name == name]
    hub.faults.clear()
    assert content(find_folder(NAME)) == files


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
def test_wrong_content_is_fetched_once_more(hub, files, name, caplog):
    hub.order(f"GET .*{_place(files, name, hub.large)}", garbled=True)
    assert content(find_folder(NAME)) == files
    assert f"damaged, and removed: {name} has the digest" in caplog.text


def _place(files, name, large):
    """Where the content of a file comes from."""
    return f"/objects/{hashlib.sha256(files[name]).hexdigest()}" if name.endswith(large) else f"/{name}"


@pytest.mark.parametrize("name", [WEIGHTS_FILE, CONFIG_FILE])
def test_file_that_was_damaged_in_the_cache_is_fetched_anew(hub, files, name, caplog):
    damage(find_folder(NAME) / name)
    assert content(find_folder(NAME)) == files


def test_damaged_file_is_not_used_where_only_local_files_are_allowed(hub, files, caplog):
    damage(find_folder(NAME) / WEIGHTS_FILE)
    with pytest.raises(ccnet.WeightsError, match="its copy in the cache is incomplete"):
        find_folder(NAME, local_files_only=True)
    assert "damaged, and removed: model.safetensors has the digest" in caplog.text
    assert content(find_folder(NAME)) == files


def damage(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.resolve().write_bytes(data)


def test_damaged_file_that_cannot_be_removed_is_named(hub, monkeypatch):
    def refuse(path, missing_ok):
        raise PermissionError(13, "Permission denied")

    file = find_folder(NAME) / WEIGHTS_FILE
    damage(file)
    monkeypatch.setattr("pathlib.Path.unlink", refuse)
    with pytest.raises(ccnet.WeightsError, match=rf"{file}: .*cannot be removed \(Permission denied\)\. Remove it, or"):
        find_folder(NAME)


def test_blob_that_is_a_link_into_a_common_store_is_removed_there_too(hub, files, tmp_path):
    file = find_folder(NAME) / WEIGHTS_FILE
    blob, stored = file.resolve(), tmp_path / "store" / "0123"
    stored.parent.mkdir()
    stored.write_bytes(b"damaged")
    blob.unlink()
    blob.symlink_to(stored)
    assert content(find_folder(NAME)) == files
    assert not stored.exists()


def test_cache_without_symbolic_links_serves(hub, files, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_SYMLINKS", True)
    monkeypatch.setattr("huggingface_hub.file_download.are_symlinks_supported", lambda cache_dir: False)
    folder = find_folder(NAME)
    assert not (folder / WEIGHTS_FILE).is_symlink()
    assert content(folder) == content(find_folder(NAME)) == files


def test_blob_of_a_mirror_that_is_not_named_by_its_digest_serves(hub, files):
    folder = find_folder(NAME)
    file = folder / WEIGHTS_FILE
    other = file.resolve().rename(file.resolve().with_name("some-etag"))
    file.unlink()
    file.symlink_to(other)
    assert content(find_folder(NAME)) == files


def test_weights_of_another_library_are_not_fetched(hub, files):
    hub.add("org/other", {CONFIG_FILE: b'{"model_type": "llama"}', WEIGHTS_FILE: files[WEIGHTS_FILE]})
    with pytest.raises(ccnet.WeightsError, match=r"config\.json: not a CCNet configuration"):
        find_folder("org/other")
    assert not asked(hub, WEIGHTS_FILE) + asked(hub, "/objects")


def test_repository_without_a_configuration_is_named(hub):
    hub.add("org/other", {"README.md": b"hello", "pytorch_model.bin": b"1"})
    with pytest.raises(ccnet.WeightsError, match=r"org/other: it has no config\.json, so it is not a weights folder"):
        find_folder("org/other")


API, RESOLVE, STORAGE = "/api/models", "/resolve/", "GET /objects"


@pytest.mark.parametrize(
    ("where", "fault", "message"),
    [
        (API, {"status": 401}, "did not accept who you are.*log in with `hf auth login`, or give a token"),
        (API, {"status": 401, "code": "RepoNotFound"}, "no such repository, or a private one"),
        (API, {"status": 404, "code": "RepoNotFound"}, "no such repository, or a private one"),
        (API, {"status": 403, "code": "GatedRepo"}, "Accept them on its page on the Hub, then log in"),
        (RESOLVE, {"status": 403, "code": "GatedRepo"}, "Accept them on its page on the Hub, then log in"),
        (RESOLVE, {"status": 401}, "did not accept who you are"),
        (STORAGE, {"status": 403}, r"does not have the right to do this \(ordered by the test\)"),
        (RESOLVE, {"status": 404, "code": "EntryNotFound"}, "the Hub does not have it"),
        (STORAGE, {"status": 404}, r"the Hub does not have it \(ordered by the test\)"),
        (API, {"status": 429}, "too many requests from you. Wait some minutes"),
        (RESOLVE, {"status": 429}, "too many requests"),
        (STORAGE, {"status": 429}, "too many requests"),
        (API, {"status": 500}, "the Hub has a fault of its own .*Try again later"),
        ("/tree/", {"status": 500}, "the Hub has a fault of its own"),
        (RESOLVE, {"status": 502}, "the Hub has a fault of its own"),
        (STORAGE, {"status": 503}, "the Hub has a fault of its own"),
        (API, {"status": 451}, r"the Hub refused \(ordered by the test\)"),
        (API, {"garbled": True}, "what answered is not a Hub .*Check the proxy and HF_ENDPOINT"),
        (API, {"cut": 5}, "the connection to the Hub failed"),
    ],
)
def test_fault_of_the_hub_gives_a_sentence_that_helps_and_the_next_call_works(hub, files, where, fault, message):
    hub.order(where, times=99, **fault)
    with pytest.raises(ccnet.WeightsError, match=f"org/name: .*the Hub did not give it: .*{message}") as caught:
        find_folder(NAME)
    assert "\n" not in str(caught.value)
    hub.faults.clear()
    assert content(find_folder(NAME)) == files


@pytest.mark.parametrize(("where", "seconds"), [(API, 0), ("/tree/", 23), (RESOLVE, 23), (STORAGE, 0)])
def test_nobody_waits_for_a_faulty_hub_longer_than_half_a_minute_nor_without_a_word(hub, caplog, where, seconds):
    hub.order(where, times=99, status=500)
    with caplog.at_level(logging.WARNING), pytest.raises(ccnet.WeightsError):
        find_folder(NAME)
    assert sum(hub.slept) == seconds
    assert len([record for record in caplog.records if "Retrying in" in record.getMessage()]) == len(hub.slept)


def test_rate_limit_is_waited_for_as_long_as_the_hub_says(hub, files):
    hub.order(STORAGE, status=429, headers={"Retry-After": "7"})
    assert content(find_folder(NAME)) == files
    assert hub.slept == [8]


def test_silent_hub_is_given_up(hub, monkeypatch):
    monkeypatch.setattr("ccnet_core.hub.TIMEOUT", 0.2)
    hub.order(API, delay=1)
    with pytest.raises(ccnet.WeightsError, match="the Hub did not answer in time"):
        find_folder(NAME)


def test_hub_that_is_not_there_is_named(hub):
    hub.stop()
    with pytest.raises(ccnet.WeightsError, match=r"the connection to the Hub failed \(.*refused\)\. Check the network"):
        find_folder(NAME)


def test_address_that_has_no_host_is_named(hub, monkeypatch):
    monkeypatch.setattr(constants, "ENDPOINT", "http://no-such-host.invalid")
    with pytest.raises(ccnet.WeightsError, match=r"the connection to the Hub failed \(.*\)\. Check the network"):
        find_folder(NAME)


def test_offline_mode_serves_what_is_in_the_cache_and_says_what_is_not(hub, files, monkeypatch, caplog):
    find_folder(NAME)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.requests.clear()
    assert content(find_folder(NAME)) == files
    with pytest.raises(
        ccnet.WeightsError, match=r"org/other: .*not in the cache, and nothing may be fetched \(.*OFFLINE"
    ):
        find_folder("org/other")
    assert hub.requests == []
    assert caplog.records == []


def test_name_that_is_not_cached_is_refused_where_only_local_files_are_allowed(hub):
    with pytest.raises(ccnet.WeightsError, match="not in the cache, and nothing may be fetched"):
        find_folder(NAME, local_files_only=True)
    assert hub.requests == []


def test_incomplete_copy_in_the_cache_is_not_taken_for_a_folder(hub, files):
    hub.order(STORAGE, status=500)
    with pytest.raises(ccnet.WeightsError, match="fault of its own"):
        find_folder(NAME)
    with pytest.raises(ccnet.WeightsError, match=r"its copy in the cache is incomplete\. Load it once with a network"):
        find_folder(NAME, local_files_only=True)
    assert content(find_folder(NAME)) == files


def test_name_that_the_hub_does_not_allow_is_refused(hub):
    with pytest.raises(ccnet.WeightsError, match=r"org/na me: .*the Hub does not allow such a name"):
        find_folder("org/na me")


def test_cache_that_cannot_be_written_is_named(hub, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ccnet.WeightsError, match=r"the cache cannot be written \(.*\)\. Make room, or give another"):
        find_folder(NAME, cache_dir=tmp_path / "cache")


def test_full_disk_is_named_and_leaves_nothing(hub, files, tmp_path, monkeypatch):
    def fill(*arguments, **options):
        raise OSError(28, os.strerror(28))

    with monkeypatch.context() as patch:
        patch.setattr("huggingface_hub.file_download.http_get", fill)
        with pytest.raises(ccnet.WeightsError, match=r"the cache cannot be written \(No space left on device\)"):
            find_folder(NAME)
    assert not list((tmp_path / "home").rglob("*.incomplete"))
    assert content(find_folder(NAME)) == files


def test_any_sequence_of_faults_ends_with_the_right_files_or_the_error_of_core(hub, files, tmp_path):
    """And whatever it was, the next call without a fault succeeds."""
    faults = [
        *({"status": status} for status in (401, 403, 404, 429, 500, 503)),
        *({"status": 404, "code": code} for code in ("RepoNotFound", "RevisionNotFound", "EntryNotFound")),
        {"status": 403, "code": "GatedRepo"},
        *({"cut": cut} for cut in (0, 100, 1000)),
        {"garbled": True},
    ]
    ended = [0, 0]
    for seed in range(50):
        chance, cache = random.Random(seed), tmp_path / f"cache{seed}"
        hub.large = chance.choice([(), (".safetensors",), (".safetensors", ".json")])
        for _ in range(chance.randint(1, 4)):
            where = chance.choice([API, "/tree/", "HEAD", "GET /org", STORAGE, *files])
            hub.order(where, times=chance.choice([1, 2, 9]), **chance.choice(faults))
        for _ in range(2):
            found = None
            with contextlib.suppress(ccnet.WeightsError):
                found = content(find_folder(NAME, cache_dir=cache))
            assert found in (files, None), seed
            ended[found is None] += 1
        hub.faults.clear()
        assert content(find_folder(NAME, cache_dir=cache)) == files, seed
        assert not list(cache.rglob("*.incomplete")), seed
    assert min(ended) > 10
