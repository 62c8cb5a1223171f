"""The search: what it finds can be repeated, what it finished is kept."""

import shlex

import optuna
import pytest
from conftest import SMALL, launch

FLAGS = [flag for flag in SMALL if flag not in ("--lr", 0.03)]


def trials(folder):
    return optuna.load_study(study_name="emotions", storage=f"sqlite:///{folder}/study.db").trials


@pytest.fixture(scope="module")
def search(dataset, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tune")
    flags = ["--dataset", dataset, *FLAGS, "--output", folder]
    done = launch("tune.py", *flags, "--trials", 4)
    assert done.returncode == 0, done.stderr
    return folder, flags, done


def test_it_ends_with_a_table_pictures_and_a_command(search, run, tmp_path):
    folder, _, done = search
    assert done.stderr == ""
    assert "4 trials finished" in done.stdout
    for name in ("history.png", "importance.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    command = next(line for line in done.stdout.splitlines() if line.startswith("python train.py"))
    best = max(trial.value for trial in trials(folder) if trial.state.name == "COMPLETE")
    code, printed, stderr = run(*shlex.split(command)[1:], "--output", tmp_path / "best")
    assert code == 0, stderr
    assert f"validation macro-F1 {best:.4f}" in printed


def test_flags_that_are_given_are_not_searched(search):
    folder, *_ = search
    searched = {name for trial in trials(folder) for name in trial.params}
    assert "lr" in searched and "dropout" in searched
    assert not searched & {"layers", "hidden_size", "batch_size", "embedding_dropout"}
    assert "temperature" not in searched  # without a teacher


def test_the_same_command_goes_on(search):
    folder, flags, _ = search
    before = [trial.value for trial in trials(folder)]
    assert launch("tune.py", *flags, "--trials", 4).returncode == 0
    assert [trial.value for trial in trials(folder)] == before
    done = launch("tune.py", *flags, "--trials", 6, "--workers", 2)
    assert done.returncode == 0, done.stderr
    values = [trial.value for trial in trials(folder)]
    assert values[: len(before)] == before and len(values) >= 6


def test_a_journal_file_holds_a_study_too(dataset, tmp_path):
    flags = ["--dataset", dataset, *FLAGS, "--output", tmp_path, "--trials", 1]
    done = launch("tune.py", *flags, "--storage", tmp_path / "study.log")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "study.log").stat().st_size


def test_mistakes_are_one_line(fails, dataset, tmp_path):
    flags = ["--dataset", dataset, "--output", tmp_path]
    assert "--storage" in fails("tune.py", *flags, "--storage", "nosuch://database")
    assert "--resume" in fails("tune.py", *flags, "--resume")
    line = fails("tune.py", "--dataset", tmp_path / "none", "--output", tmp_path, "--trials", 1)
    assert "none" in line
