import pytest
import torch
from kernel_oracle import nan_in_fresh_memory

from ccnet_kernels.cuda.maps import LARGEST_INDEX, Result, fits, packed, packed_apart, pitch_of, room_for

PICTURE, CLIP = (2, 8, 3, 4), (2, 8, 3, 4, 5)


def channels_last(maps):
    return maps.movedim(1, -1).contiguous().movedim(-1, 1)


def at_an_odd_address(maps):
    return (
        channels_last(torch.cat([maps, maps[:, :1]], 1))
        .flatten()[: maps.numel()]
        .as_strided(maps.shape, channels_last(maps).stride(), 1)
    )


@pytest.mark.parametrize("shape", [PICTURE, CLIP])
def test_float32_fits_where_it_is_contiguous(shape):
    maps = torch.randn(shape)
    assert packed(maps) is maps
    assert not fits(channels_last(maps))
    assert not fits(maps.mT)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("shape", [PICTURE, CLIP])
def test_half_precision_fits_with_the_channels_inside(shape, dtype):
    maps = torch.randn(shape).to(dtype)
    assert fits(channels_last(maps))
    assert not fits(maps)
    assert not fits(channels_last(maps[:, :7]))
    assert not fits(at_an_odd_address(maps))


@pytest.mark.parametrize("change", [channels_last, at_an_odd_address, lambda maps: maps.mT, lambda maps: maps[:, 1:]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [PICTURE, CLIP])
def test_a_packed_copy_fits_and_holds_the_same(shape, dtype, change):
    maps = change(torch.randn(shape).to(dtype))
    copy = packed(maps)
    assert fits(copy)
    assert torch.equal(copy[:, : maps.shape[1]], maps)


def test_added_channels_are_zero():
    with nan_in_fresh_memory():
        copy = packed(torch.ones(2, 9, 3, 4, dtype=torch.bfloat16))
    assert copy.shape == (2, 16, 3, 4)
    assert (copy[:, 9:] == 0).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_room_is_for_maps_that_fit(dtype):
    for shape in (PICTURE, CLIP, (1, 1, 1, 1), (1, 3, 1, 7)):
        assert fits(room_for(torch.empty(shape, dtype=dtype).mT))


@pytest.mark.parametrize("change", [channels_last, lambda maps: maps, lambda maps: maps.mT, lambda maps: maps[:, 1:]])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_result_is_laid_out_as_what_it_is_like(dtype, change):
    like = change(torch.randn(PICTURE).to(dtype))
    result = Result(like)
    assert fits(result.memory)
    written = torch.randn(like.shape).to(dtype)
    result.memory[:, : like.shape[1]] = written
    found = result.unpacked()
    assert torch.equal(found, written)
    assert (found.shape, found.stride()) == (like.shape, torch.empty_like(like).stride())


def of_one_map(shape, dtype=torch.bfloat16):
    """Query and key of 8 channels and value of 16, side by side."""
    batch, _, *extent = shape
    return channels_last(torch.randn(batch, 32, *extent)).to(dtype).split([8, 8, 16], 1)


@pytest.mark.parametrize("shape", [PICTURE, CLIP, (1, 8, 1, 7), (3, 8, 1, 1), (1, 8, 5, 1)])
def test_channels_of_a_wider_map_have_its_pitch(shape):
    assert [pitch_of(maps) for maps in of_one_map(shape)] == [32] * 3
    assert pitch_of(channels_last(torch.randn(shape)).half()) == 8


@pytest.mark.parametrize(
    "maps",
    [
        torch.randn(PICTURE).half(),  # channels outside
        channels_last(torch.randn(PICTURE)),  # float32
        channels_last(torch.randn(2, 8, 3, 5)).half()[..., :4],  # rows that are longer than what is seen of them
        channels_last(torch.randn(4, 8, 3, 4)).half()[::2],
        channels_last(torch.randn(2, 12, 3, 4)).half()[:, :8],  # 24 bytes apart
        channels_last(torch.randn(2, 24, 3, 4)).half()[:, 4:12],  # from an address that 16 does not divide
        torch.randn(1, 8, 1, 1).half().expand(2, 8, 3, 4),
        torch.empty_strided((1, 8, 1, 2), (8, 1, 8, LARGEST_INDEX // 2 + 1), dtype=torch.half, device="meta"),
    ],
    ids=["outside", "float32", "part of rows", "every other", "24 bytes", "odd address", "one position", "too far"],
)
def test_maps_that_the_kernels_cannot_walk_have_no_pitch(maps):
    assert pitch_of(maps) is None


def test_channels_of_one_map_are_taken_where_they_are():
    maps = of_one_map(PICTURE)
    assert all(one is other for one, other in zip(packed_apart(*maps), maps, strict=True))


def test_query_and_key_of_different_pitch_are_copied():
    query, _, value = of_one_map(PICTURE)
    key = channels_last(torch.randn(PICTURE)).to(query.dtype)
    taken = packed_apart(query, key, value)
    assert [pitch_of(maps) for maps in taken] == [8, 8, 32]
    assert taken[1] is key
    assert torch.equal(taken[0], query)
