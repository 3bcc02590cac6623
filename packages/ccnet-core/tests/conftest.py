import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import ccnet_core as ccnet
from ccnet_core.cli import main
from ccnet_core.config import AuxiliaryHeadConfig, ParsingConfig

SHARED = Path(__file__).resolve().parents[4] / "shared"


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def golden() -> Path:
    folder = SHARED / "golden"
    if not folder.is_dir():
        pytest.skip(f"the reference outputs are not here: {folder}")
    return folder


@pytest.fixture(scope="session")
def fill(golden: Path) -> ModuleType:
    """The program that made the weights and pictures of the reference outputs."""
    return _load("fill", golden / "fill.py")


def _load(name: str, path: Path) -> ModuleType:
    spec = spec_from_file_location(name, path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def published(golden: Path) -> dict[str, Any]:
    """What mmsegmentation gave for its R-50 of Cityscapes, 512x1024."""
    described: dict[str, Any] = json.loads((golden / "mmseg_city512.json").read_text())
    return described


@pytest.fixture(scope="session")
def published_file(published: dict[str, Any], fill: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its weights in a file of the form of June 2020, in which the models were published."""
    state = fill.fill_state_dict({key: (shape, getattr(torch, dtype)) for key, shape, dtype in published["state_dict"]})
    path = tmp_path_factory.mktemp("published") / "file.pth"
    torch.save({"state_dict": state}, path, _use_new_zipfile_serialization=False)
    return path


@pytest.fixture
def enliven() -> Callable[[ccnet.CCNet], ccnet.CCNet]:
    """Fill a network so that nothing is an identity and no softmax is saturated."""
    return _enliven


def _enliven(model: ccnet.CCNet) -> ccnet.CCNet:
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(std=0.1)
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 1.5)
    for name, parameter in model.named_parameters():
        if name.endswith("gamma"):
            parameter.data.fill_(0.7)
    model.head.classify.conv.weight.data.normal_(std=0.5)
    return model


@pytest.fixture
def parsing(enliven: Callable[[ccnet.CCNet], ccnet.CCNet]) -> ccnet.CCNet:
    """The small network with CE2P's head, enlivened, with every output there is."""
    config = ccnet.CCNet.from_config("ccnet_small_ce2p", num_classes=4).config
    return enliven(ccnet.CCNet(replace(config, head=replace(config.head, consistency_channels=16)))).eval()


@pytest.fixture
def tiny() -> ccnet.CCNet:
    """The smallest network of the zoo, enlivened."""
    return _enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4)).eval()


@pytest.fixture(scope="session")
def make_varied() -> Callable[[], ccnet.CCNet]:
    """Make `varied` for a whole session."""

    def make() -> ccnet.CCNet:
        torch.manual_seed(0)
        picture = np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)
        return _vary(_enliven(ccnet.CCNet.from_config("ccnet_tiny", num_classes=4)).eval(), picture)

    return make


@pytest.fixture
def varied(tiny: ccnet.CCNet, picture: np.ndarray) -> ccnet.CCNet:
    """`tiny`, so that no class has all of `picture`."""
    return _vary(tiny, picture)


def _vary(model: ccnet.CCNet, picture: np.ndarray) -> ccnet.CCNet:
    with torch.no_grad():
        logits = model(torch.from_numpy(picture.transpose(2, 0, 1).copy())[None]).logits
    model.head.classify.conv.bias.data -= logits.mean((0, 2, 3))
    return model


@pytest.fixture(params=["zip", "legacy"])
def save(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[object], Path]:
    """Write a file of torch.save, in the form of today or in that of June 2020."""

    def write(saved: object) -> Path:
        path = tmp_path / "file.pth"
        torch.save(saved, path, _use_new_zipfile_serialization=request.param == "zip")
        return path

    return write


@pytest.fixture
def picture() -> np.ndarray:
    """A uint8 (H, W, 3) picture of an odd size."""
    return np.random.default_rng(0).integers(0, 256, (37, 51, 3), dtype=np.uint8)


