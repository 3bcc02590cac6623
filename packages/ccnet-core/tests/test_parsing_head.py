import dataclasses

import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.config import CCNetConfig, HeadConfig, ParsingConfig
from ccnet_core.parsing_head import ParsingHead
from ccnet_core.testing import criss_cross_definition

CHANNELS = [3, 5, 6, 8]
CONFIG = CCNetConfig(
    name="parsing",
    classes=("background", "hat", "hair"),
    palette=((0, 0, 0), (128, 0, 0), (255, 0, 0)),
    head=HeadConfig(channels=8, reduction=4, negative_slope=0.01, gamma=0.5, consistency_channels=2),
    parsing=ParsingConfig(channels=7, detail_channels=4),
    align_corners=True,
)


def make_head(enliven=True, **changes):
    head = ParsingHead(CHANNELS, dataclasses.replace(CONFIG, **changes)).double()
    if enliven:
        for parameter in head.parameters():
            parameter.data.normal_(std=0.3)
        for name, buffer in head.named_buffers():
            if name.endswith(("running_mean", "running_var")):
                buffer.uniform_(0.5, 1.5)
    return head.eval()


def stage_maps():
    sizes = [(9, 7), (5, 4), (3, 2), (3, 2)]
    return [
        torch.randn(2, channels, *size, dtype=torch.float64, requires_grad=True)
        for channels, size in zip(CHANNELS, sizes, strict=True)
    ]


