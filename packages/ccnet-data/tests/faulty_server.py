"""A web server on the loopback interface whose answers go wrong as it is told: files of a folder, by ranges."""

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote

PASSING = ("500", "503", "cut", "reset", "stall", "dribble", "short", "long", "endless", "corrupt", "whole", "empty")
"""What an answer can be, besides "": after it, the same request may succeed."""

STALL = 60
"""Seconds that an answer stalls at most, while the reader waits."""


class FaultyServer:
    """Serves `folder` at `address`. `fault(path, number)` says what is wrong with the answer to the request `number`.

    `requests` has (path, first byte asked for) of every request.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.fault = lambda path, number: ""
        self.requests: list[tuple[str, int]] = []
        self.lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"faulty": self}))
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def answers(self, *faults: str) -> None:
        """Have the next answers go wrong so, one after another; those after them are right."""
        begun = len(self.requests)
        self.fault = lambda path, number: dict(enumerate(faults)).get(number - begun, "")

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@contextmanager
def serve(folder: Path) -> Iterator[FaultyServer]:
    server = FaultyServer(folder)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    faulty: FaultyServer

    def do_GET(self) -> None:
        self.close_connection = True
        path = unquote(self.path).lstrip("/")
        wanted = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        first = int(wanted[1]) if wanted else 0
        with self.faulty.lock:
            fault = self.faulty.fault(path, len(self.faulty.requests))
            self.faulty.requests.append((path, first))
        file = self.faulty.folder / path
        if fault.isdecimal() or not file.is_file():
            self._refuse(int(fault or 404))
        else:
            with suppress(OSError):  # the reader has gone
                self._answer(file.read_bytes(), 0 if fault == "whole" else first, fault)

    def _refuse(self, status: int) -> None:
        self.send_response(status)
        if status == 503:
            self.send_header("Retry-After", "0")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def _answer(self, content: bytes, first: int, fault: str) -> None:
        body = content[first:]
        if fault in ("short", "empty"):
            body = body[: len(body) // 2] if fault == "short" else b""
        elif fault in ("long", "endless"):
            body += b"x" * 100
        elif fault == "corrupt":
            body = bytes([body[0] ^ 1]) + body[1:]
        self.send_response(206 if first else 200)
        if first:
            self.send_header("Content-Range", f"bytes {first}-{len(content) - 1}/{len(content)}")
        if fault != "endless":
            self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        half = body[: len(body) // 2]
        if fault == "cut":
            self.wfile.write(half)
        elif fault == "reset":
            self.wfile.write(half)
            self.connection.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER 0: an RST instead of an orderly end
        elif fault == "stall":
            self.wfile.write(half)
            self.wfile.flush()
            self.connection.settimeout(STALL)
            self.connection.recv(1)  # nothing comes until the reader gives up
        elif fault == "dribble":
            for place in range(0, len(body), max(1, len(body) // 8)):
                self.wfile.write(body[place : place + max(1, len(body) // 8)])
                self.wfile.flush()
                time.sleep(0.02)
        else:
            self.wfile.write(body)

    def log_message(self, text: str, *arguments: object) -> None:
        pass
