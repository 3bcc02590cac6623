"""Two hosts: network namespaces of one machine, joined by a cable. Needs root; `nox -s hosts` runs it."""

import json
import os
import subprocess
import sys

import pytest

ADDRESSES = ("10.77.31.1", "10.77.31.2")
FIT = ("-m", "ccnet_train", "fit", "beacon", "train.iterations=4", "log.every=1", "evaluate.every=4")
LAUNCH = (sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes", "2")


@pytest.fixture
def hosts():
    """Make two hosts that reach each other and nothing else, and return their names."""
    names = [f"ccnet-{os.getpid()}-{side}" for side in "ab"]
    cables = [f"ccnet{side}" for side in "ab"]
    try:
        for name in names:
            ip("netns", "add", name)
        ip("-n", names[0], "link", "add", cables[0], "type", "veth", "peer", "name", cables[1], "netns", names[1])
        for name, cable, address in zip(names, cables, ADDRESSES, strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", cable)
            for device in ("lo", cable):
                ip("-n", name, "link", "set", device, "up")
        yield list(zip(names, cables, strict=True))
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], check=False)


def ip(*words):
    subprocess.run(["ip", *words], check=True)


def losses(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.mark.hosts
def test_two_hosts_train_as_one_host_with_two_processes_does(hosts, environment, run, tmp_path):
    machines = []
    for rank, (name, cable) in enumerate(hosts):
        options = ("--num_machines", "2", "--machine_rank", rank, "--main_process_ip", ADDRESSES[0])
        command = ("ip", "netns", "exec", name, *LAUNCH, *options, "--main_process_port", "29511", *FIT, "output=two")
        # gloo would listen on the address of the machine's name, which is 127.0.0.1 for both.
        variables = environment | {"ACCELERATE_USE_CPU": "true", "GLOO_SOCKET_IFNAME": cable}
        piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        machines.append(subprocess.Popen(list(map(str, command)), env=variables, cwd=tmp_path, **piped))
    answers = [machine.communicate(timeout=240) for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(sum(answers, ()))
    assert "processes: 2, device: cpu" in answers[0][0]
    one = (*LAUNCH, "--num_machines", "1", "--main_process_port", "0")
    done = run(*FIT, "output=one", launcher=one, ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    assert losses(tmp_path / "two") == losses(tmp_path / "one")
    assert [line["step"] for line in losses(tmp_path / "two")] == [1, 2, 3, 4, 4]