@dataclass(frozen=True)
class Done:
    """What a command left behind."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Done]:
    """Run the command `ccnet` in this process."""
    monkeypatch.delenv("CCNET_ATTENTION", raising=False)

    def run_command(*arguments: object) -> Done:
        try:
            code = main([str(argument) for argument in arguments])
        except SystemExit as exit_:  # argparse leaves this way
            code = exit_.code
        return Done(code, *capsys.readouterr())

    return run_command


@pytest.fixture
def weights(tiny: ccnet.CCNet, tmp_path: Path) -> Path:
    """The weights folder of `tiny`."""
    tiny.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def photo(picture: np.ndarray, tmp_path: Path) -> Path:
    """A file that holds `picture`."""
    Image.fromarray(picture).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


@pytest.fixture
def pixels() -> Callable[[Path], np.ndarray]:
    """Read the pixels of a file as they are stored."""

    def read(path: Path) -> np.ndarray:
        with Image.open(path) as image:
            return np.asarray(image)

    return read


@pytest.fixture
def little_memory() -> Iterator[None]:
    """At most 256 MB more than now: an allocation that a file asks for, and does not need, fails."""
    resource = pytest.importorskip("resource")
    status = Path("/proc/self/status")
    if not status.is_file():
        pytest.skip("how much memory there is cannot be asked here")
    size = next(int(line.split()[1]) for line in status.read_text().splitlines() if line.startswith("VmSize:")) * 1024
    before = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (size + 256 * 2**20, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


MMSEG = {
    "head.reduce.norm": "decode_head.convs.0.bn",
    "head.reduce.conv": "decode_head.convs.0.conv",
    "head.refine.norm": "decode_head.convs.1.bn",
    "head.refine.conv": "decode_head.convs.1.conv",
    "head.attention.cca.gamma": "decode_head.cca.gamma.scale",
    "head.attention.cca": "decode_head.cca",
    "head.fuse.norm": "decode_head.conv_cat.bn",
    "head.fuse.conv": "decode_head.conv_cat.conv",
    "head.classify.conv": "decode_head.conv_seg",
    "auxiliary_head.reduce.norm": "auxiliary_head.convs.0.bn",
    "auxiliary_head.reduce.conv": "auxiliary_head.convs.0.conv",
    "auxiliary_head.classify.conv": "auxiliary_head.conv_seg",
}


@pytest.fixture
def mmseg_state() -> Callable[[ccnet.CCNet], dict[str, torch.Tensor]]:
    """The state dict of a network as mmsegmentation would have it."""

    def rename(model: ccnet.CCNet) -> dict[str, torch.Tensor]:
        state = {}
        for name, tensor in model.state_dict().items():
            ours = next((ours for ours in MMSEG if name.startswith(ours)), "")
            state[MMSEG.get(ours, "") + name.removeprefix(ours)] = tensor.clone()
        state["decode_head.cca.gamma.scale"] = state["decode_head.cca.gamma.scale"].reshape(())
        return state

    return rename


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A Hub on the loopback interface, which the client of this process asks; see hub_server.py."""
    module = _load("hub_server", Path(__file__).with_name("hub_server.py"))
    server = module.Hub()
    server.slept = module.point_client_at(server, tmp_path / "home", monkeypatch)
    yield server
    server.stop()


NETWORKS = {
    "stride 4": {"strides": (1,), "dilations": (1,), "depths": (1,)},
    "align corners, one step": {"align_corners": True, "recurrence": 1},
    "the authors' form": {
        **{"align_corners": True, "ceil_mode": True, "contract_dilation": False, "stem_channels": (8, 8, 16)},
        **{"negative_slope": 0.01, "channel_order": "bgr", "shared_weights": False},
    },
    "no attention": {"recurrence": 0},
    "non-local": {"attention": "non_local", "recurrence": 1},
    "parsing": {
        **{"depths": (1,) * 4, "strides": (1, 2, 2, 1), "dilations": (1, 1, 1, 2), "align_corners": True},
        "parsing": ParsingConfig(channels=8, detail_channels=4),
    },
}
"""Narrow networks of every form that a graph may have, stride 8, that for parsing 16, unless said otherwise."""


