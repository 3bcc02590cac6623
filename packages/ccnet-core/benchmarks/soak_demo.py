"""Whether the memory or the disk of `ccnet demo` grows when its page is used at random for an hour.

`python benchmarks/soak_demo.py --minutes 60 [--out FILE.csv]` starts the command in a process of its own, on the
loopback interface, with random weights of a small network, and asks it what a browser asks, by HTTP: pages opened and
left, pictures of many sizes, every way of segmenting, clicks, and files that must be refused. It prints a line a
minute: requests, errors that were asked for, resident memory of the server, bytes of its temporary files.
"""

import argparse
import csv
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from PIL import Image

import ccnet_core as ccnet

PICTURES_OF_A_VISIT = 4

EDGES = (100, 600)
"""Of the pictures, in pixels. Every tenth click or so is outside."""


class Visit:
    """An open page: the requests that its scripts send."""

    def __init__(self, client: httpx.Client, config: dict[str, Any]) -> None:
        self.client, self.session = client, uuid.uuid4().hex[:12]
        self.functions = {made["api_name"]: made["id"] for made in config["dependencies"]}

    def upload(self, content: bytes, name: str) -> dict[str, Any] | None:
        """Return how later requests name the file, or None if it was too large."""
        answer = self.client.post("gradio_api/upload", files={"files": (name, content)})
        if answer.status_code == httpx.codes.REQUEST_ENTITY_TOO_LARGE:
            return None
        path = answer.raise_for_status().json()[0]
        return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}

    def ask(self, function: str, data: list[Any], event: dict[str, int] | None = None) -> dict[str, Any]:
        """Return what the server says of a call when it has come to an end."""
        call = {"data": data, "event_data": event, "fn_index": self.functions[function], "session_hash": self.session}
        self.client.post("gradio_api/queue/join", json=call).raise_for_status()
        with self.client.stream("GET", "gradio_api/queue/data", params={"session_hash": self.session}) as lines:
            for line in lines.iter_lines():
                if line.startswith("data:") and (told := json.loads(line[5:]))["msg"] == "process_completed":
                    return dict(told)
        raise RuntimeError(f"{function}: the server fell silent")


def picture(generator: np.random.Generator, kind: str) -> bytes:
    """Return a file of coarse noise, of a random size and format."""
    height, width = generator.integers(*EDGES, 2)
    coarse = generator.integers(0, 256, (6, 8, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize((int(width), int(height)), Image.Resampling.BICUBIC)
    buffer = io.BytesIO()
    image.save(buffer, format=kind)
    return buffer.getvalue()


def visit(client: httpx.Client, generator: np.random.Generator, done: Counter[str]) -> None:
    """Open the page, segment a few pictures in random ways, click on them, and leave."""
    client.get("").raise_for_status()
    config = client.get("config").raise_for_status().json()
    guest = Visit(client, config)
    ways = next(part["props"]["choices"] for part in config["components"] if part["type"] == "radio")
    with client.stream("GET", f"gradio_api/heartbeat/{guest.session}"):
        for _ in range(PICTURES_OF_A_VISIT):
            content, name = _file(generator)
            file = guest.upload(content, name)
            if file is None:
                done["too large"] += 1
                continue
            way = ways[generator.integers(len(ways))][1]
            shown = guest.ask("segment", [file, way])["output"]["data"][0]
            done["refused" if "error" in shown else "segmented"] += 1
            for _ in range(generator.integers(3)):
                point = {axis: int(generator.integers(EDGES[generator.random() < 0.1])) for axis in "xy"}
                done["clicked" if guest.ask("attend", [file], point)["success"] else "click refused"] += 1


def _file(generator: np.random.Generator) -> tuple[bytes, str]:
    kind = str(generator.choice(["PNG", "PNG", "JPEG", "JPEG", "WEBP", "BMP", "TIFF", "text", "cut", "large"]))
    if kind == "text":
        return b"not a picture", "text.png"
    if kind == "large":
        return bytes(3_000_000), "large.png"
    if kind == "cut":
        content = picture(generator, "PNG")
        return content[: len(content) // 2], "cut.png"
    return picture(generator, kind), f"noise.{kind.lower()}"


@contextmanager
def server(folder: Path) -> Iterator[tuple[int, str]]:
    """Run `ccnet demo` with its temporary files below `folder`; give its process and its address."""
    weights = folder / "weights"
    ccnet.CCNet.from_config("ccnet_small", num_classes=11).save_pretrained(weights)
    (folder / "tmp").mkdir()
    limits = ["--max-upload", "2", "--max-pixels", "300000"]
    command = [sys.executable, "-m", "ccnet_core", "demo", "--model", str(weights), "--device", "cpu", *limits]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=os.environ | {"TMPDIR": str(folder / "tmp")}
    )
    assert process.stdout is not None
    try:
        yield process.pid, process.stdout.readline().split()[0]
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        left = [path for path in (folder / "tmp").rglob("*") if path.is_file() and "ccnet-demo" in str(path)]
        print(f"ended with {code}; {len(left)} files left")


def resident(process: int) -> float:
    """Return the megabytes of memory that a process holds."""
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("VmRSS:"))


def main() -> None:
    """Use the page, print a line a minute, and how memory went in the second half."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, help="CSV to write")
    options = parser.parse_args()
    generator, done, rows = np.random.default_rng(options.seed), Counter[str](), []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        process, url = stack.enter_context(server(folder))
        client = stack.enter_context(httpx.Client(base_url=url, timeout=120, trust_env=False))
        start = time.monotonic()
        while (minute := (time.monotonic() - start) / 60) < options.minutes:
            visit(client, generator, done)
            done["pages"] += 1
            if minute >= len(rows):
                disk = sum(path.stat().st_size for path in (folder / "tmp").rglob("*") if path.is_file()) / 1e6
                rows.append(
                    {"minute": round(minute, 1), "rss_mb": resident(process), "disk_mb": round(disk, 2), **done}
                )
                print(rows[-1], flush=True)
    half = rows[len(rows) // 2 :]  # of a run of four minutes or more
    slope = np.polyfit([row["minute"] for row in half], [row["rss_mb"] for row in half], 1)[0]
    print(f"second half: {half[0]['rss_mb']:.0f} to {half[-1]['rss_mb']:.0f} MB, {60 * slope:+.1f} MB an hour")
    if options.out:
        with options.out.open("w", newline="") as file:
            table = csv.DictWriter(file, fieldnames=list(rows[-1]), restval=0)
            table.writeheader()
            table.writerows(rows)


if __name__ == "__main__":
    main()
