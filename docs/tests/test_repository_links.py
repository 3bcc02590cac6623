"""Links of a README lead to the same thing from the page that includes it."""

import pytest
from repository_links import REPOSITORY, rewrite

CORE = REPOSITORY / "packages" / "ccnet-core"


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("../../docs/export.md", "/export.md"),
        ("../../docs/migration.md#losses", "/migration.md#losses"),
        ("../../docs/cost.png", "/cost.png"),
        ("../../README.md", "/index.md"),
        ("../ccnet-data/README.md#datasets", "/packages/ccnet-data.md#datasets"),
        ("../ccnet-data", "/packages/ccnet-data.md"),
        ("benchmarks/NOTES.md", "/benchmarks/ccnet-core.md"),
        ("benchmarks/cost_cpu.csv", "/../packages/ccnet-core/benchmarks/cost_cpu.csv"),
        ("#measured", "#measured"),
        ("no-such-file.md", "no-such-file.md"),
        ("https://arxiv.org/abs/1811.11721", "https://arxiv.org/abs/1811.11721"),
    ],
)
def test_link_keeps_its_meaning(written, meant):
    assert rewrite(f"see [this]({written}).", CORE) == f"see [this]({meant})."


def test_code_that_looks_like_a_link_stays():
    assert rewrite("AUGMENTATIONS[kind](arguments)", CORE) == "AUGMENTATIONS[kind](arguments)"
