import subprocess
import sys
from pathlib import Path

import torch

from ccnet_core.attention import interface


def test_compiled_call_asks_for_the_capability_once_and_outside_the_graph(monkeypatch, tmp_path):
    log = tmp_path / "asked"

    def ask(index):
        with Path(log).open("a") as file:  # which the compiler could not trace
            file.write(f"{index} ")
        return (9, 0)

    monkeypatch.setattr(torch.cuda, "get_device_capability", ask)
    compiled = torch.compile(lambda x: x + interface.capability_of(3)[0], backend="eager", fullgraph=True)
    assert torch.equal(compiled(torch.zeros(2)), torch.full((2,), 9.0))
    compiled(torch.ones(2))
    assert log.read_text() == "3 "


def test_importing_core_does_not_import_the_compiler():
    program = "import sys, ccnet_core; sys.exit('torch._dynamo' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
