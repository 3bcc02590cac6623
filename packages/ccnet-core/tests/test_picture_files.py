import errno
import os
from pathlib import Path

import pytest

from ccnet_core.errors import PictureError
from ccnet_core.picture_files import find_pictures


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """Make empty files, and stand in their folder."""
    monkeypatch.chdir(tmp_path)

    def make(*paths):
        for path in paths:
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).touch()

    return make


def find(*words, lines=(), out="results", results=("_overlay.png",)):
    return [(str(named.source), named.name) for named in find_pictures(words, lines, out=Path(out), results=results)]


def test_a_file_gives_its_name(tree):
    tree("a/x.png", "a/y.raw")
    assert find("a/x.png", "a/y.raw") == [("a/x.png", "x"), ("a/y.raw", "y")]


def test_a_folder_gives_its_pictures_in_order_with_their_path_in_it(tree):
    tree("in/b.PNG", "in/a.jpg", "in/sub/a.jpg", "in/notes.txt", "in/.hidden.png", "in/.trash/a.png", "in/clip.mp4")
    assert find("in") == [("in/a.jpg", "a"), ("in/b.PNG", "b"), ("in/sub/a.jpg", "sub/a")]


def test_results_of_an_earlier_run_are_no_pictures(tree):
    tree("in/a.png", "in/a_overlay.png", "in/b_overlay.png", "in/done/a_overlay.png", "in/done/c.png")
    assert find("in", out="in/done") == [("in/a.png", "a"), ("in/b_overlay.png", "b_overlay")]
    tree("two/a.jpg", "two/a.png", "two/a.jpg_overlay.png", "two/a.png_overlay.png")
    assert find("two", out="two") == [("two/a.jpg", "a.jpg"), ("two/a.png", "a.png")]


def test_a_pattern_is_expanded_below_its_fixed_part(tree):
    tree("in/x/b.png", "in/x/a.png", "in/y/a.png", "in/y/a.txt")
    pictures = [("in/x/a.png", "x/a"), ("in/x/b.png", "x/b"), ("in/y/a.png", "y/a")]
    assert find("in/*/*.png") == find("in/**/*.png") == pictures
    assert find("in/x/*.png") == [("in/x/a.png", "a"), ("in/x/b.png", "b")]


def test_a_file_whose_name_looks_like_a_pattern_is_that_file(tree):
    tree("a[1].png", "a1.png")
    assert find("a[1].png") == [("a[1].png", "a[1]")]


def test_a_list_gives_its_files_whether_they_exist_or_not(tree):
    assert find("-", lines=["in/a b.png\n", "\n", "in/c.png\r\n", ".\n"]) == [
        ("in/a b.png", "a b"),
        ("in/c.png", "c"),
        (".", "."),
    ]


def test_files_of_one_name_in_several_folders_keep_the_path_below_the_common_one(tree):
    tree("in/x/a.png", "in/y/a.png", "in/y/b.png")
    assert find("in/x/a.png", "in/y/a.png", "in/y/b.png") == [
        ("in/x/a.png", "x/a"),
        ("in/y/a.png", "y/a"),
        ("in/y/b.png", "y/b"),
    ]
    assert [name for _, name in find("in/x", "in/y")] == ["x/a", "y/a", "y/b"]
    assert [name for _, name in find("-", lines=["in/x/../x/a.png", "in/y/a.png"])] == ["x/a", "y/a"]


def test_files_of_one_name_and_two_suffixes_keep_them(tree):
    tree("in/a.jpg", "in/a.png", "in/b.png")
    assert [name for _, name in find("in")] == ["a.jpg", "a.png", "b"]


def test_a_file_named_twice_is_one(tree):
    tree("in/a.png")
    assert find("in", "in/a.png", "in/../in/a.png") == [("in/a.png", "a")]


def test_no_name_leads_out_of_the_results(tree, tmp_path):
    tree("in/x/a.png", "b/a.png")
    names = [name for _, name in find("in/x/../../b/a.png", "in/x/a.png")]
    assert names == ["b/a", "in/x/a"]


def test_a_video_is_known_by_its_suffix(tree):
    tree("a.MP4", "b.png")
    assert [named.is_video for named in find_pictures(["a.MP4", "b.png"], out=Path("out"))] == [True, False]


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("nowhere.png", r"nowhere\.png: there is no such file or folder"),
        ("nowhere/*.png", r"nowhere/\*\.png: no file is called so"),
        ("empty", r"empty: this folder holds no picture \(\.bmp .*\.png"),
        ("-", "the list on stdin is empty"),
    ],
)
def test_a_word_that_names_nothing_is_refused(tree, word, message):
    tree("empty/notes.txt")
    with pytest.raises(PictureError, match=message):
        find(word)


def test_a_folder_that_may_not_be_read_is_refused(tree, monkeypatch):
    tree("in/a.png", "in/secret/b.png")
    scandir = os.scandir

    def refuse(path):
        if Path(path).name == "secret":
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(PictureError, match=r"in/secret: this folder may not be read \(Permission denied\)"):
        find("in")


def test_a_camera_is_called_by_its_number(tree):
    tree("a.png")
    named = find_pictures(["camera:2", "a.png", "camera:2"], out=Path("out"))
    assert [(str(each.source), each.name, each.is_video) for each in named] == [
        ("a.png", "a", False),
        ("camera:2", "camera-2", True),
    ]
    with pytest.raises(PictureError, match="camera:front: a camera is called by its number, such as camera:0"):
        find_pictures(["camera:front"], out=Path("out"))
