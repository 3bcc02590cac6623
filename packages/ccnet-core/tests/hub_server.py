"""What the Hugging Face Hub answers to its client, on the loopback interface, with faults to order.

Two servers, as at the Hub: one for repositories, and one at another address for the content of large files, where the
first sends who asks for them.
"""

import base64
import hashlib
import json
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace
from typing import Any, NamedTuple
from urllib.parse import unquote, urlsplit

MODEL = "/api/models/(?P<repository>[^/]+/[^/]+)"


class Request(NamedTuple):
    method: str
    path: str
    range: str | None
    token: str | None


@dataclass(frozen=True)
class Answer:
    content: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(kw_only=True)
class Fault:
    """What happens to the next `times` requests in whose "METHOD path" the pattern `where` is found.

    They get `status` instead of an answer, or of the answer only `cut` bytes, or its length in other bytes (`garbled`),
    after `delay` seconds, and after `act` was called.
    """

    where: str
    times: int = 1
    status: int = 0
    code: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    cut: int | None = None
    garbled: bool = False
    delay: float = 0.0
    act: Callable[[], object] = lambda: None

    def refusal(self) -> Answer:
        code = {"X-Error-Code": self.code} if self.code else {}
        return Answer(b'{"error": "ordered by the test"}', self.status, self.headers | code)


