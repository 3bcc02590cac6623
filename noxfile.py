"""Every check of this repository, each in an environment of its own.

`nox` alone runs what a change must pass. One environment: nox -s "tests(core)". Arguments for pytest come after `--`.
"""

import os
import shutil
from pathlib import Path

import nox

nox.needs_version = ">=2025.5"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.error_on_external_run = True
nox.options.error_on_missing_interpreters = True
nox.options.sessions = ["lint", "typecheck", "interfaces", "docs", "tests"]

NAMES = ["core", "kernels", "data", "train"]
# What each environment of `tests` holds. A distribution stands alone but for what it depends on.
ROOMS = {"core": ["core"], "kernels": ["kernels"], "data": ["data"], "train": ["core", "train"], "integration": NAMES}
# Core comes with its readers of TIFF and of videos, what writes and runs ONNX and transformers, kernels with their
# compiler and with matplotlib, data with the readers of COCO's masks and of MATLAB files.
EXTRAS = {"core": "[large,onnx,transformers,video]", "kernels": "[cu13,plot]", "data": "[coco,voc]"}
SOURCES = [f"packages/ccnet-{name}/src" for name in NAMES]
CONSTRAINTS = ["--constraint", "constraints.txt", "--build-constraint", "constraints.txt"]
PYTEST = ["pytest", "pytest-timeout", "pytest-xdist", "hypothesis"]
# numba-cuda compiles kernels to PTX with no GPU and no driver; ptxas, in nvcc's wheel, makes machine code of it, which
# nvdisasm shows. The toolkit is named so that its pin decides the version, as a ptxas older than NVVM refuses its PTX.
PTXAS = ["cuda-toolkit", "nvidia-cuda-nvcc", "nvidia-cuda-nvdisasm"]
DOCS = ["sphinx", "furo", "myst-parser", "sybil"]
ORDINARY = "not gpu and not slow and not hosts and not browser and not detection"
TIMED = ["core", "export", "kernels", "load", "predict", "agreement", "data", "train"]
PEERS = "packages/ccnet-core/peers"

# pip finds a local build of torch through PIP_FIND_LINKS; uv reads only its own variable.
if "PIP_FIND_LINKS" in os.environ:
    os.environ.setdefault("UV_FIND_LINKS", os.environ["PIP_FIND_LINKS"])


def install(session: nox.Session, *what: str) -> None:
    """Install `what` in the tested versions."""
    session.install(*CONSTRAINTS, *what)


def folder(name: str) -> str:
    """Return the folder of one distribution, or `integration`."""
    return name if name == "integration" else f"packages/ccnet-{name}"


def sources(names: list[str]) -> list[str]:
    """Return what to install for these distributions from this tree, with the extras that their tests need."""
    return [f"./{folder(name)}" + EXTRAS.get(name, "") for name in names]


def test_tools(names: list[str]) -> list[str]:
    """Return what the tests of these distributions need besides them."""
    return PYTEST + (PTXAS if "kernels" in names else [])


def prove_isolation(session: nox.Session, names: list[str]) -> None:
    """Fail unless these distributions, and none of the others, come from this environment."""
    session.run("python", "-I", "tools/check_isolation.py", *(f"ccnet_{name}" for name in names))


def pytest(session: nox.Session, marked: str, *arguments: str, **environment: str) -> None:
    """Run the tests that carry the marks, with this environment's ptxas, if it has one, on PATH."""
    bin_folders = Path(session.virtualenv.location).resolve().glob("lib/python*/site-packages/nvidia/cu*/bin")
    path = os.pathsep.join([*map(str, bin_folders), os.environ["PATH"]])
    session.run("pytest", "-m", marked, *arguments, *session.posargs, env={"PATH": path, **environment})


