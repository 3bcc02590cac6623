"""Networks of other kinds than CCNet, with which other distributions predict: found by entry point, never imported."""

from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

from ccnet_core.errors import OtherKindError, WeightsError
from ccnet_core.outputs import Results

ENTRY_POINT_GROUP = "ccnet.tasks"
"""Its entry points are called as the `model_type` of config.json, and give a :class:`Kind`."""


class Kind(Protocol):
    """How `ccnet predict` uses networks of one kind."""

    finds: str
    """What they find, for a sentence."""

    def load(self, source: str, *, device: str, backend: str | None) -> Any:
        """Return the network of a weights folder or of the Hub, on a device, with an attention backend by name."""
        ...

    def results(self, network: Any, *, folder: Path, opacity: float, kinds: tuple[str, ...] = ...) -> Results:
        """Return what is written of a picture: `kinds` of files, to `folder`. Raises ConfigError for other kinds."""
        ...


def find_kind(refused: OtherKindError) -> Kind:
    """Return who can predict with the network that CCNet has `refused`. Raises WeightsError if it is not installed."""
    for entry_point in entry_points(group=ENTRY_POINT_GROUP, name=refused.model_type):
        kind: Kind = entry_point.load()
        return kind
    raise WeightsError(f'{refused} Both need ccnet-train: python -m pip install "ccnet-train[detection]"')
