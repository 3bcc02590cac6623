"""The pictures are what the script makes, and what they show is what the code does."""

import math
from pathlib import Path

import draw_concepts
import pytest
import torch

import ccnet_core as ccnet
from ccnet_core.testing import criss_cross_definition

CONCEPTS = Path(__file__).resolve().parents[1] / "concepts"


def test_every_picture_is_committed_as_the_script_draws_it():
    committed = {path.stem: path.read_text("utf-8") for path in CONCEPTS.glob("*.svg")}
    assert committed == {name: draw() for name, draw in draw_concepts.PICTURES.items()}


@pytest.mark.parametrize(
    ("here", "size"),
    [
        (draw_concepts.HERE, (draw_concepts.HEIGHT, draw_concepts.WIDTH)),
        (draw_concepts.CLIP_HERE, draw_concepts.CLIP),
    ],
)
def test_blue_positions_are_those_that_the_definition_attends_to(here, size):
    value = torch.zeros(1, 1, *size, dtype=torch.float64, requires_grad=True)
    attended = criss_cross_definition(torch.zeros_like(value), torch.zeros_like(value), value)
    (gradient,) = torch.autograd.grad(attended[(0, 0, *here)], value)
    assert draw_concepts.cross(here, size) == {tuple(position) for position in gradient[0, 0].nonzero().tolist()}


def test_shapes_of_the_network_are_those_of_the_real_one():
    model = ccnet.CCNet.from_config("ccnet_r50-d8_4xb2-40k_cityscapes-512x1024").to("meta").eval()
    head = model.head
    modules = [model.backbone, head.reduce, head.attention.cca, head.refine, head.fuse, head.classify]
    shapes, joined = [], []

    def note(module, inputs, output):
        shapes.append(tuple((output[-1] if module is model.backbone else output).shape))

    for module in modules:
        module.register_forward_hook(note)
    head.fuse.register_forward_pre_hook(lambda module, inputs: joined.append(tuple(inputs[0].shape)))
    logits = model(torch.empty(1, 3, 512, 1024, dtype=torch.uint8, device="meta")).logits
    shapes[5:5] = joined
    upsampled = model.resize_logits(logits, (512, 1024))
    assert [shape[1:] for shape in shapes] == [shape for _, shape in draw_concepts.NETWORK[1:-1]]
    assert tuple(upsampled.shape[1:]) == draw_concepts.NETWORK[-1][1]


@pytest.mark.parametrize("distance", [0.2, 0.5, 1.0, 1.5, 2.4])
def test_curve_is_what_the_loss_gives_two_pixels_at_that_distance_from_their_mean(distance):
    features = torch.tensor([[[[-distance, distance]]]], dtype=torch.float64)
    loss = ccnet.CategoryConsistentLoss()(features, torch.zeros(1, 1, 2, dtype=torch.int64))
    assert math.isclose(draw_concepts.pull(distance), loss.item(), abs_tol=1e-12)
