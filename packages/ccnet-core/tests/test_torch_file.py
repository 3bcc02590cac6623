import io
import pickle
import struct
import zipfile

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.torch_file import LEGACY_MAGIC, open_torch_file


def tensors(path):
    file = open_torch_file(path)
    return {name: file.tensor(saved) for name, saved in file.saved.items()}


def with_attribute(parameter):
    parameter.sharded = True
    return parameter


def various_tensors():
    base = torch.arange(60.0)
    return {
        "matrix": torch.randn(3, 4),
        "number": torch.tensor(7),
        "parameter": torch.nn.Parameter(torch.randn(5)),
        "parameter with attributes": with_attribute(torch.nn.Parameter(torch.randn(5))),
        "part of a storage": base[10:22].view(3, 4),
        "the same storage": base[2:50:3],
        "transposed": torch.randn(3, 5).t(),
        "channels last": torch.randn(2, 3, 4, 5).to(memory_format=torch.channels_last),
        "double": torch.randn(2, dtype=torch.float64),
        "half": torch.randn(2).half(),
        "bfloat16": torch.randn(2).bfloat16(),
        "bool": torch.tensor([True, False]),
        "bytes": torch.tensor([1, 255], dtype=torch.uint8),
    }


def test_every_tensor_is_what_torch_loads(save):
    path = save(various_tensors())
    expected = torch.load(path, weights_only=True)
    found = tensors(path)
    assert list(found) == list(expected)
    for name, tensor in expected.items():
        assert found[name].shape == tensor.shape, name
        assert found[name].dtype == found[name].read().dtype == tensor.dtype, name
        assert torch.equal(found[name].read(), tensor.data), name


def test_what_is_no_tensor_is_none(save):
    assert tensors(save({"text": "a", "list": [torch.zeros(1)]})) == {"text": None, "list": None}


@pytest.mark.parametrize(
    ("shape", "stride"),
    [
        ((2**40,), (1,)),  # would take all memory
        ((2**20, 2**20), (0, 0)),  # one number, shown a million million times
        ((4, 4), (0, 1)),  # four numbers, shown four times
        ((0,), (1,)),
        ((4,), (2,)),  # lies over the end
        ((-1,), (1,)),
        ((2, 2), (1,)),
        ((1,) * 9, (1,) * 9),
        ((True,), (1,)),
        ((1.0,), (1,)),
        ("ab", "ab"),
        ((2**20_000,), (1,)),
    ],
)
def test_tensor_that_the_file_does_not_hold_is_refused(save, little_memory, shape, stride):
    class Claims:
        def __reduce__(self):
            return torch._utils._rebuild_tensor_v2, (torch.zeros(4)._typed_storage(), 0, shape, stride, False, {})

    path = save({"tensor": Claims()})
    with pytest.raises(ccnet.WeightsError, match="shape does not fit the numbers that the file holds"):
        tensors(path)


@pytest.mark.parametrize("length", [1, 20, 200, 0.5, -1])
def test_file_that_is_cut_short_is_refused(save, length):
    path = save(various_tensors())
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * length) if isinstance(length, float) else length])
    with pytest.raises(ccnet.WeightsError, match=r"damaged|cut short"):
        open_torch_file(path)


def rezip(path, compression=zipfile.ZIP_STORED, **changes):
    """Write the archive again with other content in some entries; None leaves one out."""
    with zipfile.ZipFile(path) as archive:
        entries = {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()} | changes
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in entries.items():
            if content is not None:
                archive.writestr(f"archive/{name}", content)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"compression": zipfile.ZIP_DEFLATED}, "is a compressed archive; torch.save does not compress"),
        ({"data.pkl": None}, "is a zip archive, but not one of torch.save"),
        ({"constants.pkl": b""}, "is a TorchScript program"),
        ({"byteorder": b"big"}, "was written on a big-endian machine"),
        ({"data.pkl": b"\x80\x02"}, "its pickle is damaged or cut short"),
        ({"data/0": None}, "shape does not fit the numbers that the file holds"),
        ({"data/0": b"\x00" * 11}, "shape does not fit the numbers that the file holds"),
    ],
)
def test_other_archive_is_refused(tmp_path, changes, message):
    path = tmp_path / "file.pth"
    torch.save({"x": torch.zeros(3)}, path)
    rezip(path)
    assert torch.equal(tensors(path)["x"].read(), torch.zeros(3))
    rezip(path, **changes)
    with pytest.raises(ccnet.WeightsError, match=message):
        tensors(path)


