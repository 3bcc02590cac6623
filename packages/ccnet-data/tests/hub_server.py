"""What the Hugging Face Hub answers to the client of `datasets`, on the loopback interface: folders as repositories."""

import hashlib
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

COMMIT = "c0ffee" + "0" * 34
REVISIONS = ("main", COMMIT)
GATED = "org/gated"
ROUTE = re.compile(
    r"/(?P<api>api/)?datasets/(?P<name>[^/]+/[^/]+)(/(?P<what>revision|tree|paths-info|resolve)/(?P<rev>[^/]+)/?(?P<path>.*))?"
)


@contextmanager
def serve(folder: Path) -> Iterator[str]:
    """Serve `folder`/org/name as the dataset org/name; give the address. The dataset "org/gated" may not be read."""

    class Handler(_Handler):
        root = folder

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    root: Path

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        route = ROUTE.fullmatch(unquote(urlsplit(self.path).path))
        if route is None:
            return self._answer(404, b"{}")
        folder = self.root / route["name"]
        if route["name"] == GATED:
            return self._refuse(401, "GatedRepo")
        if not folder.is_dir():
            return self._refuse(404, "RepoNotFound")
        if route["rev"] not in (None, *REVISIONS):
            return self._refuse(404, "RevisionNotFound")
        if route["what"] == "resolve":
            return self._file(folder / route["path"])
        if route["what"] == "tree" and not (folder / route["path"]).is_dir():
            return self._refuse(404, "EntryNotFound")
        return self._json(self._facts(route, folder, json.loads(body) if body.startswith(b"{") else {}))

    do_HEAD = do_POST = do_GET  # noqa: N815

    def _facts(self, route: re.Match[str], folder: Path, asked: dict[str, list[str]]) -> object:
        if route["what"] == "tree":
            pattern = "**/*" if "recursive=true" in self.path else "*"
            return [_entry(folder, file) for file in sorted((folder / route["path"]).glob(pattern))]
        if route["what"] == "paths-info":
            return [_entry(folder, folder / path) for path in asked["paths"] if (folder / path).exists()]
        siblings = [{"rfilename": str(file.relative_to(folder))} for file in folder.rglob("*") if file.is_file()]
        return {"id": route["name"], "sha": COMMIT, "private": False, "gated": False, "tags": [], "siblings": siblings}

    def _file(self, file: Path) -> None:
        if not file.is_file():
            return self._refuse(404, "EntryNotFound")
        content = file.read_bytes()
        headers = {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT, "Accept-Ranges": "bytes"}
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if wanted is None:
            return self._answer(200, content, headers)
        first, last = int(wanted[1]), min(int(wanted[2] or len(content)), len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return self._answer(206, content[first : last + 1], headers)

    def _json(self, facts: object) -> None:
        self._answer(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})

    def _refuse(self, status: int, code: str) -> None:
        self._answer(status, b'{"error": "no"}', {"X-Error-Code": code, "X-Error-Message": code})

    def _answer(self, status: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def log_message(self, text: str, *arguments: object) -> None:
        pass


def _entry(folder: Path, file: Path) -> dict[str, object]:
    path = str(file.relative_to(folder))
    if file.is_dir():
        return {"type": "directory", "path": path, "size": 0, "oid": ""}
    content = file.read_bytes()
    return {"type": "file", "path": path, "size": len(content), "oid": hashlib.sha1(content).hexdigest()}
