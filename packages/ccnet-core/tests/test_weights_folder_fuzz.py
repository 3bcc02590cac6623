"""Mutated weights folders: each one loads, or is refused in a sentence that names a file; nothing else happens."""

import contextlib
import json
import os
import random
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import ccnet_core as ccnet
from ccnet_core.config import AuxiliaryHeadConfig, BackboneConfig, CCNetConfig, HeadConfig

COUNT = 1500
"""Mutated folders of each kind: one file of tensors, or shards; the slow run has ten times as many."""

SMALL = CCNetConfig(
    name="small",
    classes=("a", "b"),
    palette=((0, 0, 0), (255, 0, 0)),
    backbone=BackboneConfig(
        block="basic", depths=(1,), width=4, stem_channels=(4,), strides=(1,), dilations=(1,), contract_dilation=False
    ),
    head=HeadConfig(channels=8, kernel_size=1),
    auxiliary=AuxiliaryHeadConfig(stage=0, channels=4),
)
SECONDS = 5
"""Of work for one folder; a file that is waited for may take ten times as long, as the machine may be busy."""

UNREAD = ("README.md", "picture.png", "preprocessor_config.json")

NUMBERS = [0, 1, -1, 2, 3, 7, 8, 255, 256, 2**16, 2**16 + 1, 2**31 - 1, 2**32, 2**63, 2**64, 10**30, 10**400]
SCALARS = [
    *(None, True, False, 0.5, -0.0, 1e-320, 1e308, float("nan"), float("inf"), "", "x", "\0", "\ud800", "é" * 300),
    *("NaN", "1e9", "model-00001-of-00002.safetensors", "../config.json", "/etc/passwd", "F32", "BF16", "I64", "F4"),
]
Json = object
Folder = dict[str, bytes | Callable[[Path], None]]
"""What is written for each name: bytes, or what a call makes at the path."""


def weird(rng):
    """Any JSON value: mostly a number or text, sometimes a deep or a long one."""
    match rng.randrange(12):
        case 0:
            deep: Json = rng.choice(SCALARS)
            for _ in range(rng.choice([1, 3, 300, 900, 5000])):
                deep = [deep] if rng.random() < 0.5 else {"a": deep}
            return deep
        case 1:
            return [rng.choice([0, "a", {}])] * rng.choice([3, 1000, 100_000])
        case 2:
            return {str(number): number for number in range(rng.choice([0, 2, 2000]))}
        case 3 | 4 | 5 | 6:
            return rng.choice([1, -1]) * rng.choice(NUMBERS)
        case _:
            return rng.choice([*SCALARS, []])


def places(value: Json) -> list[tuple[dict | list, object]]:
    """Every (container, key) inside a JSON value."""
    inside: list[tuple[dict | list, object]] = []
    todo = [value]
    while todo:
        container = todo.pop()
        keys = (
            container if isinstance(container, dict) else range(len(container)) if isinstance(container, list) else ()
        )
        for key in keys:
            inside.append((container, key))
            todo.append(container[key])
    return inside


def change_json(text: bytes, rng) -> bytes:
    """Change one to three values, keys or lists of a JSON text, by its structure."""
    value = json.loads(text)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        inside = places(value)
        if not inside:
            break
        container, key = rng.choice(inside)
        match rng.randrange(8):
            case 0 if isinstance(container, dict):
                container[rng.choice([key[:-1], key + "s", key.upper(), "", "x" * 5000, "é\n"])] = container.pop(key)
            case 1:
                del container[key]
            case 2:
                other, other_key = rng.choice(inside)
                container[key] = json.loads(json.dumps(other[other_key]))
            case 3 if isinstance(container, list) and len(container) < 1000:
                container *= rng.choice([0, 2, 100])
            case 4 if isinstance(container[key], int | float):
                container[key] += rng.choice([-1, 1, 0.5, 4, -4, 8])
            case _:
                container[key] = weird(rng)
    try:
        changed = json.dumps(value)
    except RecursionError:
        changed = "[" * 5000 + "]" * 5000
    if rng.random() < 0.1:  # a key twice
        changed = changed.replace("{", '{"format_version": 1, ', 1)
    return changed.encode()


def change_bytes(content: bytes, rng, upto: int | None = None) -> bytes:
    """Flip, overwrite, cut, repeat or insert bytes in the first `upto`."""
    changed = bytearray(content)
    for _ in range(rng.choice([1, 1, 2, 5])):
        at = rng.randrange(min(upto or len(changed), len(changed)) + 1) if changed else 0
        match rng.randrange(6):
            case 0 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 1:
                changed[at : at + 4] = rng.randbytes(rng.randrange(1, 9))
            case 2:
                del changed[at:]
            case 3:
                del changed[at : at + rng.choice([1, 8, 100, 5000])]
            case 4:
                changed[at:at] = changed[at : at + rng.choice([1, 8, 5000])] * rng.choice([1, 2, 50])
            case _:
                changed[at : at + 8] = rng.choice(NUMBERS[:-2]).__mod__(2**64).to_bytes(8, "little")
    return bytes(changed)


def header_end(content: bytes) -> int:
    return 8 + int.from_bytes(content[:8], "little")


def change_header(content: bytes, rng) -> bytes:
    """Change the header of a safetensors file by its structure, and its length with it."""
    end = header_end(content)
    if rng.random() < 0.2:
        kinds = [b'"U32"', b'"I32"', b'"F16"', b'"F64"', b'"BOOL"', b'"F4"']
        header = content[8:end].replace(b'"F32"', rng.choice(kinds), rng.choice([1, 99]))
    else:
        header = change_json(content[8:end], rng)
    return len(header).to_bytes(8, "little") + header + content[end:]