def side_by_side(session: nox.Session, marked: str, *folders: str) -> None:
    """Run the tests of `folders` that carry the marks in several processes, with a thread of torch each.

    A second thread would only wait for the other tests. For a debugger: -- --numprocesses=0.
    """
    pytest(session, marked, "--numprocesses=auto", "--maxprocesses=4", *folders, OMP_NUM_THREADS="1")


@nox.session
@nox.parametrize("room", list(ROOMS), ids=list(ROOMS))
def tests(session: nox.Session, room: str) -> None:
    """Each distribution's tests where it stands alone, then all four together."""
    names = ROOMS[room]
    install(session, *sources(names), *test_tools(names))
    prove_isolation(session, names)
    side_by_side(session, ORDINARY, folder(room) + ("" if room == "integration" else "/tests"))


@nox.session
def quickstart(session: nox.Session) -> None:
    """The README's first command: train, evaluate and predict on generated pictures."""
    install(session, *sources(["core", "data", "train"]))
    session.run("python", "examples/quickstart.py", *session.posargs)


@nox.session(reuse_venv=True)
def lint(session: nox.Session) -> None:
    """Ruff's rules and formatting."""
    install(session, "ruff")
    session.run("ruff", "check")
    session.run("ruff", "format", "--check")


@nox.session(name="format", reuse_venv=True)
def format_sources(session: nox.Session) -> None:
    """Mend what ruff can mend, and format."""
    install(session, "ruff")
    session.run("ruff", "check", "--fix")
    session.run("ruff", "format")


@nox.session(reuse_venv=True)
def typecheck(session: nox.Session) -> None:
    """Mypy, strict, against the real dependencies."""
    editable = [argument for source in sources(NAMES) for argument in ("--editable", source)]
    install(session, *editable, "mypy", "types-PyYAML", "types-tqdm", "scipy-stubs", "packaging", "pytest", "nox")
    session.run("mypy", *SOURCES, "examples", "tools", "noxfile.py")


@nox.session(reuse_venv=True)
def interfaces(session: nox.Session) -> None:
    """Dependencies, imports and interface numbers agree with ARCHITECTURE.md."""
    install(session, "packaging", "pytest", "pytest-timeout")
    session.run("pytest", "tools/tests", *session.posargs)
    session.run("python", "tools/check_interfaces.py")


@nox.session(venv_backend="uv")
@nox.parametrize("kind", ["wheel", "sdist"], ids=["wheel", "sdist"])
def build(session: nox.Session, kind: str) -> None:
    """Build all four, install the archives into an empty environment, look inside."""
    archives = build_archives(session, kind)
    install(session, *archives)
    prove_isolation(session, NAMES)
    for script in ("ccnet", "ccnet-data", "ccnet-train"):
        session.run(script, "--version")
    session.run("python", "tools/check_archives.py", *archives)
    install(session, "twine")
    session.run("twine", "check", "--strict", *archives)


def build_archives(session: nox.Session, kind: str) -> list[str]:
    """Build one kind of archive of each distribution and return their paths."""
    target = Path(session.create_tmp()) / "archives"
    shutil.rmtree(target, ignore_errors=True)
    for name in NAMES:
        session.run("uv", "build", f"--{kind}", "--out-dir", str(target), *CONSTRAINTS[2:], folder(name))
    return sorted(str(path) for path in target.iterdir() if path.suffix in {".whl", ".gz"})


@nox.session
@nox.parametrize("room", TIMED, ids=TIMED)
def bench(session: nox.Session, room: str) -> None:
    """Time attention, exported files, loading, predictions and samples beside mmsegmentation, training; agreement."""
    rooms = {"train": ["core", "train"], "predict": ["core"], "agreement": ["core", "data"], "data": ["core", "data"]}
    install(session, *sources(rooms.get(room, ["core", "kernels"])))
    beside = room in {"predict", "data"}
    if beside:
        install(session, "--no-deps", "--requirement", f"{PEERS}/requirements.txt")
    commands = {
        "core": ["packages/ccnet-core/benchmarks/attention.py"],
        "export": ["packages/ccnet-core/benchmarks/export.py"],
        "kernels": ["-m", "ccnet_kernels.bench"],
        "load": ["packages/ccnet-core/benchmarks/load.py"],
        "train": ["packages/ccnet-train/benchmarks/step.py"],
        "predict": ["-W", "ignore", "packages/ccnet-core/benchmarks/predict.py"],
        "agreement": ["packages/ccnet-core/benchmarks/agreement.py"],
        "data": ["-W", "ignore", "packages/ccnet-data/benchmarks/augment.py"],
    }
    session.run("python", *commands[room], *session.posargs, env={"PYTHONPATH": PEERS} if beside else None)


