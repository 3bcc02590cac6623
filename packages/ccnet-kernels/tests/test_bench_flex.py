import itertools

import pytest
import torch
from bench_cases import tiny

from ccnet_kernels.bench.case import forward, random_arguments
from ccnet_kernels.bench.flex import BLOCK, _plan, flex_attend
from ccnet_kernels.formula import plain_attention


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method` is deprecated:DeprecationWarning")  # torch's own
def test_the_output_agrees_with_the_plain_formula():
    arguments = random_arguments(tiny(shape=(1, 4, 8, 20, 17)))
    expected = forward(plain_attention, {name: tensor.double() for name, tensor in arguments.items()})["output"]
    torch.testing.assert_close(forward(flex_attend, arguments)["output"].double(), expected, rtol=1e-5, atol=1e-5)


def visible_pairs(extent):
    """Return what the mask shows of real positions, in the usual order, as a matrix of booleans."""
    order, back, mask = _plan(extent, torch.device("cpu"))
    index = torch.arange(len(order))
    blocks = torch.zeros(len(order) // BLOCK, len(order) // BLOCK, dtype=torch.bool)
    for row, (number, columns) in enumerate(zip(mask.kv_num_blocks[0, 0], mask.kv_indices[0, 0], strict=True)):
        blocks[row, columns[:number]] = True
    kept = blocks.repeat_interleave(BLOCK, 0).repeat_interleave(BLOCK, 1)
    seen = mask.mask_mod(0, 0, index[:, None], index[None, :]) & kept
    assert seen.any(1).all()  # also of the places for nobody
    return seen[back][:, back]


@pytest.mark.parametrize("extent", [(20, 33), (1, 300), (6, 7, 8)])
def test_every_position_sees_those_that_differ_in_at_most_one_coordinate(extent):
    positions = torch.tensor(list(itertools.product(*map(range, extent))))
    expected = (positions[:, None] != positions[None, :]).sum(-1) <= 1
    assert torch.equal(visible_pairs(extent), expected)


@pytest.mark.parametrize(("extent", "tiles"), [((64, 128), (8, 8)), ((97, 97), (13, 7))])
def test_a_block_meets_only_the_tiles_beside_and_above_it(extent, tiles):
    mask = _plan(extent, torch.device("cpu"))[2]
    rows, columns = tiles
    assert mask.kv_num_blocks.sum() == rows * columns * (rows + columns - 1)
