"""Mutated checkpoints through the whole conversion: success or ccnet_core's own error, and nothing else happens."""

import contextlib
import io
import logging
import pickle
import pickletools
import random
import signal
import sys
import zipfile
from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from safetensors.torch import save

import ccnet_core as ccnet

COUNT = 600
"""Mutated files of each kind; the slow run has ten times as many."""

CALLS = [
    b"ccanary\nrun\n)R",
    b"\x8c\x06canary\x8c\x03run\x93)R",
    b"cos\nsystem\nX\x0c\x00\x00\x00touch canary\x85R",
    b"cposix\nsystem\nX\x0c\x00\x00\x00touch canary\x85R",
    b"cbuiltins\neval\nX\x14\x00\x00\x00__import__('canary')\x85R",
    b"c__builtin__\nexec\nX\x0d\x00\x00\x00import canary\x85R",
    b"cbuiltins\ngetattr\nccanary\nrun\nX\x08\x00\x00\x00__call__\x86R)R",
    b"ctorch\nload\nX\x04\x00\x00\x00file\x85R",
    b"ctorch\nTensor\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R",
    b"cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x01\x85R",
    b"ctorch._utils\n_rebuild_tensor_v2\n)R",
    b"(K\x01K\x02tQ",
]
"""Programs for the stack machine of pickle that leave one value; an unpickler would run them."""

GLOBALS = [
    *(b"collections\nOrderedDict", b"torch._utils\n_rebuild_tensor_v2", b"torch\nFloatStorage", b"torch\nLongStorage"),
    *(b"canary\nrun", b"os\nsystem", b"builtins\neval", b"torch\nload", b"torch\nFloatTensor", b"builtins\nbytearray"),
]
NUMBERS = [0, 1, 2, 2**7 - 1, 2**7, 2**8 - 1, 2**15, 2**16 - 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 2**64 - 1]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """A part of a checkpoint that is mutated, and how a file is made of it again.

    `starts` are where instructions or fields begin, `ends_of_items` where one more item can be put into a dict.
    """

    content: bytes
    starts: list[int]
    ends_of_items: list[int]
    rebuild: Callable[[bytes], bytes]


@pytest.fixture
def kinds(tiny, mmseg_state):
    state = mmseg_state(tiny)
    meta = {"CLASSES": tuple("abcd"), "PALETTE": [[1, 2, 3]] * 4, "epoch": 3, "time": "Tue"}
    zipped, legacy, tensors = io.BytesIO(), io.BytesIO(), save(state)
    torch.save({"state_dict": state, "meta": meta}, zipped)
    torch.save({"state_dict": state, "meta": meta}, legacy, _use_new_zipfile_serialization=False)
    with zipfile.ZipFile(zipped) as archive:
        entries = {name: archive.read(name) for name in archive.namelist()}
        directory = archive.start_dir
    header = 8 + int.from_bytes(tensors[:8], "little")
    pickle_ = next(content for name, content in entries.items() if name.endswith("data.pkl"))

    def with_pickle(content):
        stream = io.BytesIO()
        with zipfile.ZipFile(stream, "w") as archive:
            for name, original in entries.items():
                archive.writestr(name, content if name.endswith("data.pkl") else original)
        return stream.getvalue()

    def with_header(content):
        return len(content).to_bytes(8, "little") + content + tensors[header:]

    archive_starts = [*range(64), *range(directory, len(zipped.getvalue()))]
    return {
        "archive": Kind(content=zipped.getvalue(), starts=archive_starts, ends_of_items=[], rebuild=bytes),
        "pickle in an archive": pickled(pickle_, with_pickle),
        "pickles in a row": pickled(legacy.getvalue(), bytes),
        "safetensors": Kind(content=tensors, starts=list(range(header)), ends_of_items=[], rebuild=bytes),
        "header of safetensors": Kind(
            content=tensors[8:header], starts=list(range(header - 8)), ends_of_items=[], rebuild=with_header
        ),
    }


def pickled(content, rebuild):
    stream, instructions = io.BytesIO(content), []
    while stream.read(1) == b"\x80":
        stream.seek(-1, io.SEEK_CUR)
        instructions += list(pickletools.genops(stream))
    starts = [position for _, _, position in instructions]
    ends = [position for instruction, _, position in instructions if instruction.name == "SETITEMS"]
    return Kind(content=content, starts=starts, ends_of_items=ends, rebuild=rebuild)


@pytest.fixture
def canary(tmp_path, monkeypatch):
    """A module that nothing may import, and a working folder into which nothing may write."""
    (tmp_path / "modules").mkdir()
    (tmp_path / "modules" / "canary.py").write_text("run = print")
    (tmp_path / "work").mkdir()
    monkeypatch.syspath_prepend(tmp_path / "modules")
    monkeypatch.chdir(tmp_path / "work")
    yield tmp_path
    assert "canary" not in sys.modules
    assert list((tmp_path / "work").iterdir()) == []