@nox.session
def cost(session: nox.Session) -> None:
    """The paper's cost table: operations and memory of criss-cross attention and the non-local block."""
    install(session, *sources(["core"]), "matplotlib")
    session.run("python", "packages/ccnet-core/benchmarks/cost.py", *session.posargs)


@nox.session
@nox.parametrize("room", ["core", "data", "train"], ids=["core", "data", "train"])
def peers(session: nox.Session, room: str) -> None:
    """Beside mmsegmentation: core's answers, losses, training steps; data's augmentation; train's scores, network."""
    install(session, *sources(["core", "data", "train"]), *PYTEST)
    install(session, "--no-deps", "--requirement", f"{PEERS}/requirements.txt")
    places = {"PYTHONPATH": PEERS}
    if room == "train":
        places["CITYSCAPES_EVALUATION"] = cityscapes_evaluation(session)
    # The warnings are theirs; prepended, a test finds the module beside it. All rooms find core's.
    command = ["pytest", "-W", "ignore", "--import-mode=prepend", f"packages/ccnet-{room}/peers", *session.posargs]
    session.run(*command, env=places)


def cityscapes_evaluation(session: nox.Session) -> str:
    """Return cityscapesScripts' command, from an environment of its own: it fails with NumPy 2.4."""
    place = Path(session.create_tmp()) / "cityscapes"
    session.run("python", "-m", "venv", "--clear", str(place))
    requirements = ["cityscapesScripts==2.3.0", "numpy==2.3.*"]
    session.run(str(place / "bin/python"), "-m", "pip", "install", "--quiet", *requirements, external=True)
    return str(place / "bin/csEvalPixelLevelSemanticLabeling")


@nox.session
def camvid(session: nox.Session) -> None:
    """CamVid on a CPU, 3 seeds: ccnet-train, then a loop over mmsegmentation's model; -- data.root=PATH [key=value]."""
    install(session, *sources(["core", "data", "train"]))
    install(session, "--no-deps", "--requirement", f"{PEERS}/requirements.txt")
    places = os.pathsep.join([PEERS, "packages/ccnet-train/peers"])
    for loop in ("fit", "plain"):
        command = ["python", "-W", "ignore", "packages/ccnet-train/benchmarks/camvid.py", loop, *session.posargs]
        session.run(*command, env={"PYTHONPATH": places, "OMP_NUM_THREADS": "1"})


@nox.session
def gpu(session: nox.Session) -> None:
    """Tests that need a CUDA device, and compute-sanitizer where it is installed; an error where there is no device."""
    install(session, *sources(NAMES), *test_tools(NAMES))
    ask = "import torch; print(torch.__version__, torch.cuda.is_available())"
    version, seen = str(session.run("python", "-c", ask, silent=True)).split()
    if seen != "True":
        session.error(f"torch {version} sees no CUDA device here, so nothing was tested")
    pytest(session, "gpu", "packages/ccnet-core/tests", "packages/ccnet-kernels/tests", "integration")
    sanitizer = shutil.which("compute-sanitizer")
    if sanitizer is None:
        session.warn("no compute-sanitizer on PATH: memory accesses and races of the kernels were not checked")
        return
    # Without torch's pool of memory, in which reading past the end of a tensor goes unseen.
    unpooled = {"PYTORCH_NO_CUDA_MEMORY_CACHING": "1"}
    kernels = ["python", "-m", "pytest", "-m", "gpu", "-k", "small_maps", "packages/ccnet-kernels/tests/test_gpu.py"]
    for tool in ("memcheck", "racecheck"):
        session.run(sanitizer, "--tool", tool, "--error-exitcode", "1", *kernels, env=unpooled, external=True)


