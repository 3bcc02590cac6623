"""Faults of a source that pass: how often and how long it is asked again, and the error when it does not help."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ..errors import DataError, FetchError

T = TypeVar("T")


class RefusedError(Exception):
    """The source will give the same answer again, so it is not asked."""


class BusyError(Exception):
    """The source asks to be left alone for `seconds`."""

    def __init__(self, reason: str, seconds: float) -> None:
        super().__init__(reason)
        self.seconds = seconds


@dataclass(frozen=True, kw_only=True)
class Retry:
    """At most `attempts`, begun within `seconds`; one that gives no byte for `timeout` seconds is broken off.

    Before attempt n + 1 it waits `first_wait` * 2^(n - 1) seconds, at most `longest_wait`, of which a random part, up
    to a half, is left out: many readers of a server that comes back do not ask all at once.
    """

    attempts: int = 8
    seconds: float = 1800
    timeout: float = 30
    first_wait: float = 0.5
    longest_wait: float = 60

    def run(self, attempt: Callable[[float], T], where: Callable[[], str]) -> T:
        """Return what `attempt(deadline)` returns once it does not raise; the deadline is one of `time.monotonic`.

        Raises FetchError, beginning with what `where` says, after the last attempt, and at once what it raises as
        DataError. RefusedError is not tried again.
        """
        begun = time.monotonic()
        number = 0
        while True:
            number += 1
            try:
                return attempt(begun + self.seconds)
            except DataError:
                raise
            except RefusedError as error:
                raise FetchError(f"{where()}: {error}.") from error
            # Every protocol has error types of its own: those of sockets, http.client, fsspec, s3fs, the Hub's client.
            except Exception as error:
                wait = self._wait(number, error)
                if number == self.attempts or time.monotonic() + wait > begun + self.seconds:
                    raise FetchError(
                        f"{where()}: given up after {number} attempts in {time.monotonic() - begun:.0f} s "
                        f"({said(error)}); check the network and the server."
                    ) from error
            time.sleep(wait)

    def _wait(self, number: int, error: Exception) -> float:
        wait: float = min(self.longest_wait, self.first_wait * 2 ** (number - 1)) * random.SystemRandom().uniform(
            0.5, 1
        )
        return max(wait, error.seconds) if isinstance(error, BusyError) else wait


def said(error: Exception) -> str:
    """Return what `error` says, in one line."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__
