import io
import os
import pickle
import pickletools
import sys
import time
from collections import OrderedDict, deque

import pytest

import ccnet_core as ccnet
from ccnet_core.unpickle import LONGEST_PROGRAM, Inert, read_pickle

PLAIN = {
    "numbers": [0, 1, -1, 255, 65535, 2**31, -(2**70), 1.5, True, False, None],
    "text": ["", "plain", "Straße", "\n\t"],
    "tuples": ((), (1,), (1, 2), (1, 2, 3), (1, 2, 3, 4)),
    "nested": {"a": {"b": [{"c": ()}]}},
}


class Runs:
    """Would make a file if unpickled by the standard library."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def read(content):
    return read_pickle(io.BytesIO(content))[0]


@pytest.mark.parametrize("protocol", [1, 2, 3, 4, 5])
def test_plain_data_comes_back_in_every_binary_protocol(protocol):
    assert read(pickle.dumps(PLAIN, protocol)) == PLAIN
    assert read(pickle.dumps({"bytes": b"\x00\xff"}, max(protocol, 3))) == {"bytes": b"\x00\xff"}


@pytest.mark.parametrize("protocol", [2, 4])
def test_what_would_run_becomes_a_record_of_itself(tmp_path, protocol):
    found = read(pickle.dumps(Runs(tmp_path / "made"), protocol))
    assert found.name.endswith(".mkdir")
    assert found.arguments == (str(tmp_path / "made"),)
    assert list(tmp_path.iterdir()) == []


def test_module_that_a_pickle_names_is_not_imported(tmp_path, monkeypatch):
    (tmp_path / "canary_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    found = read(b"\x80\x02ccanary_module\nanything\n.")
    assert (found.name, found.arguments) == ("canary_module.anything", None)


def test_subclass_of_a_dict_keeps_its_items_and_loses_its_state():
    ordered = OrderedDict(a=1, b=[2])
    ordered.note = "state"
    found = read(pickle.dumps(ordered, 2))
    assert (found.name, found.items) == ("collections.OrderedDict", {"a": 1, "b": [2]})


def test_sets_are_lists_and_further_containers_are_records():
    assert sorted(read(pickle.dumps({1, 2}, 4))) == [1, 2]
    assert sorted(read(pickle.dumps(frozenset({1, 2}), 4))) == [1, 2]
    assert read(pickle.dumps(deque([1, 2]), 2)).name == "collections.deque"


def test_same_object_twice_is_one_object():
    shared = [1]
    first, second = read(pickle.dumps((shared, shared), 2))
    assert first is second


def test_keys_that_are_not_text_are_never_hashed():
    found = read(pickle.dumps({(1, 2): "tuple", 3: "number", "a": "text"}, 2))
    assert found["a"] == "text"
    assert [type(key) for key in found] == [Inert, Inert, str]


def test_persistent_identifiers_are_listed():
    _, identifiers = read_pickle(io.BytesIO(b"\x80\x02(K\x01K\x02tQK\x03\x85Q\x86."))
    assert identifiers == [(1, 2), (3,)]


MODULUS = sys.hash_info.modulus

# Each of these made the standard library's, or torch's, unpickler take all memory, all time, or the interpreter down.
HOSTILE = {
    "tuples in one another, as a key": b"\x80\x02})" + b"q\x00h\x00\x86" * 64 + b"K\x01s.",
    "a hundred thousand tuples in one another, as a key": b"\x80\x02}" + b"(" * 100_000 + b"t" * 100_000 + b"K\x01s.",
    "a memo of 4 billion": b"\x80\x02]r\xff\xff\xff\xff.",
    "places in the memo with the same hash": b"\x80\x02]"
    + b"".join(b"p%d\n" % (k * MODULUS) for k in range(1, 100_000))
    + b".",
    "text of 4 gigabytes": b"\x80\x02X\xff\xff\xff\xffabc.",
    "bytes of 8 exabytes": b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7fabc.",
    "a number of 2 gigabytes": b"\x80\x02\x8b\xff\xff\xff\x7f\x01.",
    "a number of 5000 digits": b"\x80\x02I" + b"9" * 5000 + b"\n.",
    "a long name, again and again": b"\x80\x02X\x40\x42\x0f\x00"
    + b"n" * 1_000_000
    + b"\x94"
    + b"h\x00h\x00\x93" * 10_000
    + b".",
    "a name that is a list in lists": b"\x80\x02" + b"]" * 10_000 + b"a" * 9_999 + b"h\x00\x93.",
    "a call of bytearray": b"\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\x7f\x85R.",
    "a call of torch.Tensor": b"\x80\x02ctorch\nTensor\n\x8a\x05\x00\x00\x00\x00\x7f\x85R.",
    "calls of calls": b"\x80\x02" + b"cx\ny\n" * 20_000 + b")" + b"R\x85" * 19_999 + b"R.",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_pickle_takes_neither_time_nor_memory(name, little_memory):
    begun = time.perf_counter()
    try:
        read(HOSTILE[name])
    except ccnet.WeightsError as error:
        assert "damaged or cut short" in str(error)  # noqa: PT017
    assert time.perf_counter() - begun < 10


def test_length_of_a_program_is_bounded():
    with pytest.raises(ccnet.WeightsError, match="more than 1,000,000 instructions"):
        read(b"\x80\x02" + b"]" * LONGEST_PROGRAM + b".")


def test_every_instruction_is_carried_out_or_refused_by_name():
    outcomes = set()
    for instruction in pickletools.opcodes:
        try:
            read(b"\x80\x04((NN" + instruction.code.encode("latin-1") + b"\x00" * 9 + b"\n\n.")
        except ccnet.WeightsError as error:
            outcomes.add(str(error).replace(instruction.name, "NAME"))
    assert outcomes == {
        "its pickle is damaged or cut short",
        "its pickle has the instruction NAME, which no checkpoint needs",
    }


@pytest.mark.parametrize("content", [b"", b"words", pickle.dumps(PLAIN, 2)[:-1], b"\x80\x02.", b"\x80\x02K\x01)R."])
def test_damaged_pickle_is_refused(content):
    with pytest.raises(ccnet.WeightsError, match="its pickle is damaged or cut short"):
        read(content)
