import pytest
import torch

from ccnet_train.detection.config import load_config

pytestmark = pytest.mark.detection

NAMES = ["maskrcnn_tiny", "maskrcnn_r18_fpn"]


@pytest.mark.parametrize("name", NAMES)
def test_strides_are_those_of_the_maps_that_the_backbone_returns(name):
    from ccnet_train.detection.backbone import make_backbone, map_strides

    config = load_config(name)
    with torch.no_grad():
        maps = make_backbone(config).eval()(torch.zeros(1, 3, 128, 192))
    maps.pop("pool")  # for proposals alone
    expected = [(1, config.channels, 128 // stride, 192 // stride) for stride in map_strides(config)]
    assert [tuple(one.shape) for one in maps.values()] == expected


def test_attention_follows_the_stage_that_the_configuration_says():
    from ccnet_train.detection.backbone import make_backbone

    names = make_backbone(load_config("maskrcnn_r18_fpn")).state_dict()
    assert {name.split(".context.")[0] for name in names if ".context." in name} == {"body.layer3"}


def test_a_pool_takes_its_strides_from_us_and_not_from_the_first_pictures():
    from torchvision.ops import MultiScaleRoIAlign

    from ccnet_train.detection.backbone import set_strides

    pool = MultiScaleRoIAlign(["0", "1"], 2, 2)
    set_strides(pool, [4, 8])
    maps = {"0": torch.zeros(1, 1, 8, 64), "1": torch.ones(1, 1, 4, 32)}
    pool(maps, [torch.tensor([[0.0, 0, 8, 8]])], [(20, 256)])  # padded to 32 rows
    assert pool.scales == [1 / 4, 1 / 8]
