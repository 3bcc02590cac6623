import subprocess
import sys
from importlib.metadata import version

import pytest

import ccnet_core as ccnet
from ccnet_train.cli import main
from ccnet_train.recipe import to_yaml


@pytest.fixture
def path(squares, tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text(to_yaml(squares("train.iterations=2")))
    return str(path)


def test_fit_trains_and_names_the_best_folder(path, tmp_path, capsys):
    assert main(["fit", path]) == 0
    out = capsys.readouterr().out
    assert "processes: 1" in out
    assert f"at step 2: {tmp_path / 'run' / 'best'}" in out


@pytest.mark.parametrize("words", [["--dry-run", "seed=5", "log.every=3"], ["seed=5", "--dry-run", "log.every=3"]])
def test_overrides_may_stand_before_and_after_options(path, tmp_path, capsys, words):
    assert main(["fit", path, *words]) == 0
    out = capsys.readouterr().out
    assert "\nseed: 5\n" in out
    assert "every: 3" in out
    assert "parameters, 3 classes" in out
    assert not (tmp_path / "run").exists()


def test_fresh_starts_over(path, capsys):
    main(["fit", path])
    assert main(["fit", path, "seed=9"]) == 2
    assert "seed was 3, is 9" in capsys.readouterr().err
    assert main(["fit", path, "--fresh", "seed=9"]) == 0


def test_evaluate_prints_a_table(path, tmp_path, capsys):
    ccnet.CCNet.from_config("ccnet_tiny", num_classes=3).save_pretrained(tmp_path / "weights")
    assert main(["evaluate", path, "--weights", str(tmp_path / "weights"), "data.val.length=2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("mIoU ")
    assert [line.split()[0] for line in lines[3:]] == ["ground", "red", "green"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "beakon"], "error: No recipe and no YAML file is called 'beakon'"),
        (["fit", "PATH", "train.iteration=3"], "unknown key 'iteration'"),
        (["fit", "PATH", "data.root=missing"], "there is no folder 'missing'. Download it first."),
        (["fit", "PATH", "model.name=ccnet_tini"], "ccnet_tiny"),
        (["evaluate", "PATH", "--weights", "nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_an_error_is_one_line_with_a_remedy_and_exit_code_2(path, capsys, arguments, message):
    assert main([path if word == "PATH" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1


def test_only_the_main_process_prints_an_error(path, capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    assert main(["fit", path, "sed=3"]) == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("words", [["fit"], ["fit", "beacon", "--frsh"], ["recipes", "seed=3"], ["train"]])
def test_a_wrong_command_line_is_refused(words, capsys):
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2


def test_ctrl_c_says_how_to_continue(path, capsys, monkeypatch):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr("ccnet_train.loop.fit", interrupted)
    assert main(["fit", path]) == 130
    assert "The same command continues from the newest checkpoint." in capsys.readouterr().err


def test_recipes_lists_the_built_in_ones(capsys):
    assert main(["recipes"]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["beacon", "camvid-mini"]


def test_version_is_that_of_the_distribution(capsys):
    with pytest.raises(SystemExit):
        main(["--version"])
    assert capsys.readouterr().out == f"ccnet-train {version('ccnet-train')}\n"


def test_listing_recipes_imports_neither_accelerate_nor_a_sibling_but_core():
    code = (
        "import sys, ccnet_train.cli; ccnet_train.cli.main(['recipes'])\n"
        "heavy = {'accelerate', 'tensorboard', 'numba', 'datasets', 'ccnet_data', 'ccnet_kernels'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
