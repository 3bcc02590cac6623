"""Every public name stands in the pages of the API, and says what it is."""

import importlib
import importlib.util
import inspect
import re
from pathlib import Path

import pytest

API = Path(__file__).resolve().parents[1] / "api"
DISTRIBUTIONS = (
    *("ccnet_core", "ccnet_core.export", "ccnet_data", "ccnet_train", "ccnet_train.detection", "ccnet_kernels"),
)
# What only the command `ccnet export` uses, and the name of two words.
INTERNAL = {"ccnet_core.export.require_packages", "ccnet_core.export.Output"}
DIRECTIVE = re.compile(r"^\.\. auto(?:class|exception|function|data):: (\S+)$", re.MULTILINE)
DOCUMENTED = [name for page in sorted(API.glob("*.md")) for name in DIRECTIVE.findall(page.read_text("utf-8"))]
# Only where torchvision is installed, which these sessions do not.
WITH_TORCHVISION = {"ccnet_train.detection.MaskRCNN", "ccnet_train.detection.convert_torchvision"}
HERE = [name for name in DOCUMENTED if name not in WITH_TORCHVISION or importlib.util.find_spec("torchvision")]


def found(name):
    module, _, attribute = name.rpartition(".")
    return getattr(importlib.import_module(module), attribute)


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_every_public_name_is_documented(distribution):
    public = {
        f"{distribution}.{name}" for name in importlib.import_module(distribution).__all__ if name != "__version__"
    }
    assert public - INTERNAL - set(DOCUMENTED) == set()


def test_no_name_is_documented_twice():
    assert sorted(DOCUMENTED) == sorted(set(DOCUMENTED))


@pytest.mark.parametrize("name", HERE)
def test_docstring_is_there_and_of_its_own(name):
    thing = found(name)
    if not callable(thing):
        return  # the string below a constant is read by Sphinx, which refuses a reference to one without
    text = inspect.getdoc(thing) or ""
    assert re.match(r"\S.*[.:]", text.splitlines()[0] if text else ""), name
    assert not text.startswith(f"{thing.__name__}("), f"{name}: the docstring is the one a dataclass makes by itself"


@pytest.mark.parametrize("name", HERE)
def test_every_public_method_has_a_docstring(name):
    thing = found(name)
    if not inspect.isclass(thing):
        return
    methods = [member for key, member in vars(thing).items() if not key.startswith("_") and inspect.isroutine(member)]
    assert [method.__qualname__ for method in methods if not inspect.getdoc(method)] == []


@pytest.mark.parametrize("name", [name for name in HERE if inspect.isfunction(found(name))])
def test_every_argument_of_a_function_is_typed(name):
    signature = inspect.signature(found(name))
    untyped = [each.name for each in signature.parameters.values() if each.annotation is each.empty]
    assert untyped == []
