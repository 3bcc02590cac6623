import os
import subprocess
import sys
from pathlib import Path

import emulator
import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from ccnet_kernels import KernelError, criss_cross_attention, ops, support
from ccnet_kernels.cuda import launch
from ccnet_kernels.formula import plain_attention

B, D, C, H, W = 1, 8, 16, 256, 256
PICTURE, CLIP = (2, 3, 5, 4, 3), (1, 2, 3, 2, 3, 2)
TOLERANCES = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}  # of the largest number, at least 1


@pytest.fixture
def on_the_emulator(monkeypatch):
    monkeypatch.setattr(launch, "run", emulator.run)


@pytest.fixture
def launches_that_do_nothing(monkeypatch):
    monkeypatch.setattr(launch, "run", lambda *_: None)


def inputs(shape=PICTURE, dtype=torch.float32, without=(), requires_grad=True):
    batch, narrow, channels, *extent = shape
    generator = torch.Generator().manual_seed(1)
    sizes = {"query": narrow, "key": narrow, "value": channels, "residual": channels}
    made = {name: torch.randn(batch, size, *extent, generator=generator) for name, size in sizes.items()}
    made["scale"] = torch.tensor([0.7])
    return {
        name: tensor.to(dtype).requires_grad_(requires_grad) for name, tensor in made.items() if name not in without
    }


def values_of(given):
    return [given.get(name) for name in ("query", "key", "value", "scale", "residual")]


def plainly(given):
    options = {"scale": torch.ones(()), "residual": torch.zeros(())} | given
    return plain_attention(options.pop("query"), options.pop("key"), options.pop("value"), **options)


def with_gradients(attend, given):
    """Return the output and the gradient of every argument, by name, for a gradient that is no constant."""
    output = attend(given)
    upstream = torch.linspace(-1, 1, output.numel()).view(output.shape).to(output.dtype)
    gradients = torch.autograd.grad(output, list(given.values()), upstream)
    return {"output": output.detach(), **dict(zip(given, gradients, strict=True))}


def assert_right(attend, given, tolerance):
    exact = {name: tensor.detach().double().requires_grad_() for name, tensor in given.items()}
    expected, found = with_gradients(plainly, exact), with_gradients(attend, given)
    for name, tensor in found.items():
        error = (tensor - expected[name]).abs().max() / expected[name].abs().max().clamp(min=1)
        assert error <= tolerance, f"{name} is off by {error:.1e}"


def attend(given):
    return ops.attend(**given)


def test_a_call_that_is_not_served_raises_before_any_launch():
    with pytest.raises(KernelError, match=r"^needs a CUDA device; this tensor is on cpu$"):
        criss_cross_attention(**inputs())


def test_a_mismatch_is_told_by_its_argument():
    with pytest.raises(KernelError, match=r"^key has shape"):
        criss_cross_attention(**inputs() | {"key": torch.zeros(1)})


@pytest.mark.usefixtures("on_the_emulator")
@pytest.mark.parametrize("without", [(), ("scale",), ("residual",), ("scale", "residual")], ids=str)
@pytest.mark.parametrize(
    ("shape", "dtype"), [(PICTURE, torch.float32), (CLIP, torch.float16), (PICTURE, torch.bfloat16)]
)
def test_output_and_every_gradient_are_those_of_the_formula(shape, dtype, without):
    assert_right(attend, inputs(shape, dtype, without=without), TOLERANCES[dtype])


@pytest.mark.usefixtures("on_the_emulator")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["query", "key", "value", "scale", "residual"])
def test_one_argument_alone_may_want_a_gradient(name, dtype):
    given = inputs(dtype=dtype, requires_grad=False)
    given[name].requires_grad_()
    exact = {other: tensor.detach().double() for other, tensor in given.items()}
    exact[name].requires_grad_()
    [expected] = torch.autograd.grad(plainly(exact).sum(), exact[name])
    [found] = torch.autograd.grad(attend(given).sum(), given[name])
    assert (found - expected).abs().max() <= TOLERANCES[dtype] * expected.abs().max().clamp(min=1)


@pytest.mark.usefixtures("on_the_emulator")
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("residual_dtype", ["float32", "half"])
def test_under_autocast_the_result_is_like_the_residual(residual_dtype, dtype):
    """Convolutions give half precision; gamma is a float32 parameter; the residual is what the module was given."""
    given = inputs(dtype=dtype)
    given["scale"] = torch.tensor([0.7], requires_grad=True)
    if residual_dtype == "float32":
        given["residual"] = given["residual"].detach().float().requires_grad_()
    found = with_gradients(attend, given)
    assert found["output"].dtype == given["residual"].dtype
    assert {name: found[name].dtype for name in given} == {name: tensor.dtype for name, tensor in given.items()}
    assert_right(attend, given, TOLERANCES[dtype])


