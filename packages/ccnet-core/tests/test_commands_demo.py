import socket
import sys

import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.commands import demo


def test_without_gradio_the_error_says_what_to_install(run, weights, monkeypatch):
    for name in (
        "GRADIO_TEMP_DIR",
        "GRADIO_ANALYTICS_ENABLED",
        "NO_PROXY",
        "no_proxy",
        "ONEDNN_PRIMITIVE_CACHE_CAPACITY",
    ):
        monkeypatch.setenv(name, "")  # so that they are put back
    monkeypatch.setitem(sys.modules, "gradio", None)
    monkeypatch.delitem(sys.modules, "ccnet_core.demo.page", raising=False)
    done = run("demo", "--model", weights)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The page needs Gradio (")
    assert done.stderr.endswith('Install it: python -m pip install "ccnet-core[demo]"\n')


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--port", "x"], "expected a whole number from 1, got 'x'"),
        (["--max-pixels", "0"], "expected a whole number from 1, got '0'"),
        (["--samples", "nowhere"], "nowhere: there is no such file or folder. Check the name."),
    ],
)
def test_mistakes_are_one_line(run, weights, arguments, says):
    done = run("demo", "--model", weights, *arguments)
    assert done.returncode == 2
    assert done.stderr.strip().endswith(says)


def test_a_port_that_is_taken_is_one_line(run, weights):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = run("demo", "--model", weights, "--port", port)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: The page cannot be served on 127.0.0.1, port {port} ([Errno ")
    assert done.stderr.endswith("Give another --host or --port.\n")


@pytest.mark.parametrize("address", [["--host", "192.0.2.1"], ["--host", "no.such.host.invalid"], ["--port", "70000"]])
def test_an_address_that_is_none_of_ours_is_one_line(run, weights, address):
    done = run("demo", "--model", weights, *address)
    assert done.returncode == 2
    assert done.stderr.startswith("error: The page cannot be served on ")
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("runs/a/best", {}, "`a/best`: 4 classes, criss-cross attention, R = 2, on cpu"),
        ("org/name", {"recurrence": 0}, "`org/name`: 4 classes, no attention, on cpu"),
        ("`<b>", {"recurrence": 1}, "`'<b>`: 4 classes, criss-cross attention, R = 1, on cpu"),
    ],
)
def test_the_page_says_which_network_it_asks(name, options, says):
    assert demo.about(name, ccnet.CCNet.from_config("ccnet_tiny", num_classes=4, **options)) == says


def test_samples_are_the_first_pictures_of_the_folder(tmp_path):
    for index in range(demo.MOST_SAMPLES + 2):
        Image.new("RGB", (4, 4)).save(tmp_path / f"{index:02}.png")
    (tmp_path / "notes.txt").write_text("")
    assert demo.samples(tmp_path) == [tmp_path / f"{index:02}.png" for index in range(demo.MOST_SAMPLES)]
    assert demo.samples(None) == []
