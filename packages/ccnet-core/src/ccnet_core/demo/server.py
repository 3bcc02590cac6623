"""The server of the page: on this machine only, without a word to others, and its files gone when it ends."""

import os
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ccnet_core.demo.answers import Answers
from ccnet_core.demo.page import build
from ccnet_core.errors import CCNetError

LOOPBACK = ("127.0.0.1", "localhost", "::1", "[::1]")

SESSIONS = 20
"""Open pages whose last answer Gradio keeps in memory; an older page loses nothing that can be seen."""


def serve(
    answers: Answers, *, host: str, port: int | None, largest_file: int, samples: Sequence[Path], about: str
) -> None:
    """Serve the page until Ctrl-C or SIGTERM, and print where. A file has at most `largest_file` bytes.

    Raises CCNetError without Gradio and where `host` and `port` cannot be listened to.
    """
    _require_address(host, port)
    with tempfile.TemporaryDirectory(prefix="ccnet-demo-") as folder:
        _prepare(folder)
        try:
            import gradio as gr
        except ImportError as error:
            raise CCNetError(
                f'The page needs Gradio ({error}). Install it: python -m pip install "ccnet-core[demo]"'
            ) from None
        page = build(answers, samples, about)
        _stay_here(host)
        stop = threading.Event()
        before = {number: signal.signal(number, lambda *_: stop.set()) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            page.launch(
                server_name=host,
                server_port=port,
                max_file_size=largest_file,
                theme=gr.themes.Default(font=("system-ui", "sans-serif"), font_mono=("monospace",)),
                allowed_paths=[str(sample) for sample in samples],
                state_session_capacity=SESSIONS,
                share=False,
                ssr_mode=False,
                pwa=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
                quiet=True,
                show_error=True,
                prevent_thread_lock=True,
            )
            _announce(host, page.local_url)
            stop.wait()
        finally:
            page.close(verbose=False)
            for number, handler in before.items():
                signal.signal(number, handler)
    print("stopped.")


def _require_address(host: str, port: int | None) -> None:
    """Fail here, in a sentence: Gradio would try a hundred ports for five seconds each."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind((address[0], port or 0))
    except (OSError, OverflowError) as error:
        where = host if port is None else f"{host}, port {port}"
        raise CCNetError(f"The page cannot be served on {where} ({error}). Give another --host or --port.") from None


def _prepare(folder: str) -> None:
    """Tell Gradio, before it is imported, where its files belong, and that it is to ask no one."""
    os.environ["GRADIO_TEMP_DIR"] = folder
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    # It asks itself whether it has started, and must not ask a proxy for that.
    there = [os.environ.get("NO_PROXY") or os.environ.get("no_proxy", ""), *LOOPBACK[:2]]
    os.environ["NO_PROXY"] = os.environ["no_proxy"] = ",".join(filter(None, there))


def _stay_here(host: str) -> None:
    """Let this process talk to no other machine: of a file named by a web address, Gradio would fetch it."""
    here = {*LOOPBACK, host}

    def refuse(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "socket.getaddrinfo":
            asked = arguments[0]
        elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
            asked = arguments[1][0]
        else:
            return
        if asked is not None and (asked.decode() if isinstance(asked, bytes) else asked) not in here:
            raise PermissionError(f"{asked}: the page asks no other machine")

    sys.addaudithook(refuse)


def _announce(host: str, url: str | None) -> None:
    reach = "this machine only" if host in LOOPBACK else "all who reach this machine; there is no password"
    print(f"{url} ({reach}; Ctrl-C ends)", flush=True)