def shifted(tensor):
    """Return a view of the same numbers, with channels inside, that begins 2 or 4 bytes behind an aligned address."""
    larger = tensor.new_full((tensor.numel() + 1,), 7.0)
    view = larger[1:].view(*tensor.shape[:1], *tensor.shape[2:], tensor.shape[1]).movedim(-1, 1)
    return view.copy_(tensor)


LAYOUTS = {
    "contiguous": lambda maps: maps.contiguous(),
    "channels last": lambda maps: maps.movedim(1, -1).contiguous().movedim(-1, 1),
    "transposed": lambda maps: maps.mT.contiguous().mT,
    "every second column": lambda maps: maps.repeat_interleave(2, -1)[..., ::2],
    "expanded": lambda maps: maps[:1].expand_as(maps),
    "shifted": shifted,
    "at an odd address": lambda maps: torch.cat([maps.new_zeros(1), maps.flatten()])[1:].view_as(maps),
}


@pytest.mark.usefixtures("on_the_emulator")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 8, 16, 4, 3), (2, 3, 5, 2, 3, 2)], ids=["whole pieces", "odd channels"])
def test_every_memory_layout_gives_the_same_and_is_kept(shape, dtype, layout):
    plain = inputs(shape, dtype)
    given = {
        name: (LAYOUTS[layout](tensor.detach()) if name != "scale" else tensor.detach()).requires_grad_()
        for name, tensor in plain.items()
    }
    found = with_gradients(attend, given)
    same = {name: tensor.detach().contiguous().requires_grad_() for name, tensor in given.items()}
    expected = with_gradients(attend, same)
    assert all(torch.equal(found[name], expected[name]) for name in found)
    assert found["output"].stride() == torch.empty_like(given["value"]).stride()
    for name, tensor in given.items():
        if name not in ("residual", "scale"):
            assert found[name].stride() == torch.empty_like(tensor).stride(), name


@pytest.mark.usefixtures("launches_that_do_nothing")
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 8, 16, 4, 3), (2, 3, 5, 2, 3, 2)], ids=["whole pieces", "odd channels"])
def test_a_traced_result_is_laid_out_as_the_real_one(shape, dtype, layout):
    def results(query, key, value, scale, residual):
        output = ops.attend_forward(query, key, value, scale, residual)
        kept = ops.attend_and_keep(query, key, value, scale, residual)
        gradients = ops.attend_backward(output, query, key, value, scale, *kept[1:])
        return [(tensor.shape, tensor.stride(), tensor.dtype) for tensor in (output, *kept, *gradients)]

    plain = inputs(shape, dtype, requires_grad=False)
    given = [tensor if tensor.ndim == 1 else LAYOUTS[layout](tensor) for tensor in values_of(plain)]
    with FakeTensorMode() as mode:
        traced = results(*map(mode.from_tensor, given))
    assert traced == results(*given)


@pytest.mark.usefixtures("on_the_emulator")
@pytest.mark.parametrize(("dtype", "without"), [(torch.float32, ()), (torch.bfloat16, ("scale", "residual"))], ids=str)
def test_opcheck(dtype, without):
    given = inputs((1, 1, 2, 1, 2), dtype, without=without)
    torch.library.opcheck(ops.attend_forward, values_of(given))
    constant = [None if tensor is None else tensor.detach() for tensor in values_of(given)]
    torch.library.opcheck(ops.attend_and_keep, constant)
    output, attended, log_sums = ops.attend_and_keep(*constant)
    saved = *constant[:4], output if without else attended, log_sums
    torch.library.opcheck(ops.attend_backward, (torch.randn_like(output), *saved))


@pytest.mark.usefixtures("on_the_emulator")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_compiled_without_a_graph_break_it_gives_the_same_bits(dtype, monkeypatch):
    """The public function is traced with all its checks, which are told of a GPU."""
    why_not = support.why_not
    monkeypatch.setattr(support, "why_not", lambda kind, capability, *rest: why_not("cuda", (9, 0), *rest))
    compiled = torch.compile(criss_cross_attention, fullgraph=True, backend="aot_eager")
    given = inputs((1, 8, 8, 2, 3), dtype)
    found = with_gradients(lambda given: compiled(**given), given)
    expected = with_gradients(attend, given)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("on_the_emulator")
def test_checkpointed_it_gives_the_same_bits():
    given = inputs()
    found = with_gradients(lambda given: checkpoint(attend, given, use_reentrant=False), given)
    expected = with_gradients(attend, given)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


@pytest.mark.usefixtures("on_the_emulator")
def test_a_second_derivative_is_refused_in_one_sentence():
    given = inputs((1, 2, 3, 2, 2))
    [gradient] = torch.autograd.grad(attend(given).sum(), given["query"], create_graph=True)
    with pytest.raises(KernelError, match=r"^criss_cross_attention has no second derivative; [^.]*$"):
        gradient.sum().backward()


