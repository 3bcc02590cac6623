"""What is launched, seen by a stand-in for `launch.run`; what the launches compute is tested with the operators."""

import pytest
import torch

from ccnet_kernels.cuda import launch, passes


@pytest.fixture
def launches(monkeypatch):
    seen = []
    monkeypatch.setattr(launch, "run", lambda *call: seen.append(call))
    return seen


def maps(dtype, shape=(2, 70, 136, 97, 65)):
    batch, narrow, channels, *extent = shape
    made = [torch.zeros(batch, size, *extent, dtype=dtype) for size in (narrow, narrow, channels, channels)]
    query, key, value, residual = (passes.packed(tensor) for tensor in made)
    return query, key, value, torch.ones(1), residual


def test_float32_takes_two_launches_forward_and_four_backward(launches):
    query, key, value, scale, residual = maps(torch.float32)
    _, attended, log_sums = passes.forward_and_keep(query, key, value, scale, residual)
    tiles = 2 * 25 * 9
    assert [call[:2] for call in launches] == [("log_sum_exp_float32", tiles), ("weighted_sum_float32", tiles * 2)]
    launches.clear()
    passes.backward(value, query, key, value, scale, attended, log_sums)
    assert [call[:2] for call in launches] == [
        ("channel_dot_float32", -(-2 * 97 * 65 // 256)),
        ("weighted_sum_float32", tiles * 2),
        ("energy_gradient_float32", tiles * 2),
        ("energy_gradient_float32", tiles * 2),
    ]


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_half_precision_takes_a_launch_for_each_axis_of_short_lines(launches, dtype, name):
    query, key, value, scale, residual = maps(dtype)
    _, attended, log_sums = passes.forward_and_keep(query, key, value, scale, residual)
    # 136 value channels in two parts for 194 rows, in three for 130 columns.
    names = [f"attend_short_{name}"] * 2
    assert [call[:2] for call in launches] == list(zip(names, (2 * 97 * 2, 2 * 65 * 3), strict=True))
    assert [call[3:] for call in launches] == [(160, 80 * 576), (224, 112 * 576)]
    assert [call[2][13:15] for call in launches] == [(128, 65), (64, 97)]
    launches.clear()
    passes.backward(value, query, key, value, scale, attended, log_sums)
    names = [f"channel_dot_{name}", *[f"gradients_short_{name}"] * 2]
    assert [call[:2] for call in launches] == list(zip(names, (-(-2 * 97 * 65 // 4), 2 * 97, 2 * 65), strict=True))
    assert [call[3:] for call in launches] == [(), (160, 80 * 2 * (88 + 160)), (224, 112 * 2 * (120 + 160))]


@pytest.mark.parametrize(("dtype", "name"), [(torch.float16, "float16"), (torch.bfloat16, "bfloat16")])
def test_half_precision_takes_a_launch_for_each_axis_and_map_of_long_lines(launches, dtype, name):
    query, key, value, scale, residual = maps(dtype, (2, 70, 136, 257, 129))
    _, attended, log_sums = passes.forward_and_keep(query, key, value, scale, residual)
    along_rows, along_columns = 2 * 257 * 3, 2 * 129 * 5
    assert [call[:2] for call in launches] == [
        (f"attend_{name}", along_rows * 2),
        (f"attend_{name}", along_columns * 2),
    ]
    launches.clear()
    passes.backward(value, query, key, value, scale, attended, log_sums)
    gradients = [f"weighted_sum_{name}", f"query_gradient_{name}", f"key_gradient_{name}"]
    assert [call[0] for call in launches] == [f"channel_dot_{name}", *gradients, *gradients]
    assert [call[1] for call in launches] == [-(-2 * 257 * 129 // 4), *[along_rows * 2] * 3, *[along_columns * 2] * 3]


def test_the_log_sums_of_an_axis_are_the_earlier_ones_of_the_next(launches):
    query, key, value, scale, residual = maps(torch.bfloat16, (1, 8, 8, 2, 3, 4))
    _, _, log_sums = passes.forward_and_keep(query, key, value, scale, residual)
    earlier, written = zip(*(call[2][3:5] for call in launches), strict=True)
    assert earlier[0] is None
    assert [tensor.data_ptr() for tensor in earlier[1:]] == [tensor.data_ptr() for tensor in written[:-1]]
    assert written[-1] is log_sums
    assert all(one.data_ptr() != other.data_ptr() for one, other in zip(earlier[1:], written[1:], strict=True))


def test_an_axis_of_one_position_is_left_out(launches):
    passes.forward(*maps(torch.bfloat16, (1, 8, 8, 1, 5, 1)))
    [(_, _, arguments, *_)] = launches
    length, step, first, last = arguments[14:18]
    assert (length, step, first, last) == (5, 1, True, True)


def test_a_single_position_still_attends_to_itself(launches):
    passes.forward(*maps(torch.bfloat16, (3, 8, 8, 1, 1)))
    [(_, blocks, arguments, *_)] = launches
    assert (blocks, *arguments[14:18]) == (3, 1, 1, True, True)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_maps_that_fit_are_handed_over_without_a_copy(launches, dtype):
    given = maps(dtype, (1, 8, 16, 3, 4))
    output = passes.forward(*given)
    handed_over = {
        argument.data_ptr() for call in launches for argument in call[2] if isinstance(argument, torch.Tensor)
    }
    assert {tensor.data_ptr() for tensor in (*given, output)} <= handed_over


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_channels_of_one_map_are_handed_over_without_a_copy(launches, dtype):
    """Only the kernels for half precision take them so."""
    joint = torch.zeros(1, 32, 3, 4, dtype=dtype).to(memory_format=torch.channels_last)
    query, key, value = joint.split([8, 8, 16], 1)
    passes.forward(query, key, value, None, None)
    for _, _, arguments, *_ in launches:
        handed_over = [tensor.data_ptr() for tensor in arguments[:3]] == [
            query.data_ptr(),
            key.data_ptr(),
            value.data_ptr(),
        ]
        assert handed_over == (dtype != torch.float32)
        assert dtype == torch.float32 or arguments[9:13] == (8, 16, 32, 32)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_without_scale_and_residual_the_output_is_the_attended_map(launches, dtype):
    query, key, value, *_ = maps(dtype, (1, 8, 16, 3, 4))
    _, attended, _ = passes.forward_and_keep(query, key, value, None, None)
    assert attended.shape == (0,)
