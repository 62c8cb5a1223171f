"""train.py, run as its users run it."""

import csv
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT, SMALL, launch
from safetensors.torch import load_file

import train
from arguments import parse_arguments
from batches import Batches
from data import load_corpus
from metrics import predict, quality
from model import load_checkpoint

LONG = [*SMALL, "--epochs", 30]


def history(folder):
    with open(folder / "history.csv") as file:
        return list(csv.DictReader(file))


def weights(folder, name="model.safetensors"):
    return (folder / name).read_bytes()


def same_state(first, second):
    """Whether the states of two runs agree bit for bit, in all but the seconds they took."""
    one, other = (load_file(folder / "state.safetensors") for folder in (first, second))
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def start(*arguments):
    """Start train.py and return the process once it has finished an epoch."""
    command = [sys.executable, str(ROOT / "train.py"), *map(str, arguments)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.split()[0] == "1":
            return process
    raise AssertionError(process.stderr.read())


def test_a_run_leaves_a_checkpoint_a_history_and_curves(trained):
    rows = history(trained)
    assert [row["epoch"] for row in rows] == ["1", "2", "3", "4"]
    assert (trained / "curves.png").read_bytes().startswith(b"\x89PNG")
    best = max(float(row["macro_f1"]) for row in rows)
    assert best > 0.9, "three words decide the label"
    assert f"{best:.4f}" in (trained / "README.md").read_text()
    assert sorted(file.name for file in trained.iterdir()) == [
        "README.md", "config.json", "curves.png", "history.csv", "model.safetensors",
        "state.safetensors", "tokenizer.json",
    ]  # fmt: skip
    data = json.loads((trained / "config.json").read_text())["data"]
    assert data["splits"]["train"]["rows"] == 120


def test_the_checkpoint_is_the_best_epoch(trained, dataset):
    model, tokenizer = load_checkpoint(trained)
    arguments = SimpleNamespace(
        dataset=str(dataset), dataset_config=None, text_column="text", label_column="label"
    )
    split = load_corpus(arguments, ("validation",)).splits["validation"]
    predictions = predict(model, Batches(tokenizer, split.texts)).argmax(dim=1).tolist()
    found = quality(split.labels, predictions, model.classes)["macro_f1"]
    assert found == pytest.approx(max(float(row["macro_f1"]) for row in history(trained)))


def test_screen_says_what_is_trained_and_marks_the_best(run, dataset, tmp_path):
    code, stdout, stderr = run("train.py", "--dataset", dataset, "--output", tmp_path / "r", *SMALL)
    assert code == 0
    assert stderr == "", "a progress bar where nobody looks"
    assert "120 texts, validated on 39" in stdout and "seed 0" in stdout
    assert "best" in next(line for line in stdout.splitlines() if line.split()[0] == "1")
    assert f"python test.py --checkpoint {tmp_path / 'r'}" in stdout


def test_a_seed_decides_everything(run, trained, dataset, tmp_path):
    for name, seed in (("same", 0), ("other", 1)):
        flags = ["--dataset", dataset, "--output", tmp_path / name, "--seed", seed]
        assert run("train.py", *flags, *SMALL)[0] == 0
    assert weights(tmp_path / "same") == weights(trained)
    assert weights(tmp_path / "other") != weights(trained)


@pytest.mark.parametrize("average", [0.998, 0])
def test_killed_and_resumed_is_the_same_as_never_killed(run, dataset, tmp_path, average):
    flags = ["--dataset", dataset, *LONG, "--ema", average]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    process = start(*flags, "--output", killed)
    process.kill()
    process.wait()
    assert not (killed / "curves.png").exists(), "it was too fast to be killed"
    assert run("train.py", "--output", killed, "--resume")[0] == 0
    assert run("train.py", *flags, "--output", whole)[0] == 0
    assert weights(killed) == weights(whole)
    assert same_state(killed, whole)
    timeless = [
        [{k: v for k, v in row.items() if k != "seconds"} for row in history(folder)]
        for folder in (killed, whole)
    ]
    assert timeless[0] == timeless[1]


def test_killed_before_the_first_epoch_is_resumed_too(run, trained, dataset, tmp_path, monkeypatch):
    def dies(*_, **__):
        raise SystemExit(9)

    flags = ["--dataset", dataset, *SMALL, "--output", tmp_path / "r"]
    monkeypatch.setattr(torch.nn.utils, "clip_grad_norm_", dies)
    assert run("train.py", *flags)[0] == 9
    monkeypatch.undo()
    assert not (tmp_path / "r" / "model.safetensors").exists()
    assert run("train.py", "--output", tmp_path / "r", "--resume")[0] == 0
    assert weights(tmp_path / "r") == weights(trained)


def test_interrupted_keeps_the_best_and_says_how_to_go_on(dataset, tmp_path):
    folder = tmp_path / "r"
    process = start("--dataset", dataset, *LONG, "--epochs", 300, "--output", folder)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130
    assert f"python train.py --resume --output {folder}" in stderr and "Traceback" not in stderr
    load_checkpoint(folder)
    assert (folder / "curves.png").exists()


def test_resume_refuses_other_settings_data_and_nothing(fails, trained, dataset, tmp_path):
    line = fails("train.py", "--resume", "--output", trained, "--lr", 0.5)
    assert "--lr" in line and "0.03" in line
    assert "no run to go on with" in fails("train.py", "--resume", "--output", tmp_path / "none")
    moved = tmp_path / "moved"
    shutil.copytree(trained, moved)
    state = moved / "state.safetensors"
    state.write_bytes(state.read_bytes()[:100])
    assert "state.safetensors is broken" in fails("train.py", "--resume", "--output", moved)


def test_resume_refuses_changed_data(run, fails, dataset, tmp_path):
    copy = tmp_path / "data"
    shutil.copytree(dataset, copy)
    flags = ["--dataset", copy, "--output", tmp_path / "r"]
    assert run("train.py", *flags, *SMALL)[0] == 0
    with open(copy / "train.csv", "a") as file:
        file.write("one more,joy\n")
    assert "not the data" in fails("train.py", "--resume", "--output", tmp_path / "r")


def test_a_run_is_overwritten_only_when_asked(run, fails, dataset, tmp_path):
    flags = ["--dataset", dataset, "--output", tmp_path / "r", *SMALL, "--epochs", 1]
    assert run("train.py", *flags)[0] == 0
    before = weights(tmp_path / "r")
    assert "--overwrite" in fails("train.py", *flags, "--seed", 1)
    # What is wrong with the new run is found before the old one is touched.
    fails("train.py", *flags, "--overwrite", "--dataset", tmp_path / "nothing")
    assert weights(tmp_path / "r") == before
    (tmp_path / "r" / "model.onnx").touch()
    assert run("train.py", *flags, "--seed", 1, "--overwrite")[0] == 0
    assert weights(tmp_path / "r") != before
    assert not (tmp_path / "r" / "model.onnx").exists()


def test_loss_that_is_not_finite_stops_and_keeps_the_best(run, fails, dataset, tmp_path):
    flags = ["--dataset", dataset, "--output", tmp_path / "r", *SMALL]
    line = fails("train.py", *flags, "--clip", "inf", "--lr", 1e38)
    assert "epoch 1: the loss is not finite" in line and "none is kept" in line
    assert not (tmp_path / "r" / "model.safetensors").exists()


def test_full_disk_is_one_line_and_leaves_nothing_half_written(dataset, tmp_path):
    def limit():  # files of at most 50 kB, which the model does not fit into
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))

    folder = tmp_path / "r"
    big = [*SMALL, "--embedding-size", 300, "--hidden-size", 64]
    done = launch("train.py", "--dataset", dataset, "--output", folder, *big, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith("error: ") and len(done.stderr.splitlines()) == 1
    assert list(folder.iterdir()) == []


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_folder_without_permission(fails, dataset, tmp_path):
    tmp_path.chmod(0o500)
    fails("train.py", "--dataset", dataset, "--output", tmp_path / "r", *SMALL)


def test_output_that_is_a_file(fails, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    fails("train.py", "--dataset", dataset, "--output", tmp_path / "file" / "r", *SMALL)


@pytest.mark.parametrize(
    "flags",
    [
        ["--dataset", "someone/something"],
        ["--dataset", "."],
        ["--dataset", "sample", "--text-column", "tweet"],
        ["--dataset", "sample", "--dataset-config", "unsplit"],
        ["--dataset", "sample", "--device", "cuda"],
    ],
)
def test_what_cannot_be_trained_on_is_one_line(fails, flags, tmp_path):
    if "cuda" in flags and torch.cuda.is_available():
        pytest.skip("there is a GPU")
    fails("train.py", *flags, "--output", tmp_path / "r", *SMALL)
    assert not (tmp_path / "r").exists()


BAD_FILES = {
    "missing column": "tweet,label\nhi,joy\n",
    "null text": "text,label\nhi,joy\n,sadness\n",
    "unknown label": "text,label\nhi,bliss\n",
    "no rows": "text,label\n",
    "empty file": "",
    "ragged": "text,label\nhi,joy\na,b,c\n",
    "not UTF-8": b"text,label\nhi,joy\n\xff,joy\n",
}


@pytest.mark.parametrize("kind", BAD_FILES)
def test_bad_data_is_one_line_that_names_the_file(fails, dataset, tmp_path, kind):
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    content = BAD_FILES[kind]
    path = folder / "validation.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    line = fails("train.py", "--dataset", folder, "--output", tmp_path / "r", *SMALL)
    assert "validation.csv" in line
    assert not (tmp_path / "r").exists()


def test_missing_split_is_one_line(fails, dataset, tmp_path):
    shutil.copy(dataset / "train.csv", tmp_path)
    assert "no split 'validation'" in fails("train.py", "--dataset", tmp_path, *SMALL)


@pytest.mark.parametrize(
    "flags", [["--epochs", 0], ["--batch-size", -1], ["--dropout", 1], ["--lr", "nan"]]
)
def test_flags_out_of_range_are_named(run, flags):
    code, _, stderr = run("train.py", *flags)
    assert code == 2 and f"argument {flags[0]}" in stderr


def parsed(*flags):
    return parse_arguments(None, flags)


def test_the_preset_is_the_reference_and_flags_have_the_last_word():
    args = parsed("--preset", "baseline")
    assert (args.embedding_size, args.hidden_size, args.layers) == (256, 64, 3)
    assert (args.pooling, args.dropout, args.lr, args.batch_size) == ("last", 0.2, 1e-3, 32)
    assert (args.ema, args.word_dropout, args.schedule) == (0, 0, "constant")
    assert parsed("--lr", "0.5", "--preset", "baseline").lr == 0.5


def test_one_cycle_rises_to_its_peak_and_falls_to_nothing():
    args = SimpleNamespace(schedule="one-cycle", lr=1.0)
    rates = [train.learning_rate(step, 1000, args) for step in range(1000)]
    assert rates[0] == pytest.approx(1 / 25)
    assert rates.index(max(rates)) == 300 and max(rates) == 1
    assert rates == [*sorted(rates[:300]), *sorted(rates[300:], reverse=True)]
    assert rates[-1] < 1e-4
    assert max(abs(a - b) for a, b in pairwise(rates)) < 0.01, "a jump"
    assert not any(math.isnan(rate) for rate in rates)


def test_tensorboard_events_are_written(run, dataset, tmp_path):
    flags = ["--dataset", dataset, "--output", tmp_path / "r", *SMALL, "--epochs", 1]
    assert run("train.py", *flags, "--tensorboard")[0] == 0
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(tmp_path / "r"))
    events.Reload()
    (event,) = events.Scalars("macro_f1")
    assert event.value == pytest.approx(float(history(tmp_path / "r")[0]["macro_f1"]))


def test_without_the_hub_the_default_run_learns_the_sample(tmp_path):
    done = launch("train.py", "--output", tmp_path / "r", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "NOT dair-ai/emotion" in done.stderr
    assert max(float(row["macro_f1"]) for row in history(tmp_path / "r")) >= 0.85


def test_several_seeds_make_several_runs_and_the_best_is_kept(run, fails, dataset, tmp_path):
    out = tmp_path / "r"
    flags = ["--dataset", dataset, *SMALL, "--epochs", 2, "--output", out, "--seeds", 0, 1]
    code, printed, stderr = run("train.py", *flags)
    assert code == 0, stderr
    best = {}
    for seed in (0, 1):
        with open(tmp_path / f"r-seed{seed}" / "history.csv") as file:
            best[seed] = max(float(row["macro_f1"]) for row in csv.DictReader(file))
    mean, spread = sum(best.values()) / 2, abs(best[0] - best[1]) / math.sqrt(2)
    assert f"validation macro-F1, 2 seeds: {mean:.4f} ± {spread:.4f}" in printed
    winner = tmp_path / f"r-seed{max(best, key=best.get)}"
    assert weights(out) == weights(winner) != weights(tmp_path / f"r-seed{min(best, key=best.get)}")
    assert f'load_classifier("{out}")' in (out / "README.md").read_text()
    assert "--overwrite" in fails("train.py", *flags)

    shutil.rmtree(tmp_path / "r-seed1")
    again = ["train.py", "--resume", "--output", out, "--seeds"]
    code, printed, stderr = run(*again, 0, 1)
    assert code == 0, stderr
    assert f"validation macro-F1, 2 seeds: {mean:.4f} ± {spread:.4f}" in printed
    code, printed, stderr = run("train.py", "--resume", "--output", tmp_path / "r-seed1")
    assert code == 0 and "seed 1" in printed, stderr
    assert "--seeds" in fails("train.py", "--resume", "--output", winner, "--seed", 7)
