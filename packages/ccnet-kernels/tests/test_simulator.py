import os
import subprocess
import sys
from pathlib import Path


def test_the_kernels_agree_with_the_oracle_in_numbas_simulator():
    """In a process of its own: the simulator is chosen by a variable that must be set before Numba is imported."""
    path = Path(__file__).with_name("simulated_kernels.py")
    command = [sys.executable, "-m", "pytest", "-q", "--durations=8", "-p", "no:cacheprovider", str(path)]
    run = subprocess.run(
        command, env={**os.environ, "NUMBA_ENABLE_CUDASIM": "1"}, capture_output=True, text=True, check=False
    )
    print(run.stdout)
    assert run.returncode == 0, run.stdout + run.stderr
