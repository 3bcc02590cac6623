"""A real, installed plug-in that is of another version, or broken, does not stop core."""

import pytest

WRONG_VERSION = """
class Backend:
    name, version, api_version, priority = "other", "9.9", 99, 100
    def why_unsupported(self, spec): return None
    def prefers(self, spec): return True
    def __call__(self, query, key, value, *, scale=None, residual=None): raise RuntimeError
backend = Backend()
"""


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (WRONG_VERSION, "it speaks version 99 of the interface. Core speaks version 1"),
        ("raise OSError('libcuda.so is missing')", "it failed to load (OSError: libcuda.so is missing)"),
    ],
)
def test_core_works_on_with_one_clear_warning(run, tmp_path, source, reason):
    (tmp_path / "other_attention.py").write_text(source)
    metadata = tmp_path / "other_attention-9.9.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: other-attention\nVersion: 9.9\n")
    (metadata / "entry_points.txt").write_text("[ccnet.attention_backends]\nother = other_attention:backend\n")
    code = "import ccnet_core, torch; print(ccnet_core.CrissCrossAttention(8)(torch.ones(1, 8, 2, 2)).sum().item())"
    done = run("-c", code, PYTHONPATH=str(tmp_path))
    assert done.stdout.strip() == "32.0"
    assert done.stderr.count("UserWarning") == 1
    assert f"attention backend 'other' of other-attention 9.9 is not used: {reason}" in done.stderr
    assert "python -m pip install --upgrade ccnet-core other-attention" in done.stderr
