import pytest
from bench_cases import tiny

from ccnet_kernels.bench.floor import Cost, Rates, cost_of, rates_of

TYPICAL = tiny(shape=(8, 64, 512, 97, 97))
PIXELS = 8 * 97 * 97


@pytest.mark.parametrize(
    ("step", "is_non_local", "adds"),
    [
        ("forward", False, 193 * (64 + 512)),
        ("forward_backward", False, 193 * (64 + 512 + 3 * 64 + 2 * 512)),
        ("forward", True, 97 * 97 * (64 + 512)),
    ],
)
def test_two_flops_for_each_product_of_a_position_with_those_it_sees(step, is_non_local, adds):
    assert cost_of(TYPICAL, step, is_non_local).flops == 2 * PIXELS * adds


def test_a_clip_has_three_lines():
    assert cost_of(tiny(shape=(1, 4, 8, 3, 5, 7)), "forward", False).flops == 2 * 105 * 13 * 12


@pytest.mark.parametrize(("dtype", "size"), [("float32", 4), ("bfloat16", 2)])
def test_forward_reads_four_maps_and_writes_one(dtype, size):
    case = tiny(shape=TYPICAL.shape, dtype=dtype)
    assert cost_of(case, "forward", False).bytes == size * PIXELS * (64 + 64 + 512 + 512 + 512)


def test_training_also_reads_the_upstream_gradient_and_the_inputs_and_writes_three_gradients():
    extra = cost_of(TYPICAL, "forward_backward", False).bytes - cost_of(TYPICAL, "forward", False).bytes
    assert extra == 4 * PIXELS * (512 + (64 + 64 + 512) + (64 + 64 + 512))


def test_the_block_adds_its_convolutions_and_moves_only_its_own_input_and_output():
    block = tiny(shape=TYPICAL.shape, level="block")
    attention = cost_of(TYPICAL, "forward", False)
    assert cost_of(block, "forward", False).flops == 2 * (attention.flops + 2 * PIXELS * 512 * (64 + 64 + 512))
    training = cost_of(TYPICAL, "forward_backward", False)
    assert cost_of(block, "forward_backward", False).flops == 2 * (training.flops + 3 * 2 * PIXELS * 512 * 640)
    assert cost_of(block, "forward", False).bytes == 2 * 4 * PIXELS * 2 * 512
    assert cost_of(block, "forward_backward", False).bytes == 2 * 4 * PIXELS * 5 * 512


def test_the_floor_is_the_longer_of_moving_and_computing():
    rates = Rates(bytes=1000, flops=10)
    assert rates.floor_ms(Cost(bytes=500, flops=1)) == 500
    assert rates.floor_ms(Cost(bytes=500, flops=20)) == 2000


def test_rates_are_measured_once_and_positive():
    assert rates_of("cpu", "float32") is rates_of("cpu", "float32")
    assert min(rates_of("cpu", "float32").bytes, rates_of("cpu", "float32").flops) > 1e8
