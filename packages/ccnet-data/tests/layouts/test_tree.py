import pytest

from ccnet_data.layouts.tree import descend


@pytest.mark.parametrize("start", ["", "VOCdevkit", "VOCdevkit/VOC2012"])
def test_a_folder_on_the_way_leads_to_the_one_inside(tmp_path, start):
    home = tmp_path / "VOCdevkit" / "VOC2012"
    home.mkdir(parents=True)
    assert descend(tmp_path / start, "VOCdevkit/VOC2012") == home


def test_a_folder_that_is_not_on_the_way_stays(tmp_path):
    (tmp_path / "VOCdevkit").mkdir()
    assert descend(tmp_path, "VOCdevkit/VOC2012") == tmp_path
    assert descend(tmp_path, "") == tmp_path