def test_real_torchscript_program_is_known_though_parts_of_it_are_compressed(tmp_path):
    (tmp_path / "file.pth").write_bytes(torchscript())
    with pytest.raises(ccnet.WeightsError, match="is a TorchScript program"):
        open_torch_file(tmp_path / "file.pth")


def torchscript():
    """The entries, and which of them are compressed, as torch.jit.save writes them."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("file/data.pkl", b"\x80\x02}.")
        archive.writestr("file/code/__torch__.py", b"def forward(self): pass\n" * 20, zipfile.ZIP_DEFLATED)
        archive.writestr("file/constants.pkl", b"\x80\x02).")
    return stream.getvalue()


def test_entry_that_begins_beyond_all_files_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "file.pth", "w") as archive:
        archive.writestr("archive/data.pkl", b"")
        archive.infolist()[0].header_offset = 2**63
    with pytest.raises(ccnet.WeightsError, match="is damaged or cut short"):
        open_torch_file(tmp_path / "file.pth")


def legacy_file(*, magic=LEGACY_MAGIC, little_endian=True, kind="FloatStorage", keys=("k",), count=1):
    storage = b"(X\x07\x00\x00\x00storagectorch\n%b\nX\x01\x00\x00\x00kX\x03\x00\x00\x00cpuK\x01NtQ" % kind.encode()
    tensor = (
        b"\x80\x02}X\x01\x00\x00\x00xctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00K\x01\x85K\x01\x85tRs."
    )
    parts = [pickle.dumps(part, 2) for part in (magic, 1001, {"little_endian": little_endian})]
    return b"".join([*parts, tensor, pickle.dumps(list(keys), 2), struct.pack("<qf", count, 2.5)])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"magic": 1}, "is a pickle, but not one of torch.save"),
        ({"little_endian": False}, "was written on a big-endian machine"),
        ({"kind": "QInt8Storage"}, "has numbers of the kind 'torch.QInt8Storage'"),
        ({"keys": ["other"]}, "is damaged or cut short"),
        ({"keys": [("k",)]}, "is damaged or cut short"),
        ({"keys": []}, "shape does not fit the numbers that the file holds"),
        ({"count": 2**60}, "is damaged or cut short"),
        ({"count": -1}, "is damaged or cut short"),
    ],
)
def test_other_pickles_are_refused(tmp_path, changes, message):
    path = tmp_path / "file.pth"
    path.write_bytes(legacy_file())
    assert tensors(path)["x"].read().tolist() == [2.5]
    path.write_bytes(legacy_file(**changes))
    with pytest.raises(ccnet.WeightsError, match=message):
        tensors(path)


def test_one_wrong_bit_among_the_numbers_is_refused(tmp_path):
    path = tmp_path / "file.pth"
    torch.save({"weight": torch.arange(1000.0), "whole": torch.arange(10.0)}, path)
    content = bytearray(path.read_bytes())
    place = content.find(torch.arange(1000.0).numpy().tobytes())
    content[place + 2001] ^= 1
    path.write_bytes(content)
    found = tensors(path)
    assert torch.equal(found["whole"].read(), torch.arange(10.0))
    with pytest.raises(ccnet.WeightsError, match="storage '0' do not fit their checksum"):
        found["weight"].read()
