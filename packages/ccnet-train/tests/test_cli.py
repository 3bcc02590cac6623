import os
import subprocess
import sys
from importlib.metadata import version

import pytest

from ccnet_train.cli import main
from ccnet_train.errors import ProcessError, Terminated
from ccnet_train.recipe import list_recipes, to_yaml


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


def test_a_change_can_be_allowed(path, capsys):
    main(["fit", path])
    assert main(["fit", path, "--allow-change", "train.iterations=3"]) == 0
    assert "--allow-change: train.iterations was 2, is 3" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["fit", "beakon"], "error: No recipe and no YAML file is called 'beakon'"),
        (["fit", "PATH", "output=/proc/nope"], "output=/proc/nope: cannot be written"),
        (["fit", "PATH", "data.train.broken=11"], "split 'train': 11.png: not a readable picture"),
        (["fit", "PATH", "data.val.broken=1"], "split 'val': 1.png: not a readable picture"),
        (["fit", "PATH", "seed=[1"], "seed=[1: not valid YAML: line 1"),
        (["fit", "PATH", "--dry-run", "data.val.length=0"], "split 'val': it holds no pictures"),
        (["fit", "PATH", "train.iteration=3"], "unknown key 'iteration'"),
        (["fit", "PATH", "data.root=missing"], "there is no folder 'missing'. Download it first."),
        (["fit", "PATH", "model.name=ccnet_tini"], "ccnet_tiny"),
        (["evaluate", "PATH", "--weights", "nowhere"], "nowhere: there is no such folder"),
    ],
)
def test_an_error_is_one_line_with_a_remedy_and_exit_code_2(path, capsys, arguments, message):
    assert main([path if word == "PATH" else word for word in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") <= 2  # a bar may stand before it
    assert error.splitlines()[-1].startswith("error: ")
    assert message in error.splitlines()[-1]


@pytest.mark.parametrize(("local_rank", "printed"), [("1", 0), ("0", 1)])
def test_an_error_of_every_process_is_printed_once_per_machine(path, capsys, monkeypatch, local_rank, printed):
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("LOCAL_RANK", local_rank)
    assert main(["fit", path, "sed=3"]) == 2
    assert capsys.readouterr().err.count("error: ") == printed


def test_an_error_of_one_process_is_printed_with_its_number(path, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise ProcessError("3.png: damaged")

    monkeypatch.setattr("ccnet_train.loop.fit", fail)
    monkeypatch.setenv("RANK", "1")
    assert main(["fit", path]) == 2
    assert capsys.readouterr().err == "\nerror (process 1): 3.png: damaged\n"


def test_an_error_of_the_system_is_one_line(path, capsys, monkeypatch):
    def fail(*arguments, **options):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("ccnet_train.loop.fit", fail)
    assert main(["fit", path]) == 2
    assert capsys.readouterr().err == "error: [Errno 28] No space left on device\n"


@pytest.mark.parametrize(
    "words",
    [
        ["fit"],
        ["fit", "beacon", "--frsh"],
        ["fit", "beacon", "--fresh", "--allow-change"],
        ["recipes", "seed=3"],
        ["train"],
    ],
)
def test_a_wrong_command_line_is_refused(words, capsys):
    with pytest.raises(SystemExit) as raised:
        main(words)
    assert raised.value.code == 2


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["fit", "NEW"], "stopped. No checkpoint had been written yet."),
        (["fit", "RUN"], "stopped. The same command continues from step 2."),
        (["fit", "RUN", "--fresh"], "stopped. The same command without --fresh continues from step 2."),
        (["fit", "RUN", "--fresh", "seed=9"], "stopped."),
        (["fit", "RUN", "--dry-run"], "stopped."),
        (["evaluate", "RUN", "--weights", "x"], "stopped. The same command continues."),
        (["recipes"], "stopped."),
    ],
)
def test_ctrl_c_says_what_is_true_of_the_command(path, tmp_path, capsys, monkeypatch, words, said):
    def interrupted(*arguments, **options):
        raise KeyboardInterrupt

    main(["fit", path])
    for function in (
        "loop.fit",
        "dry_run.describe",
        "evaluate_weights.evaluate_weights",
        "commands.recipes.recipe_rows",
    ):
        monkeypatch.setattr(f"ccnet_train.{function}", interrupted)
    new = [path, f"output={tmp_path / 'new'}"]
    arguments = [argument for word in words for argument in {"RUN": [path], "NEW": new}.get(word, [word])]
    capsys.readouterr()
    assert main(arguments) == 130
    assert capsys.readouterr().err == f"\n{said}\n"


def test_after_sigterm_the_code_is_that_of_the_signal(path, capsys, monkeypatch):
    def terminated(*arguments, **options):
        raise Terminated

    main(["fit", path])
    capsys.readouterr()
    monkeypatch.setattr("ccnet_train.loop.fit", terminated)
    assert main(["fit", path]) == 143
    assert capsys.readouterr().err == "\nstopped. The same command continues from step 2.\n"


@pytest.mark.parametrize("words", [["--help"], ["fit", "--help"]])
def test_the_help_says_what_the_exit_codes_mean(words, capsys):
    with pytest.raises(SystemExit):
        main(words)
    out = " ".join(capsys.readouterr().out.split())
    assert "exit codes: 0 done; 2 a mistake" in out
    assert "130 after Ctrl-C and 143 after SIGTERM" in out


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_has_enough_is_no_error(unbuffered):
    done = subprocess.run(
        [sys.executable, "-m", "ccnet_train", "recipes"],
        stdout=closed_pipe(),
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONUNBUFFERED": unbuffered},
        text=True,
    )
    assert (done.returncode, done.stderr) == (1, "")


def closed_pipe():
    reader, writer = os.pipe()
    os.close(reader)
    return writer


def test_recipes_lists_the_built_in_ones(capsys):
    assert main(["recipes"]) == 0
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == ["recipe", "dataset", "iterations", "images", "per", "step"]
    assert [line.split()[0] for line in lines] == list_recipes()
    assert ["beacon", "beacon", "600", "16"] in [line.split() for line in lines]
    assert len({len(line) for line in lines}) == 1


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
