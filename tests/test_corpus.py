"""The shipped model on the real corpus, where that is at hand."""

import json

import pytest
from conftest import CORPUS, ROOT, data_arguments, needs_corpus

from batches import Batches
from checkpoint import WEIGHTS, size_on_disk
from data import load_corpus
from metrics import predict, quality
from model import load_checkpoint
from text import train_tokenizer

SHIPPED = ROOT / "checkpoints" / "lstm"
needs_shipped = pytest.mark.skipif(not SHIPPED.exists(), reason="no shipped checkpoint yet")


@needs_corpus
@needs_shipped
def test_the_shipped_model_is_as_good_on_the_test_split_as_promised():
    model, tokenizer = load_checkpoint(SHIPPED)
    arguments = data_arguments("--dataset", CORPUS)
    split = load_corpus(arguments, ("test",), classes=model.classes).splits["test"]
    answers = predict(model, Batches(tokenizer, split.texts)).argmax(dim=1).tolist()
    found = quality(split.labels, answers, model.classes)
    assert found["accuracy"] >= 0.925
    assert found["macro_f1"] >= 0.88


@needs_corpus
@needs_shipped
def test_the_shipped_model_says_which_rows_it_was_trained_on():
    model, _ = load_checkpoint(SHIPPED)
    corpus = load_corpus(data_arguments("--dataset", CORPUS), ("train", "validation"))
    assert model.data["splits"] == corpus.provenance["splits"]


@needs_shipped
def test_the_shipped_tokenizer_reads_text_as_data_py_does():
    # A change of normalisation that leaves tokenizer.json behind would go unnoticed otherwise.
    _, tokenizer = load_checkpoint(SHIPPED)
    fresh = json.loads(train_tokenizer(["a b"], min_frequency=1).to_str())
    shipped = json.loads(tokenizer.to_str())
    for part in ("normalizer", "pre_tokenizer"):
        assert shipped[part] == fresh[part]


@needs_shipped
def test_the_shipped_model_is_small_and_without_pickle():
    assert size_on_disk(SHIPPED, WEIGHTS) <= 10_000_000
    pickles = [file.name for file in SHIPPED.iterdir() if file.suffix in (".bin", ".pt", ".pkl")]
    assert pickles == []
