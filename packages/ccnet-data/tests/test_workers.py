import operator
import os
import subprocess
import sys
import textwrap

import pytest

from ccnet_data.workers import CHUNK, every_job, every_sample


@pytest.mark.parametrize(("workers", "count"), [(0, 0), (2, 0), (0, 3), (2, 3), (None, 40), (3, 5 * CHUNK + 1)])
def test_every_position_is_worked_on_once_and_in_order(workers, count):
    squares = [number * number for number in range(count)]
    assert list(every_sample(squares, operator.getitem, workers, "squares")) == squares


def test_more_work_than_is_handed_out_at_once_keeps_its_order():
    assert list(every_sample(range(1000), operator.getitem, 2, "numbers")) == list(range(1000))


def test_an_error_arrives_as_it_was_raised():
    for workers in (0, 2):
        with pytest.raises(TypeError, match="unsupported operand"):
            list(every_sample(["a"] * 64, operator.sub, workers, "texts"))


def test_without_a_number_there_is_a_process_for_each_cpu_that_may_be_used(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {1, 4, 5}, raising=False)
    monkeypatch.setattr("ccnet_data.workers._shared", lambda _, __, processes: [processes])
    assert list(every_sample(range(1000), operator.getitem, None, "numbers")) == [3]
    assert list(every_sample(range(2 * CHUNK), operator.getitem, None, "numbers")) == [2]


def test_jobs_are_done_here_without_processes():
    done = list(every_job([2, 3], lambda job, advance: [advance(1) for _ in range(job)], 0, 5, "jobs"))
    assert [len(result) for result in done] == [2, 3]


def run_jobs(tmp_path, body, use):
    """Run a script that has `work(job, advance)` in `body`, and `use` of the results of the jobs 5, 50 and 7."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\nfrom ccnet_data.errors import DataError\nfrom ccnet_data.workers import every_job\n\n"
        + textwrap.dedent(body)
        + "\nif __name__ == '__main__':\n    results = every_job([5, 50, 7], work, 2, 62, 'title')\n"
        + textwrap.indent(textwrap.dedent(use), "    ")
    )
    return subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60)


def test_every_job_is_done_once_by_several_processes(tmp_path):
    body = """
        def work(job, advance):
            for _ in range(job):
                advance(1)
                time.sleep(0.01)
            return job, os.getpid()
    """
    use = "pairs = list(results)\nprint(sorted(job for job, _ in pairs), len({process for _, process in pairs}))"
    result = run_jobs(tmp_path, body, use)
    assert (result.returncode, result.stdout, result.stderr) == (0, "[5, 7, 50] 2\n", "")


def test_the_bar_counts_what_the_processes_advance(tmp_path):
    body = """
        import tqdm
        class Bar:
            counted = 0
            def __init__(self, total, **_):
                self.total = total
            def __enter__(self):
                return self
            def __exit__(self, *_):
                print(Bar.counted, "of", self.total)
            def update(self, count):
                Bar.counted += count
        tqdm.tqdm = Bar
        def work(job, advance):
            for _ in range(job):
                advance(1)
    """
    result = run_jobs(tmp_path, body, "list(results)")
    assert (result.stdout, result.stderr) == ("62 of 62\n", "")


def test_an_error_in_a_job_calls_the_others_off(tmp_path):
    body = """
        def work(job, advance):
            if job == 5:
                raise DataError("a damaged sample")
            while True:
                advance(1)
                time.sleep(0.01)
    """
    result = run_jobs(tmp_path, body, "list(results)")
    assert result.returncode == 1
    assert "DataError: a damaged sample" in result.stderr.splitlines()[-1]


def test_a_process_that_dies_in_a_job_is_an_error_and_not_a_hang(tmp_path):
    result = run_jobs(tmp_path, "def work(job, advance):\n    os._exit(7)\n", "list(results)")
    assert "DataError: A process ended in the middle of 62 samples" in result.stderr


def run(tmp_path, body, guard="if __name__ == '__main__':"):
    """Run a script that has `work(dataset, index)` in `body` over 64 positions, in 2 processes."""
    script = tmp_path / "script.py"
    script.write_text(
        "import os, time\nfrom ccnet_data.workers import every_sample\n\n"
        + textwrap.dedent(body)
        + f"\n{guard}\n    print(sorted({{*every_sample(range(64), work, 2, 'title')}}))\n"
    )
    return subprocess.run([sys.executable, "-W", "error", script], capture_output=True, text=True, timeout=60)


def test_the_work_is_shared_by_several_processes(tmp_path):
    result = run(tmp_path, "def work(dataset, index):\n    time.sleep(0.05)\n    return os.getpid()\n")
    assert (result.returncode, result.stderr) == (0, "")
    assert len(set(result.stdout.strip("[]\n").split(", "))) == 2


def test_a_process_that_dies_is_an_error_and_not_a_hang(tmp_path):
    result = run(tmp_path, "def work(dataset, index):\n    os._exit(7)\n")
    assert result.returncode == 1
    assert "DataError: A process ended in the middle of 64 samples" in result.stderr


def test_a_script_without_a_guard_is_told_to_have_one(tmp_path):
    result = run(tmp_path, "def work(dataset, index):\n    return index\n", guard="if True:")
    assert result.returncode == 1
    assert "A script must guard its start" in result.stderr.splitlines()[-1]


def test_a_consumer_that_leaves_early_leaves_no_process():
    found = every_sample(range(100_000), operator.getitem, 2, "numbers")
    assert next(found) == 0
    found.close()
    assert children(os.getpid()) == []


def children(pid):
    """Return the processes of Python's pools below `pid`, but not the tracker that multiprocessing keeps."""
    with open(f"/proc/{pid}/task/{pid}/children") as listing:  # noqa: PTH123
        found = listing.read().split()
    return [child for child in found if "spawn_main" in command(child)]


def command(pid):
    with open(f"/proc/{pid}/cmdline") as line:  # noqa: PTH123
        return line.read()
