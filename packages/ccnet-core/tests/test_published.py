"""Published files over a real HTTP server on the loopback interface."""

import dataclasses
import hashlib
import http.server
import os
import subprocess
import sys
import threading
import time

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core import zoo
from ccnet_core.config import Published
from ccnet_core.published import MIRROR_VARIABLE, SERVER, find_published

NAME = "ccnet_tiny"
FOLDER = "/mmsegmentation/ccnet/"


class Server:
    """Serves `files` by path, after `delay` seconds; `truncated` ends every answer before its announced length.

    `stall` seconds pass in the middle of an answer. `asked` has all requests.
    """

    def __init__(self):
        self.files, self.asked, self.truncated, self.delay, self.stall = {}, [], False, 0, 0
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.asked.append(self.path)
                time.sleep(server.delay)
                content = server.files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write((content or b"")[:1000])
                time.sleep(server.stall)
                if not server.truncated:
                    self.wfile.write((content or b"")[1000:])

            def log_message(self, *arguments):
                pass

        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.02,))
        self.thread.start()

    def stop(self):
        if self.thread.is_alive():
            self.http.shutdown()
            self.thread.join()
            self.http.server_close()


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setenv(MIRROR_VARIABLE, server.address)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    yield server
    server.stop()


@pytest.fixture
def content(tiny, mmseg_state, tmp_path):
    """The bytes of a published file of `tiny`."""
    meta = {"CLASSES": tuple("abcd")}
    path = tmp_path / "original.pth"
    torch.save({"state_dict": mmseg_state(tiny), "meta": meta}, path, _use_new_zipfile_serialization=False)
    return path.read_bytes()


@pytest.fixture
def file_name(server, content, monkeypatch):
    """The name of the published file, for a zoo in which `ccnet_tiny` was published."""
    file_name = f"ccnet_tiny_20200616_142517-{hashlib.sha256(content).hexdigest()[:8]}.pth"
    publish(monkeypatch.setattr, SERVER + FOLDER + file_name)
    server.files[FOLDER + file_name] = content
    return file_name


def publish(setattr_, url):
    figures = Published(dataset="beacon", crop=(8, 8), iterations=1, miou=50.0, miou_ms_flip=None, checkpoint=url)
    config = dataclasses.replace(zoo.load_config(NAME), published=figures)
    setattr_(zoo, "load_config", lambda name: config)


def load(cache, **options):
    return ccnet.CCNet.from_pretrained(NAME, cache_dir=cache, **options)


def assert_same(model, tiny):
    assert not model.training
    for name, tensor in tiny.state_dict().items():
        assert torch.equal(model.state_dict()[name], tensor), name


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_published_file_is_fetched_converted_and_kept_as_a_folder(server, file_name, tiny, tmp_path):
    cache = tmp_path / "cache"
    assert_same(load(cache), tiny)
    assert names(cache) == [file_name.removesuffix(".pth")]
    assert server.asked == [FOLDER + file_name]
    folder = cache / file_name.removesuffix(".pth")
    card = (folder / "README.md").read_text()
    assert "value: 0.5" in card
    assert "license: apache-2.0\n" in card
    assert (folder / "picture.png").is_file()


def test_second_load_needs_no_network(server, file_name, tiny, tmp_path):
    load(tmp_path / "cache")
    server.stop()
    assert_same(load(tmp_path / "cache"), tiny)
    assert_same(load(tmp_path / "cache", local_files_only=True), tiny)


def test_file_that_lies_in_the_cache_is_used_and_kept(server, file_name, content, tiny, tmp_path):
    (tmp_path / file_name).write_bytes(content)
    assert_same(load(tmp_path, local_files_only=True), tiny)
    assert (tmp_path / file_name).read_bytes() == content
    assert server.asked == []