@nox.session
def detection(session: nox.Session) -> None:
    """Instance segmentation, torch and torchvision from the index; -- -m "detection and slow": the slow ones."""
    extra = "./packages/ccnet-train[detection]"
    # A build of torch for one machine fits no torchvision of the index.
    index = {"UV_FIND_LINKS": None, "PIP_FIND_LINKS": None}
    session.install(*CONSTRAINTS, *sources(["core", "data"]), extra, *PYTEST, env=index)
    session.run("python", "-c", "import torchvision; from torchvision.ops import nms")
    rooms = [f"packages/ccnet-{name}/tests" for name in ("core", "data", "train")]
    side_by_side(session, "detection and not gpu and not slow", "integration", *rooms)


@nox.session
def hosts(session: nox.Session) -> None:
    """Training on two hosts, made of this machine's network namespaces: needs Linux, root and the command ip."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        session.error("two hosts on one machine need root and `ip` (iproute2), so nothing was tested")
    install(session, *sources(NAMES), *test_tools(NAMES))
    pytest(session, "hosts", "integration")


@nox.session
def browser(session: nox.Session) -> None:
    """Report, demo page and documentation in the machine's own Chromium, offline; an error where there is none."""
    if shutil.which("chromium") is None:
        session.error("there is no `chromium` on PATH (Debian: apt-get install chromium), so nothing was tested")
    install(session, *sources(NAMES), "./packages/ccnet-core[demo]", *PYTEST, *DOCS, "playwright")
    build_site(session)
    pytest(session, "browser", "packages/ccnet-core/tests", "packages/ccnet-train/tests", "docs/tests")


@nox.session
def docs(session: nox.Session) -> None:
    """The documentation in site/, where a broken link is an error, and its tutorials; -- serve: while you write."""
    if session.posargs == ["serve"]:
        editable = [argument for source in sources(NAMES) for argument in ("--editable", source)]
        install(session, *editable, *DOCS, "sphinx-autobuild")
        session.run("sphinx-autobuild", "--watch", "packages", "--ignore", "*.pyc", "docs", "site")
        return
    install(session, *sources(NAMES), *PYTEST, *DOCS)
    build_site(session)
    pytest(session, ORDINARY, "docs")


def build_site(session: nox.Session) -> None:
    """Build site/ anew; every warning of Sphinx is an error, and all of them are shown."""
    shutil.rmtree("site", ignore_errors=True)
    session.run("sphinx-build", "--quiet", "--fail-on-warning", "--fresh-env", "docs", "site")


@nox.session
def slow(session: nox.Session) -> None:
    """Tests that take minutes."""
    install(session, *sources(NAMES), *test_tools(NAMES), "sybil")
    rooms = [f"packages/ccnet-{name}/tests" for name in ("core", "data", "train")]
    pytest(session, "slow and not gpu and not detection", "integration", "docs/tests/test_export.py", *rooms)


@nox.session(venv_backend="uv")
@nox.parametrize("name", NAMES, ids=NAMES)
def minimums(session: nox.Session, name: str) -> None:
    """Each distribution's tests with its direct dependencies at their lower bounds."""
    # Installed first: uv keeps what is there and fits, so torch stays the build for this machine.
    install(session, *test_tools([name]), *([] if name == "data" else ["torch"]))
    session.install("--resolution", "lowest-direct", *sources(ROOMS[name]))
    session.run("uv", "pip", "list")
    side_by_side(session, ORDINARY, f"{folder(name)}/tests")