def test_fake_cuda_tensors_pass_every_check_and_every_operator(monkeypatch):
    """Without gradients: torch built for the CPU aborts where autograd records an operator on a fake CUDA tensor."""
    monkeypatch.setattr(support, "capability_of", lambda index: (9, 0))
    shapes = {name: tensor.shape for name, tensor in inputs().items()}
    with torch.no_grad(), FakeTensorMode():
        given = {name: torch.ones(shape, dtype=torch.bfloat16, device="cuda") for name, shape in shapes.items()}
        output = criss_cross_attention(**given)
        kept = ops.attend_and_keep(*values_of(given))
        gradients = ops.attend_backward(output, *values_of(given)[:4], *kept[1:])
    assert (output.shape, output.dtype, output.device.type) == (given["value"].shape, torch.bfloat16, "cuda")
    like = [(tensor.shape, tensor.dtype, tensor.device.type) for tensor in gradients]
    assert like == [(tensor.shape, tensor.dtype, "cuda") for tensor in values_of(given)[:4]]


@pytest.mark.usefixtures("launches_that_do_nothing")
@pytest.mark.parametrize(("dtype", "size"), [(torch.float32, 4), (torch.bfloat16, 2)])
def test_neither_direction_allocates_an_attention_map(dtype, size):
    """Everything both directions allocate, freed or not, in bytes per pixel, where a map has 512 numbers per pixel."""
    given = inputs((B, D, C, H, W), dtype)
    given = {
        name: tensor.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
        if name != "scale" and size == 2
        else tensor
        for name, tensor in given.items()
    }
    given["scale"] = torch.ones(1, requires_grad=True)
    gradient = torch.empty_like(given["value"])
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        torch.autograd.grad(attend(given), list(given.values()), gradient)
    sizes = [event.self_cpu_memory_usage for event in profile.events() if event.self_cpu_memory_usage > 0]
    # Output and attended; log-sum-exp and delta, in half precision a second log-sum-exp; the gradients of the maps.
    expected = size * 2 * C + 4 * (2 if size == 4 else 3) + size * (2 * D + C)
    assert 0 <= sum(sizes) - H * W * expected < 100  # the gradient of scale
    assert max(sizes) == H * W * size * C


@pytest.mark.usefixtures("launches_that_do_nothing")
@pytest.mark.parametrize("without", [(), ("scale", "residual")], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inputs_attended_map_and_one_number_per_pixel_are_saved(dtype, without):
    given = inputs((1, 8, 16, 4, 5), dtype, without=without)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda tensor: saved.append(tensor), lambda _: None):
        attend(given)
    narrow, wide = ((1, 8, 4, 5), dtype), ((1, 16, 4, 5), dtype)
    expected = [narrow, narrow, wide, wide, ((1, 4, 5), torch.float32)] + ([] if without else [((1,), dtype)])
    assert sorted(map(str, expected)) == sorted(str((tuple(tensor.shape), tensor.dtype)) for tensor in saved)


DISTRIBUTED = """
import sys, torch, torch.distributed as dist
sys.path.insert(0, sys.argv[1])
import emulator
from ccnet_kernels import ops
from ccnet_kernels.cuda import launch

class Step(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.query, self.key, self.value = (torch.nn.Conv2d(4, n, 1) for n in (2, 2, 4))
        self.gamma = torch.nn.Parameter(torch.full((1,), 0.5))

    def forward(self, x):
        return ops.attend(self.query(x), self.key(x), self.value(x), scale=self.gamma, residual=x)

launch.run = emulator.run
dist.init_process_group("gloo")
rank = dist.get_rank()
torch.manual_seed(0)
alone = Step()
together = torch.nn.parallel.DistributedDataParallel(Step())
together.module.load_state_dict(alone.state_dict())
pictures = torch.randn(2, 4, 3, 2)
together(pictures[rank : rank + 1]).square().mean().backward()
alone(pictures).square().mean().backward()
for (name, one), other in zip(alone.named_parameters(), together.module.parameters()):
    torch.testing.assert_close(one.grad, other.grad, msg=name)
print("equal", flush=True)
dist.barrier()
dist.destroy_process_group()
"""


def test_two_processes_average_the_gradients(tmp_path):
    script = tmp_path / "distributed.py"
    script.write_text(DISTRIBUTED)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, str(Path(__file__).parent)]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert run.stdout.count("equal") == 2, run.stderr


def test_importing_starts_no_driver_and_imports_no_numba():
    code = (
        "import sys, torch, ccnet_kernels\n"
        "assert not torch.cuda.is_initialized()\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "assert not names & {'numba', 'numba_cuda', 'llvmlite'}, names\n"
        "maps = open('/proc/self/maps').read() if sys.platform == 'linux' else ''\n"
        "assert 'libcuda.so' not in maps\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
