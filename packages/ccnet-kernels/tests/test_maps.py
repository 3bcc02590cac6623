import pytest
import torch
from kernel_oracle import nan_in_fresh_memory

from ccnet_kernels.cuda.maps import Result, fits, packed, room_for

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
