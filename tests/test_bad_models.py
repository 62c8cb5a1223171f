"""Checkpoints and results that cannot be used: one line that names the file, nothing written."""

import json
import shutil

import pytest


@pytest.fixture
def refuses(fails, trained, dataset, tmp_path):
    """Evaluate a copy of a good checkpoint after `damage`; return the line that refuses it."""

    def refuses(damage):
        copy = tmp_path / "checkpoint"
        shutil.copytree(trained, copy)
        damage(copy)
        results = tmp_path / "results"
        line = fails("test.py", "--checkpoint", copy, "--dataset", dataset, "--results", results)
        assert not results.exists()
        return line

    return refuses


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("content", [None, b"", b"\xff\xfe\x00", b"[]", b"{}"], ids=str)
def test_missing_or_broken_file_is_named(refuses, name, content):
    def damage(folder):
        (folder / name).unlink()
        if content is not None:
            (folder / name).write_bytes(content)

    assert name in refuses(damage)


@pytest.mark.parametrize(
    "change",
    [
        {"hidden_size": 9},
        {"layers": 0},
        {"layers": 2},
        {"dropout": 2},
        {"pooling": "mean"},
        {"padding_id": 99_999},
        {"classes": None},
        {"classes": ["joy", "sadness"]},
        {"vocabulary_size": "many"},
    ],
    ids=str,
)
def test_configuration_that_describes_no_such_model_is_named(refuses, change):
    def damage(folder):
        config = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps(config | change))

    assert "config.json" in refuses(damage)


def test_only_pickled_weights_are_refused(refuses):
    def damage(folder):
        (folder / "model.safetensors").rename(folder / "pytorch_model.bin")

    assert "no model.safetensors" in refuses(damage)


def test_file_in_place_of_a_folder_is_refused(fails, trained, dataset):
    line = fails("test.py", "--checkpoint", trained / "model.safetensors", "--dataset", dataset)
    assert "model.safetensors" in line


def test_two_models_of_one_name_are_not_taken_for_two_seeds(fails, trained, dataset, tmp_path):
    for parent in ("first", "second"):
        shutil.copytree(trained, tmp_path / parent / "run")
    flags = ["--dataset", dataset, "--results", tmp_path / "results"]
    fails("test.py", "--checkpoint", tmp_path / "first/run", tmp_path / "second/run", *flags)
    assert not (tmp_path / "results").exists(), "one has overwritten the other's result"


@pytest.mark.parametrize(
    "change",
    [{"runs": []}, {"runs": [{}]}, {"runs": None}, {"data": {}}],
    ids=str,
)
@pytest.mark.parametrize("flag", ["--print", "--compare"])
def test_result_with_a_part_missing_is_named(fails, result, flag, change):
    saved, _, folder = result
    (folder / "run.json").write_text(json.dumps(saved | change))
    if flag == "--print":
        line = fails("test.py", "--print", folder / "run.json")
    else:
        line = fails("test.py", "--compare", "--results", folder)
    assert "run.json" in line


def test_broken_published_figures_are_named(fails, result):
    _, _, folder = result
    (folder / "published.json").write_text("{")
    assert "published.json" in fails("test.py", "--compare", "--results", folder)
