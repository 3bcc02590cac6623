import warnings
from importlib.metadata import EntryPoint

import pytest

import ccnet_core as ccnet
from ccnet_core.attention import plugins
from ccnet_core.attention.interface import ENTRY_POINT_GROUP
from ccnet_core.attention.reference import TorchBackend


class Preferred(TorchBackend):
    name = "preferred"
    priority = 10


class WrongVersion(Preferred):
    api_version = 99


class Incomplete:
    name = "incomplete"


class WithoutPriority(Preferred):
    priority = None


class CalledTorch(TorchBackend):
    priority = 99


class CannotAnswer(Preferred):
    def why_unsupported(self, spec):
        raise RuntimeError("broken")


preferred, wrong_version, incomplete = Preferred(), WrongVersion(), Incomplete()


@pytest.fixture
def install(monkeypatch):
    """Pretend that plug-ins are installed: pairs of a name and what its entry point loads."""

    def with_plugins(**objects):
        class Installed(EntryPoint):
            def load(self):
                if isinstance(objects[self.name], BaseException):
                    raise objects[self.name]
                return objects[self.name]

        found = [Installed(name, f"some.package:{name}", ENTRY_POINT_GROUP) for name in objects]
        monkeypatch.setattr(plugins, "entry_points", lambda group: found if group == ENTRY_POINT_GROUP else [])
        plugins.load_plugins()

    yield with_plugins
    monkeypatch.undo()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plugins.load_plugins()


def test_core_registers_its_own_backend_by_entry_point():
    from importlib.metadata import entry_points

    (own,) = [point for point in entry_points(group=ENTRY_POINT_GROUP) if point.name == "torch"]
    assert own.load().name == "torch"


def test_plugins_are_ordered_by_priority(install):
    install(preferred=preferred)
    assert [backend.name for backend in plugins.loaded_backends()] == ["preferred", "torch"]


def test_plugin_of_another_version_falls_back_with_one_warning_that_names_both(install):
    with pytest.warns(UserWarning, match="version 99.*version 1 .*pip install") as caught:
        install(wrong=wrong_version)
    assert len(caught) == 1
    assert [backend.name for backend in plugins.loaded_backends()] == ["torch"]


@pytest.mark.parametrize(
    ("plugin", "reason"),
    [
        (ImportError("no libcuda"), "failed to load .ImportError: no libcuda"),
        (RuntimeError("half written"), "failed to load .RuntimeError: half written"),
        (SystemExit(1), "failed to load .SystemExit: 1"),
        (incomplete, "lacks version, api_version, priority, why_unsupported, prefers, or has it of the wrong type"),
        (WithoutPriority(), "lacks priority"),
        (Preferred, "it is a class; the entry point must name an object"),
        (CalledTorch(), "the name 'torch' is taken"),
    ],
)
def test_broken_plugin_falls_back_with_one_warning(install, plugin, reason):
    with pytest.warns(UserWarning, match=reason) as caught:
        install(broken=plugin)
    assert len(caught) == 1
    assert [backend.name for backend in plugins.loaded_backends()] == ["torch"]


def test_table_lists_refused_plugins_with_their_reason(install):
    with pytest.warns(UserWarning, match="not used"):
        install(wrong=wrong_version)
    rows = {row.name: row for row in ccnet.attention_backends()}
    assert rows["torch"].usable
    assert not rows["wrong"].usable
    assert "version 99" in rows["wrong"].reason


def test_table_survives_a_backend_that_cannot_answer(install):
    install(broken=CannotAnswer())
    (row,) = [row for row in ccnet.attention_backends() if row.name == "preferred"]
    assert (row.usable, row.reason) == (False, "it failed to answer (RuntimeError: broken)")


def test_backend_that_does_not_prefer_a_call_is_usable_by_name_only(install):
    class Reluctant(Preferred):
        def prefers(self, spec):
            return False

    install(reluctant=Reluctant())
    (row,) = [row for row in ccnet.attention_backends() if row.name == "preferred"]
    assert row.usable
    assert row.reason.startswith("only by name")
