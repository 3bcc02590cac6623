"""What is counted from one logged step to the next, and outlives a kill."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(kw_only=True)
class Tally:
    """`replaced`: the errors of this process's damaged samples, and `earlier` ones of all before the run resumed.

    `skipped` steps were left out; `in_a_row` are those up to now.
    """

    replaced: list[str] = field(default_factory=list)
    earlier: int = 0
    skipped: int = 0
    in_a_row: int = 0

    def counts(self, replaced: int) -> dict[str, int]:
        """Return what is logged: `replaced` in all processes and `skipped`, where they are not 0; and begin anew."""
        found = {"replaced": replaced + self.earlier, "skipped": self.skipped}
        self.replaced.clear()
        self.earlier = self.skipped = 0
        return {name: count for name, count in found.items() if count}

    def state_dict(self, replaced: int) -> dict[str, int]:
        """Return what :meth:`load_state_dict` takes, `replaced` being the number in all processes."""
        return {"replaced": replaced + self.earlier, "skipped": self.skipped, "in_a_row": self.in_a_row}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on counting from `state`."""
        self.earlier, self.skipped, self.in_a_row = (int(state[key]) for key in ("replaced", "skipped", "in_a_row"))