@pytest.fixture(params=NETWORKS, scope="session")
def network(request: pytest.FixtureRequest) -> ccnet.CCNet:
    """One of `NETWORKS`, enlivened, with everything that only training needs."""
    asked = NETWORKS[request.param]
    torch.manual_seed(0)
    config = ccnet.CCNet.from_config("ccnet_small", num_classes=5).config
    parts = {
        "backbone": replace(config.backbone, width=8, stem_channels=(8,)),
        "head": replace(config.head, channels=16, reduction=4, consistency_channels=4),
        "auxiliary": AuxiliaryHeadConfig(stage=0, channels=8),
        "pixels": config.pixels,
    }
    for name, part in parts.items():
        parts[name] = replace(part, **{key: value for key, value in asked.items() if hasattr(part, key)})
    whole = {"align_corners": asked.get("align_corners", False), "parsing": asked.get("parsing")}
    if whole["parsing"]:
        parts["auxiliary"] = None
    return _enliven(ccnet.CCNet(replace(config, **parts, **whole))).eval()


@pytest.fixture(scope="session")
def pictures() -> list[torch.Tensor]:
    """Pictures of several sizes, most of them odd, uint8 (B, 3, H, W)."""
    generator = torch.Generator().manual_seed(1)
    made = []
    for batch, *size in ((1, 65, 97), (2, 33, 50), (3, 129, 80)):
        coarse = torch.randint(0, 256, (batch, 3, 4, 6), generator=generator).float()
        made.append(torch.nn.functional.interpolate(coarse, size, mode="bilinear").to(torch.uint8))
    return made


SERVED = """
import ipaddress, sys
from ccnet_core.cli import main

def note(event, arguments):
    if event == "socket.getaddrinfo":
        print(arguments[0], file=sys.stderr, flush=True)
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        print(arguments[1][0], file=sys.stderr, flush=True)

sys.addaudithook(note)
sys.exit(main(sys.argv[1:]))
"""
"""The command `ccnet`, with every host it asks for or connects to on stderr."""


@dataclass(frozen=True)
class Served:
    """The page of `ccnet demo` in a process of its own: what it wrote to stderr, and where its temporary files are."""

    url: str
    process: subprocess.Popen[str]
    log: Path
    files: Path
    model: ccnet.CCNet


@pytest.fixture(scope="session")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., AbstractContextManager[Served]]:
    """Serve a page: `with serve(model, *arguments) as served`."""

    @contextmanager
    def served(model: ccnet.CCNet, *arguments: object) -> Iterator[Served]:
        folder = tmp_path_factory.mktemp("served")
        model.save_pretrained(folder / "weights")
        (folder / "tmp").mkdir()
        command = [sys.executable, "-c", SERVED, "demo", "--model", folder / "weights", *arguments]
        # A proxy that nobody may ask, and the temporary files where a test can count them.
        places = {"TMPDIR": str(folder / "tmp"), "HTTP_PROXY": "http://192.0.2.1:9", "http_proxy": "http://192.0.2.1:9"}
        places |= {"OMP_NUM_THREADS": "1", "NO_PROXY": "", "no_proxy": ""}
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(
                [*map(str, command)], stdout=subprocess.PIPE, stderr=log, text=True, env=os.environ | places
            )
            try:
                line = process.stdout.readline()
                assert "this machine only" in line, (folder / "log").read_text()
                yield Served(line.split()[0], process, folder / "log", folder / "tmp", model)
            finally:
                process.terminate()
                process.wait(60)
                process.stdout.close()

    return served


@pytest.fixture
def chromium() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-dev-shm-usage"]
        )
        yield browser
        browser.close()
