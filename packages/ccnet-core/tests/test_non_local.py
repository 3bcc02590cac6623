import pytest
import torch
from torch.profiler import profile

import ccnet_core as ccnet
from ccnet_core.non_local import RecurrentNonLocalBlock, RecurrentNonLocalBlock3d

BOTH = pytest.mark.parametrize("fused", [False, True], ids=["explicit", "fused"])
SIZES = pytest.mark.parametrize("size", [(3, 5), (1, 6), (4, 1), (1, 1)], ids=str)


def randomised(module):
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    return module


def block(fused, channels=8, reduction=4):
    return randomised(ccnet.NonLocalBlock(channels, reduction=reduction, fused=fused))


def non_local_definition(module, x):
    """`gamma * attended + x` by its definition, one pair of positions at a time."""
    query, key, value = module.query_conv(x), module.key_conv(x), module.value_conv(x)
    positions = [(i, j) for i in range(x.shape[2]) for j in range(x.shape[3])]
    result = torch.zeros_like(x)
    for b in range(len(x)):
        for y, w in positions:
            powers = [(query[b, :, y, w] * key[b, :, i, j]).sum().exp() for i, j in positions]
            attended = sum(p * value[b, :, i, j] for p, (i, j) in zip(powers, positions, strict=True)) / sum(powers)
            result[b, :, y, w] = attended
    return module.gamma * result + x


def gradients(module, output, x):
    names = ["x", *(name for name, _ in module.named_parameters())]
    upstream = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view(output.shape)
    return dict(zip(names, torch.autograd.grad(output, [x, *module.parameters()], upstream), strict=True))


def assert_same(actual, expected, **tolerance):
    assert actual.keys() == expected.keys()
    for name in expected:
        torch.testing.assert_close(
            actual[name], expected[name], msg=lambda text, name=name: f"{name}: {text}", **tolerance
        )


@BOTH
@SIZES
def test_output_and_every_gradient_follow_the_definition(fused, size):
    module = block(fused).double()
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    output, expected = module(x), non_local_definition(module, x)
    torch.testing.assert_close(output, expected)
    assert_same(gradients(module, output, x), gradients(module, expected, x))


@BOTH
def test_gamma_may_be_a_whole_number(fused):
    assert ccnet.NonLocalBlock(8, gamma=1, fused=fused).gamma.dtype == torch.float32


def test_explicit_map_gives_the_gradients_of_each_picture_through_vmap():
    module = block(fused=False).double()
    x = torch.randn(3, 8, 2, 3, dtype=torch.float64)

    def loss(parameters, picture):
        return torch.func.functional_call(module, parameters, (picture[None],)).square().sum()

    parameters = dict(module.named_parameters())
    each = torch.func.vmap(torch.func.grad(loss), in_dims=(None, 0))(parameters, x)
    for index, picture in enumerate(x):
        expected = torch.autograd.grad(loss(parameters, picture), list(parameters.values()))
        assert_same({name: part[index] for name, part in each.items()}, dict(zip(parameters, expected, strict=True)))


