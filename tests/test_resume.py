"""Runs that end at the worst moment, and what is never lost."""

import csv
import shutil

import pytest
import torch
from conftest import SMALL
from safetensors.torch import load_file

import history
import model

EPOCHS = SMALL[SMALL.index("--epochs") + 1]
STEPS = {
    "save_checkpoint": model,
    "save_state": history,
    "write_history": history,
    "plot_history": history,
}


def contents(folder):
    """All files of a run by name."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def timeless(folder):
    """The run's history without the seconds, which no two runs share."""
    with open(folder / "history.csv") as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def assert_same_run(one, other):
    assert (one / "model.safetensors").read_bytes() == (other / "model.safetensors").read_bytes()
    states = [load_file(folder / "state.safetensors") for folder in (one, other)]
    assert states[0].keys() == states[1].keys()
    for key in states[0]:
        assert torch.equal(states[0][key], states[1][key]), key
    assert timeless(one) == timeless(other)


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(
    ("step", "turn"),
    [
        ("save_state", 1),  # before the first epoch
        ("save_checkpoint", 1),
        ("save_state", 2),
        ("write_history", 1),
        ("save_state", EPOCHS + 1),  # after the last epoch
        ("write_history", EPOCHS),
        ("plot_history", 1),
    ],
)
def test_killed_at_any_step_of_saving_and_resumed(
    run, monkeypatch, trained, dataset, tmp_path, step, turn, done
):
    flags = ["--dataset", dataset, "--output", tmp_path / "run", *SMALL]
    original, calls = getattr(STEPS[step], step), []

    def dies(*arguments, **options):
        calls.append(step)
        if len(calls) < turn or done:
            original(*arguments, **options)
        if len(calls) == turn:
            raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], step, dies)
        if step != "plot_history":  # a killed process plots nothing on its way out
            patch.setattr(history, "plot_history", lambda *_: None)
        assert run("train.py", *flags)[0] == 9
    if (step, turn, done) == ("save_state", 1, False):
        assert run("train.py", *flags)[0] == 0  # nothing was written that --resume could go on with
    else:
        assert run("train.py", "--resume", "--output", tmp_path / "run")[0] == 0
    assert_same_run(tmp_path / "run", trained)
    assert contents(tmp_path / "run").keys() == contents(trained).keys()


def test_resuming_a_finished_run_changes_nothing(run, trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    code, stdout, _ = run("train.py", "--resume", "--output", copy)
    assert code == 0 and "best epoch" in stdout
    assert_same_run(copy, trained)


def test_resume_and_overwrite_together_lose_nothing(run, trained, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(trained, copy)
    code, _, _ = run("train.py", "--resume", "--overwrite", "--output", copy)
    assert code == 2, "they contradict each other"
    assert contents(copy) == contents(trained)


def test_files_that_no_run_wrote_are_not_overwritten(run, dataset, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "README.md").write_text("my own")
    code, _, _ = run("train.py", "--dataset", dataset, "--output", folder, *SMALL, "--epochs", 1)
    assert code == 2
    assert contents(folder) == {"README.md": b"my own"}


def test_an_epoch_that_ends_in_an_infinite_validation_loss_is_not_kept(run, dataset, tmp_path):
    # The only step has a finite training loss, and leaves weights that are useless.
    flags = ["--dataset", dataset, "--output", tmp_path / "run", *SMALL, "--epochs", 1]
    wild = ["--batch-size", 1000, "--lr", 3e37, "--clip", "inf", "--schedule", "constant"]
    code, _, stderr = run("train.py", *flags, *wild)
    assert code == 2 and "not finite" in stderr
    assert not (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("flags", [["--seed", 10**25], ["--max-length", 10**25]], ids=str)
def test_number_too_large_for_the_machine_is_refused(run, dataset, tmp_path, flags):
    output = tmp_path / "run"
    code, _, stderr = run("train.py", "--dataset", dataset, "--output", output, *SMALL, *flags)
    assert code == 2 and flags[0] in stderr
    assert not output.exists()
