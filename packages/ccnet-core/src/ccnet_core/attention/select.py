"""Which backend serves a call: by name, or the one of highest priority that supports and prefers it."""

import os

from ccnet_core.attention.interface import AttentionBackend, AttentionSpec, describe
from ccnet_core.attention.plugins import loaded_backends
from ccnet_core.errors import AttentionError, nearest

ENVIRONMENT_VARIABLE = "CCNET_ATTENTION"


def select(spec: AttentionSpec, name: str | None = None) -> AttentionBackend:
    """Return the backend for `spec`.

    `name` asks for one; the environment variable CCNET_ATTENTION overrides it. Raises AttentionError for an unknown
    name, and, with each backend's own reason, when none, or the one asked for, can serve the call.
    """
    name = os.environ.get(ENVIRONMENT_VARIABLE) or name
    if name is not None:
        return _by_name(spec, name)
    for backend in loaded_backends():
        if backend.why_unsupported(spec) is None and backend.prefers(spec):
            return backend
    reasons = "; ".join(f"{backend.name}: {backend.why_unsupported(spec)}" for backend in loaded_backends())
    raise AttentionError(f"No attention backend can serve {describe(spec)}. {reasons}")


def require_known(name: str | None) -> None:
    """Raise AttentionError, with the nearest names, unless `name` is None or that of a loaded backend."""
    names = [backend.name for backend in loaded_backends()]
    if name is not None and name not in names:
        raise AttentionError(f"There is no attention backend {name!r}.{nearest(name, names)}")


def _by_name(spec: AttentionSpec, name: str) -> AttentionBackend:
    require_known(name)
    backend = next(backend for backend in loaded_backends() if backend.name == name)
    reason = backend.why_unsupported(spec)
    if reason is not None:
        raise AttentionError(f"The attention backend {name!r} cannot serve {describe(spec)}: {reason}")
    return backend