@BOTH
def test_gradients_are_those_of_finite_differences(fused):
    module = block(fused, channels=4, reduction=2).double()
    names = [name for name, _ in module.named_parameters()]

    def call(x, *parameters):
        return torch.func.functional_call(module, dict(zip(names, parameters, strict=True)), x)

    x = torch.randn(1, 4, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(call, (x, *module.parameters()))


@BOTH
def test_fresh_block_is_the_identity(fused):
    x = torch.randn(2, 16, 5, 7)
    assert torch.equal(ccnet.NonLocalBlock(16, fused=fused)(x), x)


def test_weights_of_criss_cross_attention_fit_and_the_other_way_round():
    criss_cross, non_local = ccnet.CrissCrossAttention(16), ccnet.NonLocalBlock(16)
    non_local.load_state_dict(criss_cross.state_dict())
    criss_cross.load_state_dict(non_local.state_dict())


@BOTH
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("how", ["weights", "autocast"])
def test_half_precision_stays_near_float64(fused, dtype, how):
    module = block(fused, channels=16)
    x = torch.randn(2, 16, 5, 7)
    expected = non_local_definition(module.double(), x.double())
    module.to(dtype if how == "weights" else torch.float32)
    with torch.autocast("cpu", dtype, enabled=how == "autocast"):
        output = module(x.to(module.gamma.dtype))
    assert output.dtype == module.gamma.dtype
    # Energies up to 40 make a rounding of eps in them one of 40 eps in the weights.
    assert (output - expected).abs().max() < 40 * torch.finfo(dtype).eps * expected.abs().max()


def test_fused_form_stores_no_map_in_either_memory_format():
    module = block(True, channels=16)
    x = torch.randn(1, 16, 24, 24)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        with profile(profile_memory=True) as recorded:
            module(x.contiguous(memory_format=memory_format)).sum().backward()
        largest = max(event.cpu_memory_usage for event in recorded.events())
        assert largest < 4 * (24 * 24) ** 2


@BOTH
def test_channels_last_stays_channels_last(fused):
    module = block(fused, channels=16).to(memory_format=torch.channels_last)
    x = torch.randn(2, 16, 5, 7)
    output = module(x.contiguous(memory_format=torch.channels_last))
    assert output.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(output, module(x))


@BOTH
def test_block_compiles_whole_and_gives_the_same_gradients(fused):
    module = block(fused)
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    x = torch.randn(2, 8, 4, 6, requires_grad=True)
    torch.testing.assert_close(compiled(x), module(x))
    assert_same(gradients(module, compiled(x), x), gradients(module, module(x), x))


@BOTH
def test_block_exports_for_any_batch_and_size(fused):
    module = block(fused)
    axes = {axis: torch.export.Dim(name, min=2, max=64) for axis, name in ((0, "batch"), (2, "height"), (3, "width"))}
    exported = torch.export.export(module, (torch.randn(2, 8, 4, 6),), dynamic_shapes=(axes,)).module()
    x = torch.randn(3, 8, 7, 5)
    torch.testing.assert_close(exported(x), module(x))


@BOTH
def test_block_runs_on_the_meta_device(fused):
    with torch.device("meta"):
        module = ccnet.NonLocalBlock(8, fused=fused)
        assert module(torch.empty(2, 8, 4, 6)).shape == (2, 8, 4, 6)


@BOTH
@pytest.mark.parametrize("shape", [(0, 8, 4, 6), (2, 8, 0, 6), (2, 8, 4, 0)], ids=str)
def test_empty_input_gives_empty_output(fused, shape):
    assert block(fused)(torch.randn(shape)).shape == shape


@pytest.mark.parametrize("shape", [(8, 4, 6), (2, 4, 4, 6), (2, 8, 4, 6, 1)], ids=str)
def test_another_shape_is_refused(shape):
    module = ccnet.NonLocalBlock(8)
    for call in (module, module.weights):
        with pytest.raises(ccnet.AttentionError, match=r"NonLocalBlock of 8 channels takes \(B, C, H, W\); got \("):
            call(torch.zeros(shape))


@BOTH
def test_not_a_number_reaches_every_position_of_its_picture_and_no_other(fused):
    x = torch.randn(2, 8, 4, 6)
    x[0, 0, 1, 2] = float("nan")
    output = block(fused)(x)
    assert output[0].isnan().all()
    assert output[1].isfinite().all()


@BOTH
def test_same_input_gives_the_same_bits(fused):
    module = block(fused, channels=16)
    x = torch.randn(2, 16, 9, 11, requires_grad=True)
    first, second = (gradients(module, module(x), x) for _ in range(2))
    assert_same(first, second, rtol=0, atol=0)


def test_weights_are_those_the_output_is_made_with():
    module = block(True)
    x = torch.randn(2, 8, 3, 5)
    weights = module.weights(x)
    assert weights.shape == (2, 3, 5, 3, 5)
    torch.testing.assert_close(weights.sum((3, 4)), torch.ones(2, 3, 5))
    attended = torch.einsum("byxij,bcij->bcyx", weights, module.value_conv(x))
    torch.testing.assert_close(x + module.gamma * attended, module(x))


@pytest.mark.parametrize(("shared", "blocks"), [(True, [0, 0, 0]), (False, [0, 1, 2])])
def test_recurrence_repeats_one_block_or_uses_one_for_each_step(shared, blocks):
    module = randomised(RecurrentNonLocalBlock(8, recurrence=3, shared_weights=shared, reduction=4))
    x = torch.randn(1, 8, 4, 6)
    expected = x
    for index in blocks:
        expected = module.blocks[index](expected)
    assert torch.equal(module(x), expected)
    assert len(module.blocks) == len(set(blocks))


def test_recurrence_zero_has_no_parameters():
    for shared in (True, False):
        module = RecurrentNonLocalBlock(8, recurrence=0, shared_weights=shared)
        x = torch.randn(1, 8, 4, 6)
        assert list(module.parameters()) == []
        assert torch.equal(module(x), x)


def test_channels_must_be_a_multiple_of_the_reduction():
    with pytest.raises(ccnet.ConfigError, match="channels 12 must be a multiple of reduction 8"):
        ccnet.NonLocalBlock(12)


def test_block_for_clips_attends_to_every_position_of_every_frame():
    module = randomised(RecurrentNonLocalBlock3d(8, recurrence=1, reduction=4).double())
    x = torch.randn(2, 8, 3, 2, 5, dtype=torch.float64)
    expected = non_local_definition(module.blocks[0], x.reshape(2, 8, 6, 5)).reshape(x.shape)
    torch.testing.assert_close(module(x), expected)
    in_memory_of_other_axes = x.permute(0, 1, 4, 3, 2).contiguous().permute(0, 1, 4, 3, 2)
    torch.testing.assert_close(module(in_memory_of_other_axes), expected)
