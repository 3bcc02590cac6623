import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from ccnet_core.score_map import Fitted, Logits, Mirrored, Resized, Sliding, window_offsets

SIZE = st.tuples(st.integers(1, 40), st.integers(1, 40))
quickly = settings(deadline=None, max_examples=60)

# A position is rounded to half a unit in the last place, 2e-6 at 40 rows, and two neighbours differ by up to 6.
ROUNDING = {"atol": 1e-5, "rtol": 0}


def draw(size, batch=2, classes=3):
    generator = torch.Generator().manual_seed(size[0] * 100 + size[1])
    return torch.randn(batch, classes, *size, generator=generator)


def collect(scores, step):
    """All rows of a map, `step` at a time, as (B, K, H, W)."""
    height = scores.shape[1]
    parts = [scores.rows(start, min(start + step, height)) for start in range(0, height, step)]
    whole = torch.cat(parts, 1)
    assert whole.shape == scores.shape
    assert whole.dtype == torch.float32
    return whole.permute(0, 3, 1, 2)


def torchs_own(logits, size, align_corners):
    return F.interpolate(logits, size=size, mode="bilinear", align_corners=align_corners)


@quickly
@given(SIZE, SIZE, st.booleans(), st.integers(1, 40))
def test_resized_rows_are_those_of_interpolate(size, target, align_corners, step):
    logits = draw(size)
    rows = collect(Resized(Logits(logits), target, align_corners), step)
    torch.testing.assert_close(rows, torchs_own(logits, target, align_corners), **ROUNDING)


@quickly
@given(SIZE, SIZE, SIZE, st.booleans(), st.integers(1, 40))
def test_map_of_a_map_is_resized_twice(size, between, target, align_corners, step):
    logits = draw(size)
    rows = collect(Resized(Resized(Logits(logits), between, align_corners), target, align_corners), step)
    expected = torchs_own(torchs_own(logits, between, align_corners), target, align_corners)
    torch.testing.assert_close(rows, expected, **ROUNDING)


def led_back(scores, size):
    """Pixel by pixel in float64: where each lies in the crop, and the mean of the four places around it."""
    (height, width), (rows, columns) = size, scores.shape[2:]
    factor = (columns - 1) / max(width - 1, (height - 1) * columns / rows, 1)
    found = np.empty((*scores.shape[:2], *size))
    for y in range(height):
        for x in range(width):
            row = min(max((rows - 1) / 2 + factor * (y - (height - 1) / 2), 0), rows - 1)
            column = min(max((columns - 1) / 2 + factor * (x - (width - 1) / 2), 0), columns - 1)
            top, left = min(int(row), rows - 2), min(int(column), columns - 2)
            down, right = row - top, column - left
            upper = scores[..., top, left] * (1 - right) + scores[..., top, left + 1] * right
            lower = scores[..., top + 1, left] * (1 - right) + scores[..., top + 1, left + 1] * right
            found[..., y, x] = upper * (1 - down) + lower * down
    return found


@quickly
@given(
    SIZE | st.sampled_from([(1, 200), (200, 1)]), st.tuples(st.integers(2, 40), st.integers(2, 40)), st.integers(1, 40)
)
def test_scores_of_a_crop_are_led_back_to_the_picture(size, crop, step):
    scores = draw(crop)
    expected = led_back(scores.double().numpy(), size)
    np.testing.assert_allclose(collect(Fitted(Logits(scores), size), step), expected, atol=1e-5)


def test_a_row_of_a_small_picture_costs_what_is_read_of_a_large_crop():
    """2 x 2 pixels lie 19 of the 20 pixels of the crop apart."""
    assert Fitted(Logits(draw((20, 20), batch=1)), (2, 2)).row_bytes == 19 * 20 * 3 * 4
    assert Fitted(Logits(draw((20, 20), batch=1)), (100, 80)).row_bytes == 80 * 3 * 4


def test_rows_of_logits_are_float32_whatever_the_network_computes_in():
    logits = draw((5, 7)).bfloat16()
    assert torch.equal(collect(Logits(logits), 2), logits.float())
    channels_last = logits.contiguous(memory_format=torch.channels_last)
    assert torch.equal(collect(Logits(channels_last), 2), logits.float())


def test_mirror_exchanges_left_and_right():
    logits = draw((5, 7))
    assert torch.equal(collect(Mirrored(Logits(logits)), 2), logits.flip(3))


def test_mirror_exchanges_the_classes_of_each_pair():
    logits = draw((5, 7), classes=6)
    swapped = logits.flip(3)[:, [0, 4, 5, 3, 1, 2]]
    assert torch.equal(collect(Mirrored(Logits(logits), ((1, 4), (5, 2))), 2), swapped)


