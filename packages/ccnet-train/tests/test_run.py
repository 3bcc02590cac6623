import pytest

from ccnet_train.run import load_parts


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("data.root=missing", "there is no folder 'missing'"),
        ("data.options.lenth=3", "Unknown option 'lenth'"),
        ("data.train.length=0", "split 'train': it holds no pictures"),
        ("data.val.length=0", "split 'val': it holds no pictures"),
        ("data.val.broken=0", "split 'val': 0.png: not a readable picture"),
        ("augment={flop: 1}", "augment: unknown key"),
        ("augment={flip: 1, smallest: 64}", "the picture is too small"),
        ("loss.class_weights=[1,1]", "class_weights has 2 numbers"),
        ("train.images_per_step=3", "cannot be shared by 2 processes"),
        ("train.accumulation=4", "cannot be shared by 2 processes, each in 4 parts"),
        ("model.name=ccnet_tini", "ccnet_tiny"),
    ],
)
def test_what_would_stop_a_run_is_found_before_it(squares, override, message):
    with pytest.raises(ValueError, match=message):
        load_parts(squares(override), 2)
