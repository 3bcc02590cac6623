import sys

import numpy as np
import pytest
from PIL import Image

import ccnet_core as ccnet
from ccnet_train.cli import main
from ccnet_train.recipe import to_yaml

TWO = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2")


@pytest.fixture
def weights(tmp_path):
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "red", "green"))
    model.save_pretrained(tmp_path / "weights")
    return tmp_path / "weights"


@pytest.fixture
def folder(tmp_path):
    """Five pictures of two sizes, in two folders."""
    generator = np.random.default_rng(0)
    for index in range(5):
        path = tmp_path / "in" / f"{'sub/' * (index % 2)}{index}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        size = (20, 30) if index < 3 else (24, 16)
        Image.fromarray(generator.integers(0, 256, (*size, 3), dtype=np.uint8)).save(path)
    return tmp_path / "in"


@pytest.fixture
def recipe(squares, tmp_path):
    def write(*overrides):
        path = tmp_path / "mine.yaml"
        path.write_text(to_yaml(squares(*overrides)))
        return path

    return write


def results(out):
    return sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())


def labels(path):
    with Image.open(path) as image:
        return np.asarray(image)


LABELS = ["0_labels.png", "2_labels.png", "4_labels.png", "sub/1_labels.png", "sub/3_labels.png"]


def predict(*words):
    return main(["predict", *map(str, words), "--save", "labels"])


def test_one_process_predicts_as_ccnet_does(folder, weights, tmp_path, capsys):
    assert predict(folder, "--model", weights, "--out", tmp_path / "out") == 0
    assert capsys.readouterr().out == f"5 pictures -> {tmp_path}/out/NAME_labels.png: 5 written\n"
    assert results(tmp_path / "out") == LABELS
    model = ccnet.CCNet.from_pretrained(weights)
    for name in LABELS:
        picture = folder / name.replace("_labels", "")
        np.testing.assert_array_equal(labels(tmp_path / "out" / name), ccnet.predict(model, picture).labels)


def test_words_may_stand_after_options(folder, weights, tmp_path):
    assert predict("--model", weights, "--out", tmp_path / "out", folder / "0.png", folder / "2.png") == 0
    assert results(tmp_path / "out") == LABELS[:2]


def test_two_processes_write_each_output_once_and_both_tell_of_a_failure(folder, weights, command, tmp_path):
    (folder / "2.png").write_bytes(b"")
    words = ("predict", folder, "--model", weights, "--out", tmp_path / "out", "--save", "labels")
    done = command(*words, launcher=TWO)
    assert done.returncode == 1
    assert done.stdout == f"5 pictures -> {tmp_path}/out/NAME_labels.png: 4 written, 1 failed\n"
    assert [line for line in done.stderr.splitlines() if line.startswith("error")] == [
        f"error: {folder}/2.png: not a picture that Pillow can read. Convert it to PNG or JPEG."
    ]
    assert results(tmp_path / "out") == [name for name in LABELS if not name.startswith("2")]
    (tmp_path / "out" / LABELS[0]).unlink()
    again = command(*words, launcher=TWO)
    assert ": 1 written, 3 skipped, as they are there (--overwrite makes them anew), 1 failed\n" in again.stdout


def test_two_processes_share_a_split(recipe, weights, command, tmp_path):
    words = ("predict", "--recipe", recipe(), "--split", "val", "--model", weights, "--out", tmp_path / "out")
    done = command(*words, "--save", "labels,json", launcher=TWO)
    assert (done.returncode, done.stdout) == (
        0,
        f"5 pictures of 'squares', split 'val' -> {tmp_path}/out/ID_labels.png, {tmp_path}/out/ID_areas.json: "
        "5 written\n",
    ), done.stderr
    assert results(tmp_path / "out") == [f"val-{n}_{kind}" for n in range(5) for kind in ("areas.json", "labels.png")]


def test_a_split_is_predicted_from_its_recipe_with_overrides(recipe, weights, squares, tmp_path, capsys):
    out, path = tmp_path / "out", recipe()
    words = ("--recipe", path, "--model", weights, "--out", out)
    assert predict(*words, "data.val.length=2") == 0
    assert results(out) == ["val-0_labels.png", "val-1_labels.png"]
    assert predict(*words, "data.val.broken=3") == 1
    said = capsys.readouterr()
    assert said.out.endswith(": 2 written, 2 skipped, as they are there (--overwrite makes them anew), 1 failed\n")
    assert said.err == (
        "error: dataset 'squares', split 'val': 3.png: not a readable picture; fetch or export it again.\n"
    )
    provider = __import__("fake_data")
    model = ccnet.CCNet.from_pretrained(weights)
    for index in (0, 1, 2, 4):
        picture = provider.Squares("val", length=5)[index]["image"].transpose(1, 2, 0)
        np.testing.assert_array_equal(labels(out / f"val-{index}_labels.png"), ccnet.predict(model, picture).labels)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Give pictures, or --recipe RECIPE"),
        (["nowhere.png"], "nowhere.png: there is no such file or folder"),
        (["{folder}", "--mode", "slide"], "mode 'slide' needs crop"),
        (["--recipe", "{recipe}", "--split", "val", "data.root=missing"], "there is no folder 'missing'"),
        (["--recipe", "{recipe}", "--out", "{folder}/0.png/x"], "0.png/x: cannot be written"),
    ],
)
def test_a_mistake_is_one_line_and_exit_code_2(recipe, folder, weights, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    words = [word.format(folder=folder, recipe=recipe()) for word in words]
    assert predict(*words, "--model", weights) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    assert message in said.err


def test_a_list_on_stdin_is_for_one_process(weights, monkeypatch, capsys):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}.items():
        monkeypatch.setenv(name, value)
    assert predict("-", "--model", weights) == 2
    assert "A list on stdin (-) cannot be shared by several processes" in capsys.readouterr().err


def test_ctrl_c_says_that_the_same_command_continues(folder, weights, tmp_path, monkeypatch, capsys):
    def interrupted(*_arguments, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr(sys.modules["ccnet_core.predict_many"], "predict_batch", interrupted)
    assert predict(folder, "--model", weights, "--out", tmp_path / "out") == 130
    assert capsys.readouterr().err == "\nstopped. What is written is whole. The same command continues.\n"


def test_clips_of_a_split_are_predicted_and_shown_by_their_last_frame(recipe, tmp_path):
    model = ccnet.CCNet.from_config("ccnet_tiny", classes=("ground", "red", "green"), frames=3)
    model.save_pretrained(tmp_path / "weights")
    clips = recipe("data.options.frames=3", "data.val.length=2")
    options = (
        "--recipe",
        clips,
        "--model",
        tmp_path / "weights",
        "--out",
        tmp_path / "out",
        "--save",
        "overlay,labels",
    )
    assert main(["predict", *map(str, options)]) == 0
    assert results(tmp_path / "out") == [f"val-{n}_{kind}.png" for n in (0, 1) for kind in ("labels", "overlay")]
    assert labels(tmp_path / "out" / "val-0_labels.png").shape == (32, 32)
