"""Which backend serves a call: by name, or the one of highest priority that supports and prefers it."""

import os

from ccnet_core.attention.interface import AttentionBackend, AttentionSpec, describe
from ccnet_core.errors import AttentionError, nearest
from ccnet_core.plugins import loaded_backends

ENVIRONMENT_VARIABLE = "CCNET_ATTENTION"


def select(spec: AttentionSpec, name: str | None = None) -> AttentionBackend:
    """Return the backend for `spec`.

    `name` asks for one; the environment variable CCNET_ATTENTION overrides it. Raises AttentionError for an unknown
    name, and, with the backend's own reason, when the one asked for cannot serve the call.
    """
    name = os.environ.get(ENVIRONMENT_VARIABLE) or name
    backends = loaded_backends()
    if name is None:
        return next(b for b in backends if b.why_unsupported(spec) is None and b.prefers(spec))
    for backend in backends:
        if backend.name == name:
            reason = backend.why_unsupported(spec)
            if reason is not None:
                raise AttentionError(f"The attention backend {name!r} cannot serve {describe(spec)}: {reason}")
            return backend
    raise AttentionError(f"There is no attention backend {name!r}.{nearest(name, [b.name for b in backends])}")
