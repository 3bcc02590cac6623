from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

import ccnet_core as ccnet

SHARED = Path(__file__).resolve().parents[4] / "shared"


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)


@pytest.fixture
def golden() -> Path:
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"the reference outputs are not here: {folder}")
    return folder


@pytest.fixture
def fill(golden: Path) -> ModuleType:
    """The program that made the weights and pictures of the reference outputs."""
    spec = spec_from_file_location("fill", golden / "fill.py")
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def tiny() -> ccnet.CCNet:
    """A network in which nothing is an identity and no softmax is saturated."""
    model = ccnet.CCNet.from_config("ccnet_tiny", num_classes=4)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    model.head.attention.cca.gamma.data.fill_(0.7)
    model.head.classify.conv.weight.data.normal_(std=0.5)
    return model.eval()


@pytest.fixture
def picture() -> np.ndarray:
    """A uint8 (H, W, 3) picture of an odd size."""
    return np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