def test_cache_is_where_torch_hub_and_mmengine_keep_theirs(file_name, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert find_published(NAME, ccnet.CCNet) == tmp_path / "hub" / "checkpoints" / file_name.removesuffix(".pth")


def test_folder_of_that_name_wins(server, file_name, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    tiny.save_pretrained(NAME)
    assert_same(load(tmp_path / "cache"), tiny)
    assert server.asked == []


def test_other_classes_may_be_asked_for(file_name, tmp_path):
    assert load(tmp_path / "cache", num_classes=7).config.num_classes == 7


def fail_hash(server, path):
    server.files[path] = server.files[path][:-1] + b"x"


def cut_short(server, path):
    server.truncated = True


def remove(server, path):
    server.files.clear()


def stop(server, path):
    server.stop()


def keep_silent(server, path):
    server.delay = 2


def stall(server, path):
    server.stall = 2


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (keep_silent, "cannot be fetched .*timed out"),
        (stall, "cannot be fetched .*timed out"),
        (fail_hash, "what came is damaged or another file"),
        (cut_short, "what came is damaged or another file"),
        (remove, "cannot be fetched .*404"),
        (stop, "cannot be fetched .*refused"),
    ],
)
def test_failed_download_says_what_to_put_where_and_leaves_nothing(
    server, file_name, tmp_path, monkeypatch, fault, message
):
    monkeypatch.setattr("ccnet_core.published.TIMEOUT", 0.5)
    fault(server, FOLDER + file_name)
    with pytest.raises(ccnet.WeightsError, match=message) as caught:
        load(tmp_path / "cache")
    assert f"Put the file {SERVER}{FOLDER}{file_name} at {tmp_path / 'cache' / file_name}" in str(caught.value)
    assert f"ccnet convert FILE.pth --model {NAME} --out FOLDER" in str(caught.value)
    assert names(tmp_path / "cache") == []


def test_nothing_is_fetched_where_only_local_files_are_allowed(server, file_name, tmp_path):
    with pytest.raises(ccnet.WeightsError, match=r"not in the cache, and nothing may be fetched\. Put the file http"):
        load(tmp_path / "cache", local_files_only=True)
    assert server.asked == []


def test_wrong_file_in_the_cache_is_named_and_kept(file_name, tmp_path):
    (tmp_path / file_name).write_bytes(b"something else")
    with pytest.raises(ccnet.WeightsError, match=r"damaged or another file: its SHA-256 begins with f41f3fa6"):
        load(tmp_path)
    assert (tmp_path / file_name).read_bytes() == b"something else"


def test_folder_that_cannot_be_written_is_named(file_name, tmp_path):
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(ccnet.WeightsError, match=r"cache: cannot be written .*give another cache_dir"):
        load(tmp_path / "cache")


def test_full_disk_is_named_and_leaves_nothing(file_name, tmp_path, monkeypatch):
    def fill(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ccnet_core.shards.save_file", fill)
    with pytest.raises(ccnet.WeightsError, match=r"cannot be written .*No space left on device.* Make room"):
        load(tmp_path / "cache")


LOADER = """
import sys
from test_published_by_path import publish
import ccnet_core as ccnet
publish(setattr, sys.argv[2])
print("ready", flush=True)
input()
print(ccnet.CCNet.from_pretrained("ccnet_tiny", cache_dir=sys.argv[1]).config.classes)
"""


def test_processes_at_the_same_time_fetch_once(server, file_name, tmp_path):
    (tmp_path / "test_published_by_path.py").symlink_to(__file__)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]), "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-c", LOADER, str(tmp_path / "cache"), SERVER + FOLDER + file_name]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    processes = [subprocess.Popen(command, env=environment, **pipes) for _ in range(2)]
    server.delay = 2
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    assert [process.communicate()[0] for process in processes] == ["('a', 'b', 'c', 'd')\n"] * 2
    assert server.asked == [FOLDER + file_name]
    assert names(tmp_path / "cache") == [file_name.removesuffix(".pth")]


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("ccnet_small", "ccnet_small: there are no published weights"),
        (
            "ccnet_r101-d8_authors",
            r"its file needs a browser\. Fetch https://drive\.google\.com/.*, then run: ccnet convert",
        ),
    ],
)
def test_model_whose_file_cannot_be_fetched_says_why(server, name, message):
    with pytest.raises(ccnet.WeightsError, match=message):
        ccnet.CCNet.from_pretrained(name)
    assert server.asked == []


def test_revision_of_a_published_model_is_refused():
    with pytest.raises(ccnet.ConfigError, match=r"which has no revisions\. Leave revision out"):
        ccnet.CCNet.from_pretrained(NAME, revision="main")


def test_mirror_must_be_an_address(file_name, monkeypatch, tmp_path):
    monkeypatch.setenv(MIRROR_VARIABLE, "mirror.example")
    with pytest.raises(ccnet.WeightsError, match=r"CCNET_MIRROR is 'mirror\.example': expected https://HOST"):
        load(tmp_path)
