import time

import pytest

from ccnet_data.errors import DataError, FetchError
from ccnet_data.shards.retry import BusyError, RefusedError, Retry, said


@pytest.fixture
def clock(monkeypatch):
    """A clock that only waiting moves; the waits so far."""
    waits = []
    monkeypatch.setattr(time, "monotonic", lambda: sum(waits))
    monkeypatch.setattr(time, "sleep", waits.append)
    return waits


def failing(*errors):
    """Return an attempt that raises each of `errors`, then returns its deadline."""
    left = list(errors)

    def attempt(deadline):
        if left:
            raise left.pop(0)
        return deadline

    return attempt


def where():
    return "http://there/a, byte 5 of 9"


def test_what_passes_is_tried_again_until_it_passed(clock):
    assert Retry(seconds=100).run(failing(ConnectionError(), OSError(), KeyError()), where) == 100
    assert len(clock) == 3


def test_waits_double_up_to_the_longest_and_lose_up_to_a_half(clock):
    retry = Retry(attempts=8, first_wait=2, longest_wait=20)
    retry.run(failing(*[ConnectionError()] * 7), where)
    for wait, whole in zip(clock, (2, 4, 8, 16, 20, 20, 20), strict=True):
        assert whole / 2 <= wait <= whole
    assert len(set(clock)) == 7


def test_a_server_that_names_a_wait_is_obeyed(clock):
    Retry(first_wait=0.1).run(failing(BusyError("HTTP 503", 7.0)), where)
    assert clock == [7]


def test_the_attempts_are_bounded(clock):
    with pytest.raises(FetchError) as raised:
        Retry(attempts=3, first_wait=2).run(failing(*[ConnectionError("HTTP 500\n Oh.")] * 3), where)
    assert str(raised.value).startswith("http://there/a, byte 5 of 9: given up after 3 attempts in ")
    assert str(raised.value).endswith(" s (HTTP 500 Oh); check the network and the server.")
    assert len(clock) == 2


def test_the_time_is_bounded(clock):
    with pytest.raises(FetchError, match=r"given up after [23] attempts in [2-9] s"):
        Retry(seconds=10, first_wait=4).run(failing(*[ConnectionError()] * 9), where)
    assert sum(clock) <= 10


def test_a_server_that_names_a_wait_past_the_bound_is_not_waited_for(clock):
    with pytest.raises(FetchError, match=r"given up after 1 attempts in 0 s \(HTTP 503\)"):
        Retry(seconds=10).run(failing(BusyError("HTTP 503", 11)), where)
    assert clock == []


def test_what_is_refused_is_not_tried_again(clock):
    with pytest.raises(FetchError, match=r"byte 5 of 9: HTTP 404 Not Found; check the address\.$"):
        Retry().run(failing(RefusedError("HTTP 404 Not Found; check the address")), where)
    assert clock == []


def test_an_error_of_ours_is_passed_on(clock):
    with pytest.raises(DataError, match=r"^the disk is full\.$"):
        Retry().run(failing(DataError("the disk is full.")), where)


def test_an_error_without_words_says_its_type():
    assert said(TimeoutError()) == "TimeoutError"