def change_header_bytes(content: bytes, rng) -> bytes:
    """Change bytes where a safetensors file says what is in it."""
    return change_bytes(content, rng, header_end(content))


def spoil_numbers(content: bytes, rng) -> bytes:
    """Write special numbers into the tensors."""
    changed = bytearray(content)
    at = rng.randrange(header_end(content), len(content) - 4) & ~3
    special = [b"\0\0\xc0\x7f", b"\0\0\x80\x7f", b"\0\0\x80\xff", b"\xff\xff\x7f\x7f", b"\1\0\0\0", rng.randbytes(4)]
    changed[at : at + 4] = rng.choice(special)
    return bytes(changed)


def link(target: str) -> Callable[[Path], None]:
    return lambda path: path.symlink_to(target)


def change_files(folder: Folder, rng) -> None:
    """Remove, exchange, copy or replace files by what is none."""
    one, other = rng.choice(sorted(folder)), rng.choice(sorted(folder))
    targets = [one, other, "nowhere", "..", ".", "/dev/null", "/dev/zero", "/etc/hostname", "/proc/self/mem"]
    match rng.randrange(6):
        case 0:
            del folder[one]
        case 1:
            folder[one], folder[other] = folder[other], folder[one]
        case 2:
            names = ["model.safetensors", "model-00003-of-00003.safetensors", "model.safetensors.index.json", "x"]
            folder[rng.choice(names)] = folder[one]
        case 3:
            folder[one] = rng.choice([Path.mkdir, os.mkfifo])
        case 4:
            folder[one] = link(rng.choice(targets))
        case _:
            folder[one] = b""


def mutate(original: Folder, rng) -> Folder:
    """Change a folder in one or two ways."""
    folder = dict(original)
    for _ in range(rng.choice([1, 1, 1, 2])):
        names = sorted(name for name, content in folder.items() if isinstance(content, bytes) and content)
        name = rng.choice(rng.choice([names, [name for name in names if name not in UNREAD] or names]))
        content = folder[name]
        tensors = name.endswith(".safetensors") and header_end(content) < len(content) - 8
        try:
            if rng.random() < 0.15:
                change_files(folder, rng)
            elif tensors:
                change = rng.choice([change_header, change_header, change_header_bytes, change_bytes, spoil_numbers])
                folder[name] = change(content, rng)
            elif name.endswith(".json") and rng.random() < 0.7:
                folder[name] = change_json(content, rng)
            else:
                folder[name] = change_bytes(content, rng)
        except (ValueError, RecursionError):  # a second change of what is no JSON any more
            folder[name] = change_bytes(content, rng)
    return folder


def write(folder: Folder, path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir()
    for name, content in folder.items():
        if isinstance(content, bytes):
            (path / name).write_bytes(content)
        else:
            content(path / name)


def state_of(path: Path) -> dict[str, object]:
    return {
        entry.name: (entry.lstat().st_mode, entry.lstat().st_size, entry.lstat().st_mtime_ns)
        for entry in path.iterdir()
    }


class OutOfTimeError(BaseException):
    """A folder took too long."""


def out_of_time(*_):
    raise OutOfTimeError(f"more than {SECONDS} seconds of work, or ten times as long waited")


@contextlib.contextmanager
def little_time():
    """Raise OutOfTimeError in a block that takes too long."""
    clocks = {signal.SIGPROF: (signal.ITIMER_PROF, SECONDS), signal.SIGALRM: (signal.ITIMER_REAL, 10 * SECONDS)}
    before = {name: signal.signal(name, out_of_time) for name in clocks}
    try:
        for clock, seconds in clocks.values():
            signal.setitimer(clock, seconds)
        yield
    finally:
        for clock, _ in clocks.values():
            signal.setitimer(clock, 0)
        for name, handler in before.items():
            signal.signal(name, handler)


def load_mutants(original: Folder, path: Path, seed: int, count: int) -> tuple[int, list[str]]:
    """Load `count` mutated folders; return how many loaded, and the messages of the others."""
    rng, messages = random.Random(seed), []
    for number in range(count):
        write(mutate(original, rng), path)
        state = state_of(path)
        try:
            with little_time():
                model = ccnet.CCNet.from_pretrained(path)
            assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
        except ccnet.CCNetError as error:
            messages.append(str(error))
        except BaseException as error:
            error.add_note(f"seed {seed}, folder {number}")
            raise
        assert state_of(path) == state
    return count - len(messages), messages


@pytest.fixture(params=["one file", "shards"])
def original(request, tmp_path) -> Folder:
    model = ccnet.CCNet(SMALL)
    size = "5GB" if request.param == "one file" else int(sum(t.nbytes for t in model.state_dict().values()) / 1.5)
    model.save_pretrained(tmp_path / "original", max_shard_size=size)
    folder = {path.name: path.read_bytes() for path in (tmp_path / "original").iterdir()}
    assert len(folder) == (5 if request.param == "one file" else 7)
    return folder


def check(original, tmp_path, seed):
    loaded, messages = load_mutants(original, tmp_path / "mutant", seed, COUNT)
    assert [message for message in messages if str(tmp_path / "mutant") not in message[:300]] == []
    # Neither are all refused, which would test nothing but the first check, nor are the changes without effect.
    assert COUNT / 20 < loaded < COUNT * 2 / 3
    assert len({message.rpartition(":")[2] for message in messages}) > COUNT / 20
    for name in original.keys() - set(UNREAD):
        assert any(f"/{name}" in message for message in messages), name


def test_mutated_folder_is_loaded_or_refused(original, tmp_path, little_memory):
    check(original, tmp_path, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
def test_many_mutated_folders_are_loaded_or_refused(original, tmp_path, little_memory, seed):
    check(original, tmp_path, seed)
