"""compress.py: smaller checkpoints that answer as the large one does."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import TEXTS, TOKENIZER, small_model

from batches import Batches
from checkpoint import ONNX, SHIPPED, WEIGHTS, size_on_disk
from classifier import load_classifier
from metrics import predict
from prune import keep_units, prune


@pytest.fixture
def compress(run, trained, dataset, tmp_path):
    """Run compress.py on the trained model; return (folder of the checkpoints, result, printed)."""

    def compress(*flags):
        where = ["--output", tmp_path / "small", "--results", tmp_path / "results"]
        code, printed, stderr = run("compress.py", trained, "--dataset", dataset, *where, *flags)
        assert code == 0, stderr
        return tmp_path, json.loads((tmp_path / "results" / "small.json").read_text()), printed

    return compress


def test_every_format_is_written_measured_and_usable(compress, trained):
    folder, result, printed = compress("--to", "fp32", "fp16", "int8", "onnx", "onnx-int8")
    rows = {row["name"]: row for row in result["rows"]}
    assert list(rows) == [
        "run, PyTorch", "small-fp32", "small-fp16", "small-int8", "small-onnx", "small-onnx-int8"
    ]  # fmt: skip
    texts = ["i feel happy", "i feel very lonely", "I'm FURIOUS!"]
    labels, _ = load_classifier(trained)(texts)
    for name, row in rows.items():
        assert row["agreement"] > 0.9 and f"| {name} " in printed
        if name.startswith("small"):
            files = ["config.json", "tokenizer.json", ONNX if "onnx" in name else WEIGHTS]
            assert row["bytes"] == sum((folder / name / file).stat().st_size for file in files)
            assert load_classifier(folder / name)(texts)[0] == labels
            card = (folder / name / "README.md").read_text()
            assert f"{row['bytes'] / 1e6:.2f} MB" in card and "Epoch" not in card
            assert f'load_classifier("{folder / name}")' in card
    assert rows["small-fp32"]["agreement"] == rows["small-onnx"]["agreement"] == 1
    assert rows["small-int8"]["bytes"] < rows["small-fp16"]["bytes"] < rows["small-fp32"]["bytes"]


def test_pruned_model_learns_again(compress, trained):
    flags = ["--words", 20, "--embedding-size", 5, "--hidden-size", 4, "--to", "onnx"]
    folder, before, _ = compress(*flags)
    flags[-1] = "fp16"  # in the same folder
    folder, after, _ = compress(*flags, "--epochs", 20, "--lr", 0.03, "--overwrite")
    assert not (folder / "small" / ONNX).exists()
    card = (folder / "small" / "README.md").read_text()
    assert "embedding 5, 1 layer(s) of hidden size 4" in card and "--epochs 20" in card
    assert after["rows"][1]["accuracy"] > before["rows"][1]["accuracy"]
    assert after["rows"][1]["agreement"] > 0.6
    config = json.loads((folder / "small" / "config.json").read_text())
    assert (config["vocabulary_size"], config["embedding_size"], config["hidden_size"]) == (
        20,
        5,
        4,
    )


@pytest.mark.parametrize(
    "flags",
    [["--words", 99_999], ["--words", 2], ["--hidden-size", 9], ["--embedding-size", 0],
     ["--epochs", 2], ["--epochs", -1], ["--words", 5, "--embedding-size", 7]],
    ids=str,
)  # fmt: skip
def test_impossible_sizes_are_named(fails, trained, dataset, tmp_path, flags):
    output = tmp_path / "small"
    line = fails("compress.py", trained, "--dataset", dataset, "--output", output, *flags)
    assert flags[0] in line
    assert not output.exists()


def test_nothing_is_overwritten_unasked(fails, compress, trained, dataset, tmp_path):
    compress("--to", "onnx")
    flags = ["--dataset", dataset, "--output", tmp_path / "small", "--to", "onnx"]
    assert "--overwrite" in fails("compress.py", trained, *flags)
    flags[3] = trained
    assert "is the checkpoint itself" in fails("compress.py", trained, *flags, "--overwrite")


@settings(deadline=None, max_examples=20)
@given(
    layers=st.integers(1, 3),
    directions=st.sampled_from([1, 2]),
    pooling=st.sampled_from(["last", "max", "last+max"]),
)
def test_pruning_nothing_changes_nothing(layers, directions, pooling):
    model = small_model(layers=layers, directions=directions, pooling=pooling)
    sizes = {"words": 10, "embedding_size": 8, "hidden_size": 6}
    smaller, tokenizer = prune(model, TOKENIZER, **sizes)
    expected = predict(model, Batches(TOKENIZER, TEXTS))
    found = predict(smaller, Batches(tokenizer, TEXTS))
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


@settings(deadline=None, max_examples=20)
@given(
    layers=st.integers(1, 3),
    directions=st.sampled_from([1, 2]),
    pooling=st.sampled_from(["last", "last+max"]),
    silent=st.sets(st.integers(0, 5), min_size=1, max_size=4),
)
def test_units_that_nothing_listens_to_are_the_ones_to_go(layers, directions, pooling, silent):
    model = small_model(layers=layers, directions=directions, pooling=pooling)
    weights = model.state_dict()
    for name, weight in weights.items():
        for unit in silent:
            if "weight_hh" in name:
                weight[:, unit] = 0
            elif name == "linear.weight" or ("weight_ih" in name and "_l0" not in name):
                weight[:, unit::6] = 0
    model.load_state_dict(weights)
    smaller, tokenizer = prune(model, TOKENIZER, hidden_size=6 - len(silent))
    expected = predict(model, Batches(TOKENIZER, TEXTS))
    found = predict(smaller, Batches(tokenizer, TEXTS))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("words", [9, 5])  # more and fewer than a vector is wide
def test_words_that_are_not_kept_are_unknown(words):
    smaller, tokenizer = prune(small_model(), TOKENIZER, words=words)
    left_out = next(word for word, number in TOKENIZER.get_vocab().items() if number == words)
    assert tokenizer.encode(left_out).tokens == ["[UNK]"]
    assert smaller.embedding.num_embeddings == tokenizer.get_vocab_size() == words


def test_pruning_leaves_the_original_as_it_was():
    model = small_model()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    keep_units(model.state_dict(), 3, layers=2, directions=2, pooled=2)
    prune(model, TOKENIZER, words=9, embedding_size=4, hidden_size=3)
    assert all(torch.equal(model.state_dict()[name], weight) for name, weight in before.items())


def test_the_shipped_tiny_model_is_half_a_megabyte_and_answers():
    tiny = SHIPPED.with_name("lstm-tiny")
    assert size_on_disk(tiny, ONNX) <= 500_000
    texts = ["I'm SO happy today!!!", "i feel sad and lonely", "i am furious at him"]
    assert load_classifier(tiny)(texts)[0] == ["joy", "sadness", "anger"]
