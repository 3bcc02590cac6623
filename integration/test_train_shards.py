"""Training on shards behind a web server that fails: killed, continued, and the same as on shards on this machine."""

import json
import signal
import sys

import pytest

LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--main_process_port", "0")
TWO_PROCESSES = (*LAUNCH, "--multi_gpu", "--num_processes", "2", "--num_machines", "1")
FIT = ("-m", "ccnet_train", "fit", "streamed.yaml")
FAULTS = ("", "500", "", "cut", "", "corrupt", "", "503", "", "short", "", "reset")
RECIPE = """
recipe_version: 1
name: streamed
output: run
model: {name: ccnet_tiny}
data: {name: shards, options: {lanes: 4, block: 6}}
train: {iterations: 20, images_per_step: 4}
optimiser: {name: adamw, lr: 1e-3}
evaluate: {every: 20}
checkpoint: {every: 5}
log: {every: 1}
"""


@pytest.fixture
def shards(run, tmp_path):
    """50 pictures for training in shards of about 10, 50 for validation, and a recipe that reads them."""
    (tmp_path / "streamed.yaml").write_text(RECIPE)
    options = ("--out", "shards", "--shard-size", "60kB", "--workers", "0")
    done = run("-m", "ccnet_data", "convert", "beacon", "length=50", "size=64", *options)
    assert done.returncode == 0, done.stderr
    return tmp_path / "shards"


def lines(folder):
    return (folder / "metrics.jsonl").read_text().splitlines()


@pytest.mark.timeout(900)
def test_a_run_over_a_faulty_server_is_killed_and_ends_as_one_on_local_shards(
    run, launch, kill, wait_for, shards, serve_faulty, tmp_path
):
    cpu = {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    largest = max(file.stat().st_size for file in shards.glob("*.parquet"))
    with serve_faulty(shards) as web:
        web.fault = lambda path, number: FAULTS[number % len(FAULTS)] if path.endswith(".parquet") else ""
        cache = (f"data.options.cache={tmp_path / 'cache'}", f"data.options.cache_size={4 * largest}")
        patient = ("data.options.attempts=20", "data.options.timeout=2", "data.workers=2")
        streamed = (*FIT, f"data.root={web.address}", *cache, *patient, "output=streamed")
        launcher = launch(*TWO_PROCESSES, *streamed, **cpu)
        wait_for(tmp_path / "streamed" / "checkpoints" / "step-000010")
        kill()
        assert launcher.wait() == -signal.SIGKILL
        assert json.loads(lines(tmp_path / "streamed")[-1])["step"] < 20
        done = run(*streamed, launcher=TWO_PROCESSES, **cpu)
        assert done.returncode == 0, done.stderr
        assert "processes: 2, device: cpu" in done.stdout
        assert "steps 1 to 20" not in done.stdout
    assert sum(file.stat().st_size for file in (tmp_path / "cache").iterdir()) <= 4 * largest

    done = run(*FIT, f"data.root={shards}", "data.workers=0", "output=local", launcher=TWO_PROCESSES, **cpu)
    assert done.returncode == 0, done.stderr
    assert lines(tmp_path / "streamed") == lines(tmp_path / "local")
    weights = [tmp_path / folder / "best" / "model.safetensors" for folder in ("streamed", "local")]
    assert weights[0].read_bytes() == weights[1].read_bytes()


def test_a_server_that_gives_no_shards_is_one_line_with_shard_and_byte(run, shards, serve_faulty, tmp_path):
    with serve_faulty(shards) as web:
        web.fault = lambda path, number: "500" if path.startswith("train") else ""
        options = (f"data.root={web.address}", f"data.options.cache={tmp_path / 'cache'}", "data.options.attempts=2")
        done = run(*FIT, *options)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
    assert f"split 'train': {web.address}/train-" in line
    assert "byte 0 of " in line
    assert "HTTP 500" in line
    assert "Traceback" not in done.stderr
