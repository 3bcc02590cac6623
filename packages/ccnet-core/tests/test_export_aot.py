import json

import numpy as np
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.config import BackboneConfig
from ccnet_core.errors import ConfigError, ExportError, PictureError
from ccnet_core.export import export_aot, load_aot


def test_ceil_mode_needs_one_size(tiny, tmp_path):
    object.__setattr__(tiny.config, "backbone", BackboneConfig(ceil_mode=True))
    with pytest.raises(ExportError, match=r"ceil_mode for one size only. Give it \(--size H,W\), or take ONNX"):
        export_aot(tiny, tmp_path / "tiny.pt2")


def test_missing_compiler_is_said_at_once(tiny, tmp_path):
    said = r"needs a C\+\+ compiler, and none was found. Install g\+\+ or clang\+\+"
    with torch._inductor.config.patch({"cpp.cxx": ("no-such",)}), pytest.raises(ExportError, match=said):
        export_aot(tiny, tmp_path / "tiny.pt2")


def test_size_must_be_two_whole_numbers(tiny, tmp_path):
    with pytest.raises(ConfigError, match="size must be two whole numbers above 0, height and width, got 64"):
        export_aot(tiny, tmp_path / "tiny.pt2", size=64)


@pytest.mark.parametrize("content", [None, b"no archive"], ids=["missing", "nonsense"])
def test_file_that_is_no_package_is_named(tmp_path, content):
    path = tmp_path / "a.pt2"
    if content:
        path.write_bytes(content)
    with pytest.raises(ExportError, match=r"a\.pt2: (there is no such file|not a package that can be loaded here)"):
        load_aot(path)


@pytest.fixture
def package(monkeypatch, tmp_path):
    """A package of stride 8 and of the size asked for, which gives the mean of its pictures."""

    def load(size):
        class Loaded:
            def __call__(self, image):
                return image.float().mean((1, 2, 3))

            def get_metadata(self):
                return {"size": json.dumps(size), "stride": "8"}

        (tmp_path / "a.pt2").touch()
        monkeypatch.setattr(torch._inductor, "aoti_load_package", lambda path: Loaded())
        return load_aot(tmp_path / "a.pt2")

    return load


@pytest.mark.parametrize("size", [(64, 60), (60, 64), (8, 64), (65, 65)], ids=str)
def test_package_takes_multiples_of_the_stride(package, size):
    several = package(None)
    assert several(torch.ones(2, 3, 64, 16, dtype=torch.uint8)).tolist() == [1, 1]
    with pytest.raises(PictureError, match=r"multiples of 8, from 16 on, got .* Resize the picture"):
        several(torch.ones(1, 3, *size, dtype=torch.uint8))


def test_package_of_one_size_takes_no_other(package):
    one = package([65, 97])
    assert one(torch.ones(1, 3, 65, 97, dtype=torch.uint8)).tolist() == [1]
    with pytest.raises(PictureError, match="takes pictures of 65x97, got 97x65"):
        one(torch.ones(1, 3, 97, 65, dtype=torch.uint8))


def test_package_takes_bytes_only(package):
    for wrong in (torch.ones(1, 3, 64, 64), torch.ones(3, 64, 64, dtype=torch.uint8)):
        with pytest.raises(PictureError, match=r"takes pictures \(B, 3, H, W\), uint8, on the CPU, got torch"):
            package(None)(wrong)


@pytest.mark.slow
def test_package_answers_as_the_network(tiny, tmp_path):
    agreement = export_aot(tiny, tmp_path / "tiny.pt2")
    assert agreement.equal_labels == 1
    assert [file.name for file in tmp_path.iterdir()] == ["tiny.pt2"]
    loaded = load_aot(tmp_path / "tiny.pt2")
    assert json.loads(loaded.metadata["classes"]) == list(tiny.config.classes)
    assert json.loads(loaded.metadata["outputs"]) == ["labels", "logits"]
    for batch, height, width in ((1, 64, 96), (3, 20, 52)):
        image = torch.randint(0, 256, (batch, 3, height, width), dtype=torch.uint8)
        labels, logits = loaded(image)
        expected = np.stack([ccnet.predict(tiny, picture).labels for picture in image])
        assert np.array_equal(labels.numpy(), expected)
        reference = tiny(image).logits.detach()
        assert (logits - reference).abs().max() < 1e-4 * reference.abs().max()


@pytest.mark.slow
@pytest.mark.parametrize("network", ["the authors' form"], indirect=True)
def test_ceil_mode_answers_as_the_network_at_one_odd_size(network, tmp_path):
    assert export_aot(network, tmp_path / "a.pt2", size=(65, 97), output="logits").equal_labels == 1
    image = torch.randint(0, 256, (3, 3, 65, 97), dtype=torch.uint8)
    with torch.no_grad():
        reference = network(image, auxiliary=False).logits
    logits = load_aot(tmp_path / "a.pt2")(image)
    assert (logits - reference).abs().max() < 1e-4 * reference.abs().max()
