import torch

import ccnet_core as ccnet


def test_doctor_refuses_an_unknown_backend_in_the_environment(run, monkeypatch):
    monkeypatch.setenv("CCNET_ATTENTION", "torhc")
    done = run("doctor")
    assert (done.returncode, done.stdout) == (2, "")
    assert "Did you mean 'torch'" in done.stderr


def test_doctor_lists_versions_and_backends(run):
    done = run("doctor")
    assert done.returncode == 0
    assert f"ccnet-core {ccnet.__version__}" in done.stdout
    assert f"  torch {torch.__version__} (interface 1): usable\n" in done.stdout
