import pytest

from ccnet_core.errors import ConfigError
from ccnet_core.head_config import AuxiliaryHeadConfig, HeadConfig, ParsingConfig


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: HeadConfig(channels=100), "multiple of reduction"),
        (lambda: HeadConfig(recurrence=-1), "recurrence must be a whole number from 0 to 256, got -1"),
        (lambda: HeadConfig(recurrence=257), "recurrence must be a whole number from 0 to 256, got 257"),
        (lambda: HeadConfig(kernel_size=257), "kernel_size must be whole numbers from 1 to 256, got 257"),
        (lambda: HeadConfig(frames=0), "frames must be whole numbers from 1 to 256, got 0"),
        (lambda: HeadConfig(kernel_size=2), "kernel_size must be odd"),
        (lambda: HeadConfig(reduction=0), "reduction must be whole numbers from 1"),
        (lambda: HeadConfig(dropout=1.0), "dropout must be from 0 to below 1"),
        (lambda: HeadConfig(gamma=float("inf")), "gamma must be a number"),
        (lambda: AuxiliaryHeadConfig(channels=0), "channels must be whole numbers from 1"),
        (lambda: ParsingConfig(channels=0), "channels must be whole numbers from 1"),
        (lambda: ParsingConfig(detail_channels=0), "detail_channels must be whole numbers from 1"),
    ],
)
def test_a_head_that_cannot_be_built_says_why(build, message):
    with pytest.raises(ConfigError, match=message):
        build()
