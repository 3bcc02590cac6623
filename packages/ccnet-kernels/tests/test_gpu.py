"""On a CUDA device: the emulated comparisons again, and what only a device can show."""

import threading

import pytest
import torch
from kernel_oracle import errors, inputs, results, wrong
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader

from ccnet_kernels import criss_cross_attention
from ccnet_kernels.formula import plain_attention
from ccnet_kernels.support import CAPABILITIES

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
DTYPES = [torch.float32, torch.float16, torch.bfloat16]
SMALL = [(1, 1, 1, 1, 1), (1, 3, 5, 1, 70), (1, 3, 5, 70, 1), (2, 5, 7, 9, 13), (1, 8, 24, 33, 65), (2, 3, 5, 2, 3, 4)]
LARGE = [(2, 64, 512, 97, 97), (1, 70, 130, 33, 512), (1, 16, 32, 512, 40), (1, 32, 136, 5, 40, 66)]
MIDDLE = (2, 16, 40, 50, 60)


@pytest.fixture(params=DTYPES, ids=str)
def dtype(request):
    if torch.cuda.get_device_capability() < CAPABILITIES[request.param]:
        pytest.skip(f"{request.param} needs compute capability {CAPABILITIES[request.param]}")
    return request.param


def in_training(attend, given):
    """Return the output and every gradient."""
    return results(attend, given, dtype=given["value"].dtype)


def equal(one, other):
    return all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("magnitude", [0.01, 1.0, 10.0])
@pytest.mark.parametrize("shape", SMALL)
def test_small_maps_agree_with_the_slow_oracle(shape, magnitude, dtype):
    found = errors(criss_cross_attention, shape, magnitude, device="cuda", dtype=dtype)
    assert not wrong(found, magnitude, dtype)


@pytest.mark.parametrize("shape", LARGE)
def test_large_maps_agree_with_the_plain_formula(shape, dtype):
    found = errors(criss_cross_attention, shape, 0.1, device="cuda", dtype=dtype, reference=plain_attention)
    assert not wrong(found, 0.1, dtype)


def test_two_runs_give_the_same_bits(dtype):
    first, second = (in_training(criss_cross_attention, inputs(MIDDLE, 0.3, "cuda", dtype=dtype)) for _ in range(2))
    assert equal(first, second)


def test_another_memory_layout_gives_the_same_bits(dtype):
    given = inputs(MIDDLE, 0.3, "cuda", dtype=dtype)
    other = {
        name: tensor.detach().contiguous(memory_format=torch.channels_last) if name != "scale" else tensor.detach()
        for name, tensor in given.items()
    }
    other = {name: tensor.requires_grad_() for name, tensor in other.items()}
    assert equal(in_training(criss_cross_attention, given), in_training(criss_cross_attention, other))


@pytest.mark.parametrize("shape", [(2, 16, 24, 5, 7), (2, 64, 512, 97, 97)])
def test_maps_may_be_channels_of_one(shape, dtype):
    def attend(query, key, value, **options):
        joint = torch.cat([query, key, value], 1).contiguous(memory_format=torch.channels_last)
        return criss_cross_attention(*joint.split([maps.shape[1] for maps in (query, key, value)], 1), **options)

    assert not wrong(errors(attend, shape, 0.1, device="cuda", dtype=dtype, reference=plain_attention), 0.1, dtype)


@pytest.mark.parametrize("name", ["query", "key", "value"])
def test_nan_propagates_as_in_torch(name, dtype):
    given = {name: tensor.detach() for name, tensor in inputs((1, 8, 16, 9, 70), 1.0, "cuda", dtype=dtype).items()}
    given[name][0, 0, 3, 66] = torch.nan
    assert torch.equal(criss_cross_attention(**given).isnan(), plain_attention(**given).isnan())


