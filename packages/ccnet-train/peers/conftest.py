import mmseg_peer  # noqa: F401  (makes mmsegmentation importable, so before every test file)
import pytest
import torch


@pytest.fixture(autouse=True)
def _reproducible() -> None:
    torch.manual_seed(0)
