"""What makes scripts fast, and must change nothing else."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT, SMALL, launch

import batches
import benchmark_training
import cache
from batches import encode, make_tokenizer
from model import EmotionLSTM
from text import train_tokenizer

TEXTS = ["i feel happy", "so sad", "", "i am SO, so angry!", "😀"]
SLOW = {"torch", "datasets", "sklearn", "scipy", "matplotlib", "transformers", "accelerate"}


@pytest.mark.parametrize(("flag", "code"), [("--help", 0), ("--lr=nan", 2)])
def test_flags_are_answered_before_anything_slow_is_imported(flag, code):
    script = f"""
import runpy, sys
sys.argv = ["train.py", {flag!r}]
try:
    runpy.run_path({str(ROOT / "train.py")!r}, run_name="__main__")
except SystemExit as stop:
    print("\\n", stop.code, *sorted(sys.modules))
"""
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    found, *modules = done.stdout.splitlines()[-1].split()
    assert int(found) == code
    assert not SLOW & set(modules)


@pytest.fixture
def kept(monkeypatch, tmp_path):
    """The cache's folder, which even the fewest texts are kept in."""
    monkeypatch.setattr(cache, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(batches, "VERY_MANY", 1)
    monkeypatch.setattr(batches, "MANY", 0)
    return tmp_path / "cache"


def words_of(texts, **options):
    tokenizer = make_tokenizer(texts, **{"min_frequency": 1, "max_length": 9, **options})
    return tokenizer.to_str(), *encode(tokenizer, texts)


def assert_right(found, texts=TEXTS, **options):
    tokenizer = train_tokenizer(texts, **{"min_frequency": 1, "max_length": 9, **options})
    ids = [tokenizer.encode(text).ids or [1] for text in texts]
    assert json.loads(found[0]) == json.loads(tokenizer.to_str())
    assert found[1].tolist() == [number for text in ids for number in text]
    assert found[2].tolist() == list(map(len, ids))


def test_what_is_tokenized_is_computed_once(kept, monkeypatch):
    assert_right(words_of(TEXTS))
    monkeypatch.setattr(batches, "Encoder", None)  # nothing is encoded again
    assert_right(words_of(TEXTS))


def test_a_cache_is_never_stale(kept):
    words_of(TEXTS)
    for texts in (TEXTS[:-1], [*TEXTS[:-1], "sad"], TEXTS[::-1], [TEXTS[0] + TEXTS[1], *TEXTS[2:]]):
        assert_right(words_of(texts), texts)
    for options in ({"min_frequency": 2}, {"max_length": 2}):
        assert_right(words_of(TEXTS, **options), **options)


@pytest.mark.parametrize("broken", [b"", b"nonsense", None])
def test_a_broken_cache_is_computed_again(kept, broken):
    words_of(TEXTS)
    for path in kept.iterdir():
        path.write_bytes(path.read_bytes()[:-1] if broken is None else broken)
    assert_right(words_of(TEXTS))
    assert_right(words_of(TEXTS))


def test_without_room_for_a_cache_it_goes_on(kept):
    kept.write_text("a file where the folder should be")
    assert_right(words_of(TEXTS))


def test_few_and_many_texts_are_encoded_alike(monkeypatch):
    tokenizer = train_tokenizer(TEXTS, min_frequency=1)
    few = encode(tokenizer, TEXTS)
    monkeypatch.setattr(batches, "MANY", 0)
    for one, other in zip(few, encode(tokenizer, TEXTS), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("pooling", ["last", "last+max"])
def test_padded_texts_teach_the_same_in_parts_as_packed(pooling):
    torch.manual_seed(0)
    no_dropout = {"dropout": 0.0, "embedding_dropout": 0.0, "word_dropout": 0.0}
    model = EmotionLSTM(["a", "b"], 9, 4, 4, 2, pooling=pooling, **no_dropout)
    tokens = torch.randint(2, 9, (6, 5))
    lengths = torch.tensor([5, 2, 5, 1, 3, 2])
    gradients = []
    for training in (True, False):  # in parts, packed
        model.train(training).zero_grad()
        logits = model(tokens, lengths)
        (logits * torch.arange(12).view(6, 2)).sum().backward()
        gradients.append([logits, *(weight.grad for weight in model.parameters())])
    torch.testing.assert_close(*gradients)


def test_bf16_learns_as_well(dataset, tmp_path):
    flags = ["--dataset", dataset, "--output", tmp_path / "r", *SMALL, "--amp", "bf16"]
    alone = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = launch("train.py", *flags, "--device", "cpu", env=alone)
    assert done.returncode == 0, done.stderr
    assert float(done.stdout.split("validation macro-F1 ")[1].split(",")[0]) > 0.9


def test_fp16_on_the_cpu_is_refused(fails, tmp_path):
    flags = ["--dataset", "sample", "--device", "cpu", "--amp", "fp16"]
    assert "--amp fp16" in fails("train.py", *flags, "--output", tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_training_is_timed_beside_the_reference(run, monkeypatch, dataset, tmp_path):
    monkeypatch.setattr(benchmark_training, "SEEDS", (0,))
    monkeypatch.setattr(benchmark_training, "REFERENCE_EPOCHS", 1)
    monkeypatch.setattr(benchmark_training, "RECIPES", {"train.py": SMALL})
    flags = ["--dataset", dataset, "--threads", 1, "--output", tmp_path / "timed.json"]
    code, printed, stderr = run("benchmark.py", "--train", *flags)
    assert code == 0, stderr
    result = json.loads((tmp_path / "timed.json").read_text())
    reference, ours = result["loops"]
    assert len(reference["runs"][0]["epochs"]) == 1 and not reference["runs"][0]["reached"]
    (timed,) = ours["runs"]
    assert timed["seconds"] == pytest.approx(sum(timed["epochs"][: timed["reached"]]))
    assert timed["macro_f1"] >= result["target"]
    assert "not reached" in printed
    assert run("benchmark.py", "--print", tmp_path / "timed.json")[1] == printed


def test_an_epoch_is_timed_for_every_size(run, dataset, tmp_path):
    flags = ["--dataset", dataset, "--threads", 1, "--output", tmp_path / "timed.json"]
    code, printed, stderr = run("benchmark.py", "--scale", 60, 90, *flags)
    assert code == 0, stderr
    scaling = json.loads((tmp_path / "timed.json").read_text())["scaling"]
    assert [row["rows"] for row in scaling] == [60, 90]
    assert all(1e8 < row["peak_bytes"] < 1e10 for row in scaling)
    assert run("benchmark.py", "--print", tmp_path / "timed.json")[1] == printed
    assert "--scale" in run("benchmark.py", "--scale", 0)[2]