def convolve(x, weight, bias=None):
    """A convolution that keeps the size, one offset of the kernel at a time."""
    _, _, height, width = weight.shape
    padded = torch.nn.functional.pad(x, (width // 2, width // 2, height // 2, height // 2))
    total = 0 if bias is None else bias[:, None, None]
    for down in range(height):
        for across in range(width):
            window = padded[:, :, down : down + x.shape[2], across : across + x.shape[3]]
            total = total + torch.einsum("oc,bchw->bohw", weight[:, :, down, across], window)
    return total


def enlarge(x, size, align_corners):
    """Bilinear interpolation, one target pixel at a time."""
    rows = [place(i, x.shape[2], size[0], align_corners) for i in range(size[0])]
    columns = [place(j, x.shape[3], size[1], align_corners) for j in range(size[1])]

    def pixel(row, column):
        (top, bottom, down), (left, right, across) = row, column
        upper = (1 - across) * x[..., top, left] + across * x[..., top, right]
        lower = (1 - across) * x[..., bottom, left] + across * x[..., bottom, right]
        return (1 - down) * upper + down * lower

    return torch.stack([torch.stack([pixel(row, column) for column in columns], -1) for row in rows], -2)


def place(index, extent, target, align_corners):
    aligned, halves = index * (extent - 1) / (target - 1), (index + 0.5) * extent / target - 0.5
    exact = aligned if align_corners else max(halves, 0)
    before = min(int(exact), extent - 1)
    return before, min(before + 1, extent - 1), exact - before


def by_definition(state, maps, align_corners):
    """CE2P with criss-cross attention as its context, from the tensors of the head by name."""

    def layer(name, x):
        x = convolve(x, state[f"{name}.conv.weight"])
        mean, variance, weight, bias = (
            state[f"{name}.norm.{part}"][:, None, None] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean) / (variance + 1e-5) ** 0.5 * weight + bias
        return torch.where(x > 0, x, 0.01 * x)

    def linear(name, x):
        return convolve(x, state[f"{name}.weight"], state[f"{name}.bias"])

    def up(x):
        return enlarge(x, maps[0].shape[2:], align_corners)

    attended = layer("reduce", maps[3])
    for _ in range(2):
        query, key, value = (linear(f"attention.cca.{part}_conv", attended) for part in ("query", "key", "value"))
        attended = state["attention.cca.gamma"] * criss_cross_definition(query, key, value) + attended
    context = layer("fuse", torch.cat([maps[3], layer("refine", attended)], 1))
    met = torch.cat([layer("detail", maps[0]), up(layer("narrow", context))], 1)
    decoded = layer("decode.1", layer("decode.0", met))
    edges = [layer(f"edges.{index}", maps[index]) for index in range(3)]
    scores = [up(linear("edge_score", edge)) for edge in edges]
    joined = layer("join", torch.cat([decoded, *map(up, edges)], 1))
    return (
        linear("classify.conv", joined),
        linear("classify_first.conv", decoded),
        linear("consistency", attended),
        linear("edge_classify", torch.cat(scores, 1)),
    )


def gradients(outputs, factors, tensors):
    total = sum((output * factor).sum() for output, factor in zip(outputs, factors, strict=True))
    return dict(zip(tensors, torch.autograd.grad(total, list(tensors.values())), strict=True))


@pytest.mark.parametrize("align_corners", [True, False])
def test_outputs_and_every_gradient_follow_the_definition(align_corners):
    head, maps = make_head(align_corners=align_corners), stage_maps()
    tensors = dict(head.named_parameters()) | {f"stage {index + 1}": x for index, x in enumerate(maps)}
    outputs = head(maps, auxiliary=True)
    expected = by_definition(dict(head.named_parameters()) | dict(head.named_buffers()), maps, align_corners)
    assert [output.shape[1] for output in outputs] == [3, 3, 2, 2]
    torch.testing.assert_close(outputs, expected)
    factors = [torch.randn_like(output) for output in outputs]
    found, wanted = (gradients(results, factors, tensors) for results in (outputs, expected))
    for name, gradient in wanted.items():
        assert gradient.any(), name
        torch.testing.assert_close(found[name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_only_the_answer_comes_without_the_training_outputs():
    head, maps = make_head(), stage_maps()
    logits, *others = head(maps)
    assert torch.equal(logits, head(maps, auxiliary=True)[0])
    assert others == [None, None, None]


def test_layers_that_only_train_can_be_dropped():
    head, maps = make_head(), stage_maps()
    before, names = head(maps)[0], set(head.state_dict())
    head.keep_answer()
    assert torch.equal(head(maps)[0], before)
    left_out = {name.split(".")[0] for name in names - set(head.state_dict())}
    assert left_out == {"classify_first", "edge_score", "edge_classify", "consistency"}


def test_edge_score_is_one_set_of_weights_for_three_stages():
    names = [name for name in make_head().state_dict() if name.startswith("edge_score")]
    assert names == ["edge_score.weight", "edge_score.bias"]


def test_dropout_is_before_the_answer_alone():
    head = make_head()
    dropped = {name: module.p for name, module in head.named_modules() if isinstance(module, torch.nn.Dropout2d)}
    assert dropped == {"classify.dropout": 0.1, "classify_first.dropout": 0.0}


def test_edges_are_seen_by_the_answer_and_not_by_the_first_prediction():
    head, maps = make_head(), stage_maps()
    answer, first, *_ = head(maps, auxiliary=True)
    maps[1] = maps[1] + 1  # stage 2, which feeds edges alone
    changed, same, *_ = head(maps, auxiliary=True)
    assert torch.equal(same, first)
    assert not torch.isclose(changed, answer).any()


def test_network_gives_three_predictions_at_the_size_of_stage_1():
    model = ccnet.CCNet.from_config("ccnet_small_ce2p").eval()
    output = model(torch.zeros(1, 3, 65, 94, dtype=torch.uint8))
    assert output.logits.shape == output.auxiliary_logits.shape == (1, 20, 17, 24)
    assert output.edge_logits.shape == (1, 2, 17, 24)
    assert (model.backbone.stride, model.logits_stride) == (16, 4)
    assert ccnet.CCNet.from_config("ccnet_small").logits_stride == 8


def test_network_without_the_head_has_no_edges(tiny):
    assert tiny(torch.zeros(1, 3, 16, 16)).edge_logits is None
