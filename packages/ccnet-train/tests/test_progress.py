import os
import pty
import re
import sys
import termios

import pytest
import torch

from ccnet_train.progress import Progress, bar

CPU = torch.device("cpu")


MEASURED = {"images_per_second": 46.4, "data_share": 0.12, "memory_gib": 5.25}


def progress_of(start=0, total=5, show=True):
    return Progress(start=start, total=total, images_per_step=4, device=CPU, show=show)


@pytest.fixture
def clock(monkeypatch):
    """A clock that stands still unless a test moves it."""
    now = [0.0]
    monkeypatch.setattr("ccnet_train.progress.time.perf_counter", lambda: now[0])
    return now


@pytest.fixture
def terminal(monkeypatch):
    """Make sys.stderr a terminal of so many columns; what is called then gives what stands there, line by line."""
    opened = []

    def make(columns):
        master, slave = pty.openpty()
        termios.tcsetwinsize(slave, (24, columns))
        stream = os.fdopen(slave, "w")
        opened.append((master, stream))
        monkeypatch.setattr(sys, "stderr", stream)

        def read():
            print("END", file=stream, flush=True)
            text = b""
            while not text.endswith(b"END\r\n"):
                text += os.read(master, 2**16)
            return text.decode().replace("\r\n", "\r").split("\r")[:-2]

        return read

    yield make
    for master, stream in opened:
        stream.close()
        os.close(master)


@pytest.mark.parametrize(("columns", "last"), [(80, "5.2 GiB"), (100, "5.2 GiB, data 12%"), (120, "5.2 GiB, data 12%")])
def test_the_bar_fits_its_terminal_and_a_narrow_one_sees_the_memory_still(terminal, columns, last):
    read = terminal(columns)
    progress = progress_of(start=39999, total=80000)
    progress.bar.start_t -= 1  # in which it made one step
    progress.tell(0.12345, 0.001, MEASURED)
    progress.advance()
    progress.bar.refresh()
    progress.close()
    states = read()
    assert max(map(len, states)) < columns
    shown = next(state for state in states if "loss" in state)
    assert re.search(r"50%\|.+\| 40000/80000 11:\d\d:\d\d left, loss 0\.1235, lr 1\.0e-03, ", shown)
    assert shown.endswith(last)


def test_the_time_left_counts_the_pauses_in(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    progress = progress_of(total=120)
    for seconds in [59, *(1 for _ in range(30))]:  # an evaluation, then steps of a second
        now[0] += seconds
        progress.advance()
    assert capsys.readouterr().err.splitlines()[-1] == "train 31/120 (26%), 04:15 left"  # 89 steps at 89 / 31 seconds
    progress.close()


def test_in_a_file_each_state_is_a_line_every_half_a_minute(capsys, monkeypatch):
    now = [1000.0]
    monkeypatch.setattr("tqdm.std.time", lambda: now[0])
    progress = progress_of(total=50)
    for step in range(1, 6):
        now[0] += 10
        progress.advance()
        progress.tell(1 / step, 0.001, MEASURED)
    progress.say("a line")
    progress.close()
    told = capsys.readouterr()
    assert told.out == "a line\n"
    assert [line.partition(" left")[0] for line in told.err.splitlines()] == [
        "train 3/50 (6%), 07:50",
        "train 5/50 (10%), 07:30",
    ]
    assert told.err.endswith("loss 0.2000, lr 1.0e-03, 46.4 img/s, 5.2 GiB, data 12%\n")
    assert "\r" not in told.err


def test_on_a_terminal_the_bar_is_wiped_out_for_a_line(terminal, capsys):
    read = terminal(80)
    progress = progress_of()
    progress.say("a line")
    progress.close()
    assert " " * 79 in read()
    assert capsys.readouterr().out == "a line\n"


def test_speed_and_the_share_waited_for_data_are_measured_since_the_last_pause(clock):
    def slow():
        for batch in range(3):
            clock[0] += 2.0
            yield batch

    progress = progress_of()
    seen = []
    for batch in progress.waiting(slow()):
        clock[0] += 6.0
        progress.advance()
        seen.append(batch)
    assert seen == [0, 1, 2]
    measured = progress.measured()
    assert measured["data_share"] == 0.25
    assert measured["images_per_second"] == 3 * 4 / 24
    assert 0.05 < measured["memory_gib"] < 1000
    clock[0] += 100.0
    progress.restart_clock()
    clock[0] += 1.0
    progress.advance()
    assert progress.measured()["images_per_second"] == 4
    assert progress.measured()["data_share"] == 0.0
    progress.close()


def test_the_time_of_a_run_has_its_pauses_in_it(clock):
    progress = progress_of(show=False)
    clock[0] += 3600
    progress.restart_clock()
    clock[0] += 61
    assert progress.elapsed == "1:01:01"


def test_memory_that_the_system_does_not_tell_is_left_out(clock, capsys, monkeypatch):
    monkeypatch.setattr("ccnet_train.progress.peak_memory", lambda device: None)
    progress = progress_of()
    clock[0] += 1.0
    progress.advance()
    progress.tell(1.0, 0.001, progress.measured())
    progress.close()
    assert "GiB" not in capsys.readouterr().err
    assert set(progress.measured()) == {"images_per_second", "data_share"}


def test_a_fast_run_is_told_in_whole_pictures(capsys):
    progress = progress_of()
    progress.advance()
    progress.tell(1.0, 0.001, MEASURED | {"images_per_second": 1234.56})
    progress.close()
    assert " 1235 img/s" in capsys.readouterr().err


def test_a_quiet_run_prints_nothing(capsys):
    progress = progress_of(show=False)
    progress.advance()
    progress.tell(1.0, 0.001, MEASURED)
    progress.say("a line")
    progress.close()
    assert list(bar(range(3), "evaluate", show=False)) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")
