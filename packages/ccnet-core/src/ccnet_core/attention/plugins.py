"""Attention backends of installed distributions, found by entry point and checked before use."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points

import torch

from ccnet_core.attention.interface import API_VERSION, ENTRY_POINT_GROUP, AttentionBackend, AttentionSpec
from ccnet_core.attention.reference import backend as torch_backend


@dataclass(frozen=True, kw_only=True)
class BackendStatus:
    """One row of :func:`ccnet_core.attention_backends`.

    `reason` says why a backend is not usable here, or not chosen.
    """

    name: str
    version: str
    api_version: int | None
    usable: bool
    reason: str | None


_loaded: list[AttentionBackend] = []
_refused: list[BackendStatus] = []


def loaded_backends() -> list[AttentionBackend]:
    """Return the backends that core can talk to, highest priority first; its own torch form is always among them.

    A plug-in that fails to load, or speaks another version of the interface, is left out with one warning that names
    both versions and the command that mends it. Plug-ins are loaded once per process.
    """
    # A plain global, because torch.compile traces into functools.cache and would load plug-ins again.
    if not _loaded:
        load_plugins()
    return _loaded


def load_plugins() -> None:
    """Look for plug-ins anew and load them; see :func:`loaded_backends`."""
    found: dict[str, AttentionBackend] = {torch_backend.name: torch_backend}
    _refused.clear()
    for entry_point in entry_points(group=ENTRY_POINT_GROUP):
        backend = _load(entry_point, found)
        if backend is not None:
            found[backend.name] = backend
    _loaded[:] = sorted(found.values(), key=lambda backend: -backend.priority)


def attention_backends() -> list[BackendStatus]:
    """Return every attention backend that is installed: name, version, api version, usable here, and why not.

    "Here" is the first CUDA device if there is one, else the CPU, in float32 with the published models' channels.
    """
    spec = _typical_call()
    rows = [_status(backend, spec) for backend in loaded_backends()]
    return [*rows, *_refused]


def _typical_call() -> AttentionSpec:
    cuda = torch.cuda.is_available()
    return AttentionSpec(
        device_type="cuda" if cuda else "cpu",
        capability=torch.cuda.get_device_capability() if cuda else None,
        dtype=torch.float32,
        rank=2,
        shape=(1, 64, 512, 97, 97),
        needs_gradient=False,
    )


def _status(backend: AttentionBackend, spec: AttentionSpec) -> BackendStatus:
    try:
        reason = backend.why_unsupported(spec)
        usable = reason is None
        if usable and not backend.prefers(spec):
            reason = "only by name: it does not prefer such a call"
    except Exception as error:
        # The table is what a user asks when something is broken, so it must not break too.
        usable, reason = False, f"it failed to answer ({type(error).__name__}: {error})"
    return BackendStatus(
        name=backend.name, version=backend.version, api_version=backend.api_version, usable=usable, reason=reason
    )


def _load(entry_point: EntryPoint, found: Mapping[str, AttentionBackend]) -> AttentionBackend | None:
    distribution = entry_point.dist.name if entry_point.dist else entry_point.value
    version = entry_point.dist.version if entry_point.dist else "unknown"
    api_version = None
    try:
        backend: AttentionBackend = entry_point.load()
        api_version = getattr(backend, "api_version", None)
        fault = _fault(backend, found)
    except (Exception, SystemExit) as error:
        # A plug-in is foreign code: whatever it raises, core still works without it.
        fault = f"it failed to load ({type(error).__name__}: {error})"
    if fault is None:
        return backend
    _refused.append(
        BackendStatus(name=entry_point.name, version=version, api_version=api_version, usable=False, reason=fault)
    )
    warnings.warn(
        f"The attention backend {entry_point.name!r} of {distribution} {version} is not used: {fault}. "
        f"Core speaks version {API_VERSION} of the interface and computes attention with torch instead. "
        f"To mend it: python -m pip install --upgrade ccnet-core {distribution}",
        stacklevel=2,
    )
    return None


def _fault(backend: AttentionBackend, found: Mapping[str, AttentionBackend]) -> str | None:
    if isinstance(backend, type):
        return "it is a class; the entry point must name an object"
    kinds = {"name": str, "version": str, "api_version": int, "priority": int}
    wrong = [part for part, kind in kinds.items() if not isinstance(getattr(backend, part, None), kind)]
    wrong += [part for part in ("why_unsupported", "prefers") if not callable(getattr(backend, part, None))]
    if wrong or not callable(backend):
        return f"it lacks {', '.join(wrong) or '__call__'}, or has it of the wrong type"
    if backend.api_version != API_VERSION:
        return f"it speaks version {backend.api_version} of the interface"
    if found.get(backend.name, backend) is not backend:
        return f"the name {backend.name!r} is taken"
    return None
