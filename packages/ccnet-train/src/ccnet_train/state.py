"""What a step leaves to the next one: weights, optimiser, loss scaler and weight average, by the names of parameters.

The state of all processes is one, so it can be loaded by another number of them. Parameters that torch's FSDP2 shards
are gathered. The optimiser's numbers, such as its weight decay, are the recipe's and not stored.
"""

from typing import Any, Protocol, cast

import torch
from torch.distributed.checkpoint.state_dict import (
    StateDictOptions,
    get_model_state_dict,
    get_optimizer_state_dict,
    set_model_state_dict,
    set_optimizer_state_dict,
)

from ccnet_train.errors import TrainError

# On the CPU, and in the main process only.
WHOLE = StateDictOptions(full_state_dict=True, cpu_offload=True)
# A parameter that never had a gradient has no state.
WHOLE_BUT_UNUSED = StateDictOptions(full_state_dict=True, cpu_offload=True, strict=False)


class Stateful(Protocol):
    """A loss scaler, or an average of weights."""

    def state_dict(self) -> dict[str, Any]:
        """Return its state."""
        ...

    def load_state_dict(self, state: dict[str, Any], /) -> None:
        """Take the state over."""
        ...


def collect(network: torch.nn.Module, optimiser: torch.optim.Optimizer, **others: Stateful | None) -> dict[str, Any]:
    """Return, in the main process, the state of `network`, `optimiser` and whatever `others` there are.

    Called by all processes together.
    """
    state = {
        "network": get_model_state_dict(network, options=WHOLE),
        "optimiser": get_optimizer_state_dict(network, optimiser, options=WHOLE).get("state"),
    }
    return state | {name: other.state_dict() for name, other in others.items() if other is not None}


def restore(
    state: dict[str, Any], network: torch.nn.Module, optimiser: torch.optim.Optimizer, **others: Stateful | None
) -> None:
    """Give all parts the `state` that :func:`collect` returned; one that it lacks stays as it is.

    Raises TrainError if the state is of another network or optimiser.
    """
    try:
        set_model_state_dict(network, state["network"], options=WHOLE)
        _restore_optimiser(state["optimiser"], network, optimiser)
        for name, other in others.items():
            if other is not None and name in state:
                other.load_state_dict(state[name])
    except (KeyError, RuntimeError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise TrainError(
            f"The saved state does not fit the recipe ({reason[:200]}). Go back to the recipe of that run, "
            "give another output=DIR, or start over with --fresh."
        ) from error


def _restore_optimiser(saved: dict[str, Any], network: torch.nn.Module, optimiser: torch.optim.Optimizer) -> None:
    present = get_optimizer_state_dict(network, optimiser)
    known = cast(dict[str, dict[str, Any]], present["state"])
    kept = {name: saved[name] for name in known if name in saved}
    if any(kept[name].keys() != known[name].keys() for name in kept):
        raise ValueError("it is that of another optimiser")
    if kept:  # without momentum SGD has no state
        whole = {"state": kept, "param_groups": present["param_groups"]}
        set_optimizer_state_dict(network, optimiser, whole, options=WHOLE_BUT_UNUSED)
