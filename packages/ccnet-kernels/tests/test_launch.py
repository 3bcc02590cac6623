"""Launches met by a driver that only takes notes: fake_driver.py. torch's own part of CUDA is stood in for too."""

import ctypes
import dataclasses
import struct
import threading
import time

import pytest
import torch
from fake_driver import FakeDriver, compiler

from ccnet_kernels.cuda import launch
from ccnet_kernels.cuda.binary import Binary

pytestmark = pytest.mark.skipif(compiler() is None, reason="needs a C compiler")
STREAM = 0x7F12_3456_7890
CONTEXT = 0x70_0000_0000
BINARY = Binary(parameters="PPPiii", threads=128, shared=0, code=b"\x7fELF\x00\x01code")


@pytest.fixture
def driver(monkeypatch, tmp_path):
    fake = FakeDriver(tmp_path)
    monkeypatch.setattr(launch, "_library", lambda: ctypes.CDLL(str(fake.path)))
    monkeypatch.setattr(launch, "_kernels", {})
    # Slow enough for threads to meet there.
    monkeypatch.setattr(launch, "binary_of", lambda name, capability: time.sleep(0.02) or BINARY)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda device: STREAM, raising=False)
    launch._driver.cache_clear()
    yield fake
    launch._driver.cache_clear()


@pytest.fixture
def tensor():
    return torch.zeros(8)


def test_it_launches_the_grid_on_torchs_stream_in_the_devices_context(driver, tensor):
    launch.run("name", 70_000, (tensor, None, tensor, 1, 2, 3))
    [seen] = driver.launches()
    assert (list(seen.grid), list(seen.block), seen.shared) == ([70_000, 1, 1], [128, 1, 1], 0)
    assert (seen.stream, seen.context) == (STREAM, CONTEXT)
    assert ctypes.string_at(driver.address("entry")) == b"name"


def test_a_launch_may_have_fewer_threads_and_shared_memory_of_its_own(driver, tensor):
    launch.run("name", 5, (tensor, None, tensor, 1, 2, 3), 96, 30_000)
    [seen] = driver.launches()
    assert (list(seen.block), seen.shared, driver.number("most_shared")) == ([96, 1, 1], 30_000, 0)


def test_a_kernel_that_may_ask_for_much_shared_memory_is_loaded_so(driver, tensor, monkeypatch):
    much = dataclasses.replace(BINARY, shared=70_000)
    monkeypatch.setattr(launch, "binary_of", lambda name, capability: much)
    launch.run("name", 5, (tensor, None, tensor, 1, 2, 3), 96, 70_000)
    assert (driver.launches()[0].shared, driver.number("most_shared")) == (70_000, 70_000)


def test_arguments_lie_as_c_lays_them_out(driver, tensor):
    launch.run("name", 1, (tensor, None, tensor[1:], -1, True, 2**31 - 1))
    [seen] = driver.launches()
    expected = struct.pack("<QQQiii", tensor.data_ptr(), 0, tensor.data_ptr() + 4, -1, 1, 2**31 - 1)
    assert seen.arguments == expected


def test_a_number_that_is_no_int32_is_refused(driver, tensor):
    with pytest.raises(struct.error):
        launch.run("name", 1, (tensor, None, tensor, 1, 2, 2**31))
    assert not driver.launches()


def test_the_stream_is_asked_for_at_every_launch(driver, tensor, monkeypatch):
    streams = iter([0, 0x1234, STREAM])
    monkeypatch.setattr(torch._C, "_cuda_getCurrentRawStream", lambda device: next(streams), raising=False)
    for _ in range(3):
        launch.run("name", 1, (tensor, tensor, tensor, 1, 2, 3))
    assert [seen.stream for seen in driver.launches()] == [None, 0x1234, STREAM]


def test_a_kernel_is_loaded_once_whatever_the_shapes_and_the_thread(driver, tensor):
    threads = [
        threading.Thread(target=launch.run, args=("name", blocks, (tensor, tensor, tensor, blocks, 2, 3)))
        for blocks in range(1, 9)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert driver.number("loaded") == 1
    assert sorted(seen.grid[0] for seen in driver.launches()) == list(range(1, 9))
    # Each was given its own memory: the first number is that of its own blocks.
    assert all(struct.unpack_from("<i", seen.arguments, 24)[0] == seen.grid[0] for seen in driver.launches())
    assert driver.number("depth") == 0  # every context that was pushed was popped


def test_another_device_has_a_kernel_and_a_context_of_its_own(driver, monkeypatch, tensor):
    elsewhere = type("", (), {"device": torch.device("cuda", 3), "data_ptr": lambda self: 5})()
    launch.run("name", 1, (tensor, tensor, tensor, 1, 2, 3))
    launch.run("name", 1, (elsewhere, None, None, 1, 2, 3))
    one, other = driver.launches()
    assert (driver.number("loaded"), one.context, other.context) == (2, CONTEXT, CONTEXT + 3)
    assert one.function != other.function


@pytest.mark.parametrize(("status", "kind"), [(2, torch.OutOfMemoryError), (700, RuntimeError)])
def test_a_failed_launch_is_an_error_of_torchs_kind_and_the_next_call_works(driver, tensor, status, kind):
    driver.set("status_of_launch", status)
    with pytest.raises(kind, match=rf"CUDA error {status} at name in 7 blocks of 128 threads: (out of|some)"):
        launch.run("name", 7, (tensor, tensor, tensor, 1, 2, 3))
    driver.set("status_of_launch", 0)
    launch.run("name", 8, (tensor, tensor, tensor, 1, 2, 3))
    assert (driver.launches()[-1].grid[0], driver.number("depth")) == (8, 0)


def test_a_kernel_that_could_not_be_loaded_is_loaded_by_the_next_call(driver, tensor):
    driver.set("status_of_load", 2)
    with pytest.raises(torch.OutOfMemoryError, match="CUDA error 2 at loading name: out of memory"):
        launch.run("name", 7, (tensor, tensor, tensor, 1, 2, 3))
    assert driver.number("depth") == 0
    driver.set("status_of_load", 0)
    launch.run("name", 7, (tensor, tensor, tensor, 1, 2, 3))
    assert len(driver.launches()) == 1