def flip_a_bit(content, at, rng):
    if at < len(content):
        content[at] ^= 1 << rng.randrange(8)


def overwrite(content, at, rng):
    content[at : at + 4] = rng.randbytes(rng.randrange(1, 9))


def write_a_number(content, at, rng):
    size = rng.choice([1, 2, 4, 8])
    content[at : at + size] = (rng.choice(NUMBERS) % 256**size).to_bytes(size, rng.choice(["little", "big"]))


def enlarge_a_size(content, at, rng):
    digits = content.find(rng.choice(b"123456789"), at)
    content[max(digits, 0) : max(digits, 0)] = b"9" * rng.choice([1, 4, 12, 30])


def cut_off(content, at, rng):
    del content[at:]


def leave_out(content, at, rng):
    del content[at : at + rng.choice([1, 2, 8, 100, 5000])]


def repeat(content, at, rng):
    content[at:at] = content[at : at + rng.choice([1, 8, 100, 5000])] * rng.choice([1, 2, 50])


def copy_from_elsewhere(content, at, rng):
    other = rng.randrange(len(content) + 1)
    content[at:at] = content[other : other + rng.choice([1, 8, 100])]


def insert_an_instruction(content, at, rng):
    content[at:at] = rng.choice(pickletools.opcodes).code.encode("latin-1")


def insert_a_call(content, at, rng):
    content[at:at] = rng.choice(CALLS)


def swap_a_global(content, at, rng):
    old = rng.choice(GLOBALS[:4])
    place = content.find(old, at)
    if place >= 0:
        content[place : place + len(old)] = rng.choice(GLOBALS)


MUTATIONS = [
    *(flip_a_bit, overwrite, write_a_number, enlarge_a_size, cut_off, leave_out, repeat, copy_from_elsewhere),
    *(insert_an_instruction, insert_a_call, swap_a_global),
]


def mutate(kind, rng):
    """Change a file in one to three ways, mostly where its fields begin."""
    content = bytearray(kind.content)
    if kind.ends_of_items and rng.random() < 0.2:
        at = rng.choice(kind.ends_of_items)
        content[at:at] = b"X\x01\x00\x00\x00z" + rng.choice(CALLS)
        return kind.rebuild(bytes(content))
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        at = rng.choice(kind.starts) if rng.random() < 0.8 else rng.randrange(len(kind.content))
        rng.choice(MUTATIONS)(content, min(at, len(content)), rng)
    return kind.rebuild(bytes(content))


def out_of_time(*_):
    raise TimeoutError("a file took longer than 20 seconds")


def convert_mutants(kind, path, seed, count):
    """Convert `count` mutated files; return how many were converted, and the messages of the others."""
    rng, messages = random.Random(seed), []
    before = signal.signal(signal.SIGALRM, out_of_time)
    try:
        for _ in range(count):
            path.write_bytes(mutate(kind, rng))
            signal.alarm(20)
            try:
                model = ccnet.convert_checkpoint(path, model="ccnet_tiny")
                assert all(tensor.isfinite().all() for tensor in model.state_dict().values())
            except ccnet.CCNetError as error:
                messages.append(str(error))
            signal.alarm(0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
    return count - len(messages), messages


NAMES = ["archive", "pickle in an archive", "pickles in a row", "safetensors", "header of safetensors"]


def check(kinds, name, canary, caplog, seed, count):
    caplog.set_level(logging.ERROR)
    converted, messages = convert_mutants(kinds[name], canary / "file.pth", seed, count)
    # Neither are all files refused, which would test nothing but the first check, nor are the changes without effect.
    assert converted > count / 200
    assert len(set(messages)) >= 5


@pytest.mark.parametrize("name", NAMES)
def test_mutated_checkpoint_is_converted_or_refused(kinds, name, canary, little_memory, caplog):
    check(kinds, name, canary, caplog, seed=0, count=COUNT)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(1, 11))
@pytest.mark.parametrize("name", NAMES)
def test_many_mutated_checkpoints_are_converted_or_refused(kinds, name, canary, little_memory, caplog, seed):
    check(kinds, name, canary, caplog, seed=seed, count=COUNT)


@pytest.mark.parametrize("call", CALLS[:6])
def test_canary_notices_what_an_unpickler_would_do(canary, monkeypatch, call):
    with contextlib.suppress(TypeError):  # some find that they cannot use what they imported
        pickle.loads(b"\x80\x02" + call + b".")
    written = canary / "work" / "canary"
    assert "canary" in sys.modules or written.exists()
    monkeypatch.delitem(sys.modules, "canary", raising=False)
    written.unlink(missing_ok=True)
