"""test.py: tables, results, comparisons."""

import json
import re

import pytest
from conftest import data_arguments, launch

from batches import Batches
from data import load_corpus
from metrics import predict, quality
from model import load_checkpoint
from tables import comparison, load_result, report, save_result


def test_all_tables_are_printed(result):
    _, printed, _ = result
    headers = [line for line in printed.splitlines() if line.startswith("|")]
    for words in ("class Precision Recall F1-score Support", "true \\ predicted anger joy sadness",
                  "Accuracy macro-F1 Precision Recall", "tweets / s Size on disk"):  # fmt: skip
        assert any(words in " ".join(line.replace("|", " ").split()) for line in headers)
    for run in ("CPU fp32, ONNX Runtime", "CPU fp16"):
        assert len(re.findall(rf"^\| {run} ", printed, flags=re.MULTILINE)) == 2


def test_predictions_are_those_of_the_model(result, trained, dataset):
    saved, _, _ = result
    model, tokenizer = load_checkpoint(trained)
    split = load_corpus(data_arguments("--dataset", dataset), ("test",)).splits["test"]
    expected = predict(model, Batches(tokenizer, split.texts, batch_size=1)).argmax(dim=1)
    assert saved["runs"][0]["predictions"] == " ".join(map(str, expected.tolist()))
    assert saved["labels"] == " ".join(map(str, split.labels))
    assert saved["data"]["fingerprint"] == split.fingerprint
    assert saved["data"]["rows"] == 42


def test_scores_follow_from_the_predictions(result):
    saved, _, _ = result
    labels = [int(label) for label in saved["labels"].split()]
    for run in saved["runs"]:
        predictions = [int(answer) for answer in run["predictions"].split()]
        assert run["quality"] == quality(labels, predictions, saved["classes"])


def test_half_precision_is_measured_and_half_the_size(result):
    full, half = result[0]["runs"]
    assert (full["precision"], half["precision"]) == ("fp32", "fp16")
    weights = 2 * result[0]["parameters"]
    assert full["bytes"] - half["bytes"] == pytest.approx(weights, abs=100)
    for run in (full, half):
        assert run["speed"]["model_ms"] > 0 and run["speed"]["repeats"] >= 30
        assert run["hardware"]


def test_tables_are_printed_again_from_the_file(result, run):
    _, printed, folder = result
    code, again, _ = run("test.py", "--print", folder / "run.json")
    assert code == 0 and again == printed


def test_the_default_is_the_own_run_and_said_so(trained, dataset, tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "run").symlink_to(trained)
    flags = ["--dataset", dataset, "--results", tmp_path, "--precision", "fp32"]
    done = launch("test.py", *flags, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "evaluating checkpoints/run" in done.stderr
    assert (tmp_path / "run.json").exists()


def test_several_checkpoints_are_compared(run, trained, dataset, tmp_path):
    copies = [tmp_path / f"recipe-seed{seed}" for seed in (1, 2)]
    for copy in copies:
        copy.symlink_to(trained)
    flags = ["--dataset", dataset, "--results", tmp_path / "results", "--precision", "fp32"]
    code, printed, _ = run("test.py", "--checkpoint", *copies, *flags)
    assert code == 0
    (row,) = (line for line in printed.splitlines() if line.startswith("| recipe "))
    assert "± 0.0000" in row, "twice the same model"


def renamed(saved, name, **changes):
    return {**json.loads(json.dumps(saved)), "name": name, **changes}


def test_seeds_of_a_recipe_become_mean_and_deviation(result):
    saved, _, _ = result
    first, second = renamed(saved, "recipe-seed0"), renamed(saved, "recipe-seed1")
    first["runs"][0]["quality"]["accuracy"] = 0.8
    second["runs"][0]["quality"]["accuracy"] = 0.9
    text = comparison([first, second])
    row = next(line for line in text.splitlines() if line.startswith("| recipe "))
    assert "|       2 |" in row and "0.8500 ± 0.0707" in row


def test_two_data_sets_never_share_a_table(result):
    saved, _, _ = result
    other = renamed(saved, "elsewhere", data={**saved["data"], "fingerprint": "0123456789abcdef"})
    sections = comparison([saved, other]).split("## ")[1:]
    assert len(sections) == 2
    assert "elsewhere" not in sections[0] and "| run" not in sections[1]


def test_published_figures_stand_beside_the_same_data_only(result):
    saved, _, _ = result
    published = {"fingerprint": saved["data"]["fingerprint"], "models": [
        {"name": "theirs", "accuracy": 0.9, "macro_f1": 0.8}]}  # fmt: skip
    assert "theirs" in comparison([saved], published)
    assert "theirs" not in comparison([saved], {**published, "fingerprint": "another"})


def test_compare_pairs_models_on_the_same_rows(result, run):
    saved, _, folder = result
    worse = renamed(saved, "worse")
    labels = saved["labels"].split()
    worse["runs"][0]["predictions"] = " ".join(str((int(label) + 1) % 3) for label in labels)
    worse["runs"][0]["quality"]["accuracy"] = 0.0
    save_result(worse, folder)
    code, printed, _ = run("test.py", "--compare", "--results", folder)
    assert code == 0
    row = next(line for line in printed.splitlines() if line.startswith("| run less worse"))
    p = float(row.split("|")[3])
    assert p < 1e-6


def test_a_result_comes_back_as_it_was_saved(result, tmp_path):
    saved, _, _ = result
    path = save_result(saved, tmp_path)
    assert load_result(path) == saved and report(load_result(path)) == report(saved)


def test_a_note_says_when_the_data_are_not_those_trained_on(run, trained, dataset, tmp_path):
    (tmp_path / "other").symlink_to(dataset)
    copy = tmp_path / "elsewhere"
    copy.mkdir()
    for file in dataset.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    flags = ["--dataset", copy, "--results", tmp_path, "--precision", "fp32"]
    _, _, stderr = run("test.py", "--checkpoint", trained, *flags)
    assert "was trained on" in stderr and "elsewhere" in stderr


def test_labels_that_the_model_does_not_know(fails, trained, tmp_path):
    (tmp_path / "test.csv").write_text("text,label\nhi,bliss\n")
    line = fails("test.py", "--checkpoint", trained, "--dataset", tmp_path)
    assert "test.csv: row 1 has label 'bliss', not one of anger, joy, sadness" in line


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (["--checkpoint", "no/model"], "the Hub cannot be reached"),
        (["--checkpoint", "a", "b", "--name", "c"], "--name"),
        (["--batch-size", 0], "--batch-size"),
        (["--compare", "--results", "nowhere"], "nowhere: no results"),
        (["--print", "nothing.json"], "nothing.json"),
    ],
)
def test_flags_that_make_no_sense(fails, flags, reason):
    assert reason in fails("test.py", *flags)


@pytest.mark.parametrize("content", ["", "{", "[]", '{"name": "x"}', "\x00"])
def test_file_that_is_no_result(fails, tmp_path, content):
    (tmp_path / "x.json").write_text(content)
    assert "x.json: not a result" in fails("test.py", "--print", tmp_path / "x.json")


def test_unwritable_results_are_one_line(fails, trained, dataset, tmp_path):
    (tmp_path / "file").write_text("")
    flags = ["--dataset", dataset, "--results", tmp_path / "file" / "r", "--precision", "fp32"]
    fails("test.py", "--checkpoint", trained, *flags)