def test_a_graph_captures_the_launches_of_both_directions(dtype):
    """A launch on another stream than the current one would leave the graph empty and the results unwritten."""
    given = inputs((1, 8, 16, 20, 30), 1.0, "cuda", dtype=dtype)
    expected = in_training(criss_cross_attention, given)
    upstream = torch.randn(given["value"].shape, generator=torch.Generator().manual_seed(2)).to(given["value"])
    graph, side = torch.cuda.CUDAGraph(), torch.cuda.Stream()

    def step():
        output = criss_cross_attention(**given)
        # A copy, as the gradient of residual is the very tensor that comes in, and is cleared below.
        return output.detach(), *torch.autograd.grad(output, list(given.values()), upstream.clone())

    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    with torch.cuda.graph(graph):
        found = step()
    for tensor in found:
        tensor.zero_()
    graph.replay()
    torch.cuda.synchronize()
    assert equal(expected, dict(zip(expected, found, strict=True)))


def test_launches_follow_the_current_stream(dtype):
    """Work queued on a side stream is not overtaken."""
    given = {name: tensor.detach() for name, tensor in inputs(MIDDLE, 0.3, "cuda", dtype=dtype).items()}
    expected = criss_cross_attention(**given)
    late = {name: torch.zeros_like(tensor) for name, tensor in given.items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        torch.cuda._sleep(50_000_000)
        for name, tensor in late.items():
            tensor.copy_(given[name])
        found = criss_cross_attention(**late)
    side.synchronize()
    assert torch.equal(found, expected)


def test_compiled_with_fullgraph_it_gives_the_same(dtype):
    compiled = torch.compile(criss_cross_attention, fullgraph=True)
    given = inputs((1, 8, 16, 9, 11), 1.0, "cuda", dtype=dtype)
    assert equal(in_training(criss_cross_attention, given), in_training(compiled, given))


def test_checkpointed_it_gives_the_same_bits(dtype):
    given = inputs(MIDDLE, 0.3, "cuda", dtype=dtype)

    def checkpointed(*maps, **options):
        return checkpoint(criss_cross_attention, *maps, use_reentrant=False, **options)

    assert equal(in_training(criss_cross_attention, given), in_training(checkpointed, given))


def test_peak_memory_holds_no_attention_map(dtype):
    shape = (1, 8, 16, 256, 256)
    given = inputs(shape, 1.0, "cuda", dtype=dtype)
    criss_cross_attention(**given).sum().backward()
    for tensor in given.values():
        tensor.grad = None
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    criss_cross_attention(**given).sum().backward()
    map_of_weights = given["value"].element_size() * 256 * 256 * (256 + 256)
    assert torch.cuda.max_memory_allocated() - before < map_of_weights / 2


def test_a_thread_that_has_not_met_the_device_may_call(dtype):
    given = {name: tensor.detach() for name, tensor in inputs(MIDDLE, 0.3, "cuda", dtype=dtype).items()}
    expected, found = criss_cross_attention(**given), []
    thread = threading.Thread(target=lambda: found.append(criss_cross_attention(**given)))
    thread.start()
    thread.join()
    assert torch.equal(found[0], expected)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
def test_maps_on_another_device_than_the_current_one_are_served_there(dtype):
    given = inputs(MIDDLE, 0.3, "cuda:1", dtype=dtype)
    here = {name: tensor.detach().to("cuda:0").requires_grad_() for name, tensor in given.items()}
    there, expected = in_training(criss_cross_attention, given), in_training(criss_cross_attention, here)
    assert all(torch.equal(there[name].cpu(), expected[name].cpu()) for name in expected)
    assert torch.cuda.current_device() == 0


@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")  # Python 3.12, of any process with threads
def test_forked_workers_keep_working(dtype):
    criss_cross_attention(**inputs(MIDDLE, 0.3, "cuda", dtype=dtype))
    loader = DataLoader(list(range(8)), batch_size=2, num_workers=2, multiprocessing_context="fork")
    assert torch.cat(list(loader)).tolist() == list(range(8))


def test_after_the_device_ran_out_of_memory_the_next_call_works(dtype):
    given = {name: tensor.detach() for name, tensor in inputs((4, 8, 64, 128, 128), 0.3, "cuda", dtype=dtype).items()}
    expected = criss_cross_attention(**given)
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(1e-6)
    try:
        with pytest.raises(torch.OutOfMemoryError):
            criss_cross_attention(**given)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert torch.equal(criss_cross_attention(**given), expected)
