"""The same comparisons on a CUDA device."""

import pytest
import torch
from kernel_oracle import errors, inputs, results, wrong

from ccnet_kernels import criss_cross_attention
from ccnet_kernels.formula import plain_attention

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    # launch.py silences this one when it is imported; pytest sets the filters anew for each test.
    pytest.mark.filterwarnings("ignore:Grid size"),
]
SMALL = [(1, 1, 1, 1, 1), (1, 3, 5, 1, 70), (1, 3, 5, 70, 1), (2, 5, 7, 9, 13)]
LARGE = [(2, 64, 512, 97, 97), (1, 70, 130, 33, 512), (1, 16, 32, 512, 40)]


@pytest.mark.parametrize("magnitude", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("shape", SMALL)
def test_small_maps_agree_with_the_slow_oracle(shape, magnitude):
    assert not wrong(errors(criss_cross_attention, shape, magnitude, device="cuda"), magnitude)


@pytest.mark.parametrize("shape", LARGE)
def test_large_maps_agree_with_the_plain_formula(shape):
    assert not wrong(errors(criss_cross_attention, shape, 0.1, device="cuda", reference=plain_attention), 0.1)


def test_two_runs_give_the_same_bits():
    first, second = (results(criss_cross_attention, inputs((2, 16, 40, 50, 60), 0.3, "cuda")) for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_a_graph_captures_the_launches():
    """A launch on another stream than the current one would leave the graph empty and the output unwritten."""
    given = [tensor.detach() for tensor in list(inputs((1, 8, 16, 20, 30), 1.0, "cuda").values())[:3]]
    expected = criss_cross_attention(*given)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = criss_cross_attention(*given)
    output.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert torch.equal(output, expected)


def test_compiled_with_fullgraph_it_gives_the_same():
    compiled = torch.compile(criss_cross_attention, fullgraph=True)
    assert not wrong(errors(compiled, (1, 8, 16, 9, 11), 1.0, device="cuda"), 1.0)


def test_peak_memory_holds_no_attention_map():
    shape = (1, 8, 16, 256, 256)
    given = {name: tensor for name, tensor in inputs(shape, 1.0, "cuda").items() if name in ("query", "key", "value")}
    criss_cross_attention(**given).sum().backward()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    criss_cross_attention(**given).sum().backward()
    assert torch.cuda.max_memory_allocated() - before < 4 * 256 * 256 * (256 + 256) / 4
