import signal
import subprocess
import sys
import urllib.request

import pytest

pytestmark = pytest.mark.browser  # where Gradio is installed


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_when_told_and_leaves_no_file(serve, make_varied, number):
    with serve(make_varied()) as served:
        assert served.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(served.url) as page:
            assert b"CCNet" in page.read()
        assert list(served.files.glob("ccnet-demo-*"))
        served.process.send_signal(number)
        assert served.process.wait(20) == 0
        assert served.process.stdout.read() == "stopped.\n"
        assert not list(served.files.glob("ccnet-demo-*"))


def test_it_asks_itself_only_and_no_proxy(serve, make_varied):
    with serve(make_varied()) as served:
        served.process.terminate()
        served.process.wait(20)
        assert set(served.log.read_text().split()) == {"127.0.0.1"}


STAYS = """
import socket

from ccnet_core.demo.server import _stay_here

_stay_here("127.0.0.1")
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
for place in (("192.0.2.1", 80), ("example.com", 80)):
    try:
        socket.create_connection(place)
    except PermissionError as error:
        print(error)
"""


def test_the_process_can_reach_no_other_machine():
    done = subprocess.run([sys.executable, "-c", STAYS], capture_output=True, text=True)
    expected = [f"{place}: the page asks no other machine" for place in ("192.0.2.1", "example.com")]
    assert (done.stdout.splitlines(), done.stderr) == (expected, "")
