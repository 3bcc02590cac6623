from ccnet_core.classes import default_palette
from ccnet_core.zoo import load_config


def test_default_palette_is_pascal_vocs():
    assert default_palette(5) == ((0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0), (0, 0, 128))
    assert default_palette(21) == load_config("ccnet_r50-d8_4xb4-20k_voc12aug-512x512").palette
