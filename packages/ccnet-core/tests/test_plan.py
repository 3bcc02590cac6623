import dataclasses

import pytest

from ccnet_core.errors import ConfigError
from ccnet_core.plan import InferencePlan


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: InferencePlan(mode="slide"), "needs crop"),
        (lambda: InferencePlan(mode="tile"), "mode must be 'whole', 'slide' or 'fit', got 'tile'"),
        (lambda: InferencePlan(mode="slide", crop=(4, 4), stride=(5, 4)), "stride"),
        (lambda: InferencePlan(scales=(0.0,)), "scales must be numbers above 0"),
        (lambda: InferencePlan(scales=(float("nan"),)), "scales must be numbers above 0"),
        (lambda: InferencePlan(scales=1.0), "scales must be numbers above 0 in a tuple, got 1.0"),
        (lambda: InferencePlan(scales=("half",)), r"scales must be numbers above 0 in a tuple, got \('half',\)"),
        (lambda: InferencePlan(flip="no"), "flip must be True or False, got 'no'"),
        (lambda: InferencePlan(crop=16), "crop must be two whole numbers above 0, got 16"),
        (lambda: InferencePlan(base_scale=(0, 0)), "base_scale must be two whole numbers above 0"),
        (lambda: InferencePlan(resize="plan"), "needs base_scale"),
    ],
)
def test_a_plan_that_cannot_be_carried_out_says_why(build, message):
    with pytest.raises(ConfigError, match=message):
        build()


def test_options_replace_what_a_plan_says():
    plan = InferencePlan(mode="slide", crop=(8, 8), stride=(4, 4), scales=(2.0,), flip=True, base_scale=(9, 7))
    assert plan.with_options() == dataclasses.replace(plan, scales=(1.0,), flip=False)
    assert plan.with_options(mode="whole", resize="plan") == InferencePlan(
        mode="whole", crop=(8, 8), stride=(4, 4), base_scale=(9, 7), resize="plan"
    )
    assert plan.with_options(crop=(6, 6), scales=(1.0, 2.0), flip=True) == dataclasses.replace(
        plan, crop=(6, 6), scales=(1.0, 2.0)
    )
    with pytest.raises(ConfigError, match="crop and stride belong to mode='slide'"):
        plan.with_options(mode="whole", crop=(6, 6))