@pytest.mark.parametrize(
    ("extent", "crop", "stride", "expected"),
    [
        (200, 97, 65, [0, 65, 103]),
        (97, 97, 65, [0]),
        (98, 97, 65, [0, 1]),
        (50, 97, 65, [0]),
        (162, 97, 65, [0, 65]),
        (1, 1, 1, [0]),
    ],
)
def test_last_window_is_shifted_inside(extent, crop, stride, expected):
    assert window_offsets(extent, crop, stride) == expected


def mean_of_windows(pictures, crop, stride, blend="mean"):
    """The obvious definition in float64: add every window times its weights, divide by their sum."""
    total, count = np.zeros(pictures.shape), np.zeros(pictures.shape)
    size = [min(edge, extent) for edge, extent in zip(crop, pictures.shape[2:], strict=True)]
    weight = [[closeness(y, size[0]) * closeness(x, size[1]) for x in range(size[1])] for y in range(size[0])]
    weight = np.array(weight) if blend == "linear" else np.ones(size)
    for top in window_offsets(pictures.shape[2], crop[0], stride[0]):
        for left in window_offsets(pictures.shape[3], crop[1], stride[1]):
            place = (..., slice(top, top + crop[0]), slice(left, left + crop[1]))
            total[place] += resized_twice(torch.from_numpy(pictures[place].copy())).numpy() * weight
            count[place] += weight
    assert (count > 0).all()
    return total / count


def closeness(pixel, extent):
    """How far the middle of a pixel is from the nearer border, of the half extent."""
    return min(pixel + 0.5, extent - pixel - 0.5) / (extent / 2)


def resized_twice(window):
    """Stands for a network: what it gives depends on where the window lies."""
    return torchs_own(coarse(window), window.shape[2:], align_corners=False)


def coarse(window):
    return F.interpolate(window, size=[-(-edge // 4) for edge in window.shape[2:]], mode="area")


def slide(pictures, crop, stride, blend="mean"):
    shape = (len(pictures), *pictures.shape[2:], pictures.shape[1])

    def segment(window):
        return Resized(Logits(coarse(window)), tuple(window.shape[2:]), align_corners=False)

    def read(start, stop):
        return pictures[:, :, start:stop]

    return Sliding(shape, crop, stride, read, segment, pictures.device, blend)


BLEND = st.sampled_from(["mean", "linear"])


@quickly
@given(SIZE, st.tuples(st.integers(1, 30), st.integers(1, 30)), st.data(), st.integers(1, 40), BLEND)
def test_sliding_windows_are_added_and_divided(size, crop, data, step, blend):
    stride = data.draw(st.tuples(st.integers(1, crop[0]), st.integers(1, crop[1])))
    pictures = draw(size)
    expected = mean_of_windows(pictures.double().numpy(), crop, stride, blend)
    np.testing.assert_allclose(collect(slide(pictures, crop, stride, blend), step), expected, atol=1e-5)


def test_linear_blending_has_no_step_where_a_window_begins_or_ends():
    """Two windows that disagree by 1: their mean steps by a half, their linear blend by little at every pixel."""

    def steepest(blend):
        values = iter([0.0, 1.0])
        sliding = Sliding(
            (1, 1, 60, 1),
            (1, 40),
            (1, 20),
            lambda start, stop: torch.zeros(1, 1, stop - start, 60),
            lambda window: Logits(torch.full((1, 1, *window.shape[2:]), next(values))),
            torch.device("cpu"),
            blend,
        )
        return sliding.rows(0, 1).flatten().diff().abs().max()

    assert steepest("mean") == 0.5
    assert steepest("linear") < 0.06


def test_windows_are_segmented_once_and_forgotten_when_no_row_below_needs_them():
    pictures, alive, segmented = draw((64, 40)), [], []
    sliding = slide(pictures, (16, 16), (8, 8))
    segment, sliding._segment = sliding._segment, lambda window: segmented.append(1) or segment(window)
    for start in range(64):
        sliding.rows(start, min(start + 2, 64))
        alive.append(len(sliding._open))
    assert len(segmented) == 7 * 4
    assert max(alive) <= 3


def test_a_row_costs_what_it_takes_in_the_map_below_it():
    """Four rows of 80 x 3 numbers are read for each row of 20 x 3."""
    small = Resized(Logits(draw((40, 80), batch=1)), (10, 20), align_corners=False)
    assert small.row_bytes == 4 * 80 * 3 * 4
    assert Resized(small, (1000, 20), align_corners=False).row_bytes == 20 * 3 * 4