@dataclass(kw_only=True)
class Repository:
    """`commits` has the files of every commit; `refs` the commit of every branch and tag. All of them stay."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, branch: str, files: dict[str, bytes]) -> str:
        told = json.dumps([len(self.commits), sorted((name, sha1(content)) for name, content in files.items())])
        name = hashlib.sha1(told.encode()).hexdigest()
        self.commits[name] = files
        self.refs[branch] = name
        return name

    def find(self, revision: str) -> str | None:
        found = self.refs.get(revision, revision)
        return found if found in self.commits else None


def sha1(content: bytes) -> str:
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def as_json(content: Any, status: int = 200) -> Answer:
    return Answer(json.dumps(content).encode(), status, {"Content-Type": "application/json"})


def missing(code: str) -> Answer:
    return Answer(b'{"error": "not found"}', 404, {"X-Error-Code": code})


class Hub:
    """Files whose names end with `large` are kept in LFS.

    `requests` has what was asked, in order, and `messages` those of the commits that came in.
    """

    def __init__(self, large: tuple[str, ...] = (".safetensors",)) -> None:
        self.large = large
        self.repositories: dict[str, Repository] = {}
        self.objects: dict[str, bytes] = {}
        self.faults: list[Fault] = []
        self.requests: list[Request] = []
        self.messages: list[str] = []
        self.lock = threading.Lock()
        self.servers: list[tuple[ThreadingHTTPServer, threading.Thread]] = []
        self.address, self.storage = self._serve(), self._serve()

    def _serve(self) -> str:
        handler = type("Handler", (Handler,), {"hub": self})
        server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        self.servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    def stop(self) -> None:
        while self.servers:
            server, thread = self.servers.pop()
            server.shutdown()
            thread.join()
            server.server_close()

    def order(self, where: str, **fault: Any) -> None:
        self.faults.append(Fault(where=where, **fault))

    def take_fault(self, line: str) -> Fault | None:
        with self.lock:
            fault = next((fault for fault in self.faults if fault.times > 0 and re.search(fault.where, line)), None)
            if fault is not None:
                fault.times -= 1
            return fault

    def add(self, repository: str, files: dict[str, bytes], branch: str = "main") -> str:
        """Commit `files`, and make the repository if there is none. Return the name of the commit."""
        return self.repositories.setdefault(repository, Repository()).commit(branch, files)

    def answer(self, method: str, path: str, body: bytes) -> Answer:
        for methods, pattern, reply in ROUTES:
            match = re.fullmatch(pattern, path)
            if match and method in methods:
                named = {key: unquote(value) for key, value in match.groupdict(default="main").items()}
                return self._look_up(named) or reply(self, body=body, **named)
        return missing("")

    def _look_up(self, named: dict[str, Any]) -> Answer | None:
        """Put in the repository and the commit of which `named` speaks, or say that there is none."""
        if "repository" in named:
            named["found"] = self.repositories.get(named["repository"])
            if named["found"] is None:
                return missing("RepoNotFound")
        if "revision" in named:
            named["commit"] = named["found"].find(named["revision"])
            if named["commit"] is None:
                return missing("RevisionNotFound")
        return None

    def info(self, repository: str, found: Repository, commit: str, **_: Any) -> Answer:
        siblings = [{"rfilename": name} for name in found.commits[commit]]
        return as_json({"id": repository, "sha": commit, "private": found.private, "siblings": siblings})

    def tree(self, found: Repository, commit: str, **_: Any) -> Answer:
        return as_json([self._entry(name, content) for name, content in found.commits[commit].items()])

    def _entry(self, name: str, content: bytes) -> dict[str, Any]:
        entry = {"type": "file", "path": name, "size": len(content), "oid": sha1(content)}
        if name.endswith(self.large):
            entry["lfs"] = {"oid": sha256(content), "size": len(content), "pointerSize": 130}
        return entry

    def refs(self, found: Repository, **_: Any) -> Answer:
        branches = [{"name": n, "ref": f"refs/heads/{n}", "targetCommit": c} for n, c in found.refs.items()]
        return as_json({"branches": branches, "tags": [], "converts": []})

    def resolve(self, found: Repository, commit: str, file: str, **_: Any) -> Answer:
        content = found.commits[commit].get(file)
        headers = {"X-Repo-Commit": commit}
        if content is None:
            return Answer(b"", 404, {"X-Error-Code": "EntryNotFound", **headers})
        if not file.endswith(self.large):
            return Answer(content, 200, {"ETag": f'"{sha1(content)}"', **headers})
        digest = sha256(content)
        self.objects[digest] = content
        where = f"{self.storage}/objects/{digest}"
        linked = {"X-Linked-Etag": f'"{digest}"', "X-Linked-Size": str(len(content)), "Location": where}
        return Answer(b"", 302, linked | headers)

    def stored(self, digest: str, **_: Any) -> Answer:
        return Answer(self.objects[digest], 200, {"ETag": '"of-the-storage"'})

    def store(self, digest: str, body: bytes, **_: Any) -> Answer:
        if sha256(body) != digest:
            return as_json({"error": "not what was announced"}, 400)
        self.objects[digest] = body
        return Answer()

    def create(self, body: bytes, **_: Any) -> Answer:
        asked = json.loads(body)
        name = f"{asked['organization']}/{asked['name']}"
        url = {"url": f"{self.address}/{name}", "error": "You already created this model repo"}
        if name in self.repositories:
            return as_json(url, 409)
        self.repositories[name] = Repository(private=asked.get("visibility") == "private")
        self.add(name, {".gitattributes": b""})
        return as_json(url)

    def create_branch(self, found: Repository, branch: str, **_: Any) -> Answer:
        if branch in found.refs:
            return as_json({"error": "Reference already exists"}, 409)
        found.refs[branch] = found.refs["main"]
        return as_json({})

    def validate(self, **_: Any) -> Answer:
        return as_json({"errors": [], "warnings": []})

    def preupload(self, found: Repository, commit: str, body: bytes, **_: Any) -> Answer:
        names = [file["path"] for file in json.loads(body)["files"]]
        return as_json({"files": [self._mode(name, found.commits[commit]) for name in names]})

    def _mode(self, name: str, files: dict[str, bytes]) -> dict[str, Any]:
        large = name.endswith(self.large)
        told = {"path": name, "uploadMode": "lfs" if large else "regular", "shouldIgnore": False}
        if name in files:
            told["oid"] = (sha256 if large else sha1)(files[name])
        return told

    def batch(self, body: bytes, **_: Any) -> Answer:
        objects = [
            {**item, "actions": {"upload": {"href": f"{self.storage}/objects/{item['oid']}"}}}
            for item in json.loads(body)["objects"]
        ]
        return as_json({"transfer": "basic", "objects": objects})

    def commit(self, repository: str, found: Repository, revision: str, commit: str, body: bytes, **_: Any) -> Answer:
        lines = [json.loads(line) for line in body.splitlines()]
        if lines[0]["value"].get("parentCommit") not in (None, commit):
            return as_json({"error": "A commit has happened since"}, 412)
        self.messages.append(lines[0]["value"]["summary"])
        name = found.commit(revision, self._change(found.commits[commit], lines[1:]))
        return as_json({"commitUrl": f"{self.address}/{repository}/commit/{name}", "commitOid": name})

    def _change(self, files: dict[str, bytes], operations: list[dict[str, Any]]) -> dict[str, bytes]:
        files = dict(files)
        for operation in operations:
            key, value = operation["key"], operation["value"]
            if key == "deletedFile":
                del files[value["path"]]
            elif key == "lfsFile":
                files[value["path"]] = self.objects[value["oid"]]
            else:
                files[value["path"]] = base64.b64decode(value["content"])
        return files


FILE = "/(?P<repository>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<file>.+)"

ROUTES = [
    (("HEAD", "GET"), FILE, Hub.resolve),
    (("HEAD", "GET"), "/objects/(?P<digest>[^/]+)", Hub.stored),
    (("PUT",), "/objects/(?P<digest>[^/]+)", Hub.store),
    (("GET",), f"{MODEL}(?:/revision/(?P<revision>[^/]+))?", Hub.info),
    (("GET",), f"{MODEL}/tree/(?P<revision>[^/]+)", Hub.tree),
    (("GET",), f"{MODEL}/refs", Hub.refs),
    (("POST",), "/api/repos/create", Hub.create),
    (("POST",), f"{MODEL}/branch/(?P<branch>[^/]+)", Hub.create_branch),
    (("POST",), "/api/validate-yaml", Hub.validate),
    (("POST",), f"{MODEL}/preupload/(?P<revision>[^/]+)", Hub.preupload),
    (("POST",), "/(?P<repository>[^/]+/[^/]+).git/info/lfs/objects/batch", Hub.batch),
    (("POST",), f"{MODEL}/commit/(?P<revision>[^/]+)", Hub.commit),
]
"""Methods, path (without the query), and who answers."""


class Handler(BaseHTTPRequestHandler):
    hub: Hub

    def answer(self) -> None:
        path = urlsplit(self.path).path
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ") or None
        self.hub.requests.append(Request(self.command, path, self.headers.get("Range"), token))
        fault = self.hub.take_fault(f"{self.command} {path}") or Fault(where="")
        time.sleep(fault.delay)
        fault.act()
        answer = fault.refusal() if fault.status else self.hub.answer(self.command, path, body)
        if fault.garbled:
            answer = replace(answer, content=bytes(255 - byte for byte in answer.content))
        try:
            self._send(self._in_part(answer), fault.cut)
        except ConnectionError:  # the client does not wait for what was delayed
            self.close_connection = True

    do_GET = do_HEAD = do_POST = do_PUT = answer  # noqa: N815

    def _in_part(self, answer: Answer) -> Answer:
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range") or "")
        if not asked or answer.status != 200:
            return answer
        start, size = int(asked[1]), len(answer.content)
        told = {"Content-Range": f"bytes {start}-{size - 1}/{size}"}
        return Answer(answer.content[start:], 206, answer.headers | told)

    def _send(self, answer: Answer, cut: int | None) -> None:
        self.send_response(answer.status)
        for key, value in answer.headers.items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(answer.content)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.content[:cut])

    def log_message(self, *arguments: Any) -> None:
        pass


def point_client_at(hub: Hub, home: Any, monkeypatch: Any) -> list[float]:
    """Make the client of this process ask `hub`, and note the seconds that it would have slept instead of sleeping.

    The client reads its environment when it is imported.
    """
    from huggingface_hub import constants, utils

    slept: list[float] = []
    clock = SimpleNamespace(sleep=slept.append)
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(constants, "ENDPOINT", hub.address)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(home / "hub"))
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(home / "token"))
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time", clock)
    monkeypatch.setattr("huggingface_hub.file_download.time", clock)
    utils.close_session()
    return slept
