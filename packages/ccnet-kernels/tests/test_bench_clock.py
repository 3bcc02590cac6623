import time

from ccnet_kernels.bench.clock import medians


def test_rounds_are_interleaved_and_the_first_one_does_not_count():
    calls = []
    found = medians({name: lambda name=name: calls.append(name) for name in ("one", "two")}, "cpu", rounds=3)
    assert calls == ["one", "two"] * 4
    assert found.keys() == {"one", "two"}


def test_the_median_is_in_milliseconds():
    waits = iter([0.2, 0.01, 0.02, 0.2])  # the first does not count, the last is an outlier
    assert 20 <= medians({"wait": lambda: time.sleep(next(waits))}, "cpu", rounds=3)["wait"] < 100
