"""Transformers: loading, benchmarking, fine-tuning; and the classical baseline."""

import json
import signal
import subprocess
import sys

import pytest
import torch
from conftest import ROOT, data_arguments, launch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import AutoModelForSequenceClassification, BertConfig, BertTokenizerFast
from transformers import BertForSequenceClassification as Bert

from data import load_corpus
from errors import InputError
from metrics import predict
from transformer import Transformer, load_transformer, match_outputs, transformer_batches

CLASSES = ["anger", "joy", "sadness"]


def save_bert(folder, labels=None, classes=3, tokenizer=True):
    """A tiny random BERT in the Hub's layout."""
    words = "[PAD] [UNK] [CLS] [SEP] [MASK] i feel sad lonely empty happy glad cheerful angry"
    words = [*words.split(), "furious", "mad", "very", *"abcdefghijklmnopqrstuvwxyz"]
    names = {} if labels is None else {"id2label": dict(enumerate(labels))}
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(words), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=16, num_labels=classes, **names,
    )  # fmt: skip
    Bert(config).save_pretrained(folder)
    if tokenizer:
        vocabulary = {word: i for i, word in enumerate(words)}
        inner = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
        inner.normalizer = normalizers.BertNormalizer()
        inner.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        inner.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
        BertTokenizerFast(tokenizer_object=inner, model_max_length=64).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("models") / "bert", labels=["Joy", "SADNESS", "anger"])


@pytest.fixture
def flags(dataset, trained, tmp_path):
    """What every benchmark here is run with."""
    return ["--dataset", dataset, "--beside", trained, "--results", tmp_path / "results"]


def test_tables_and_result_are_those_of_test_py(run, bert, flags, tmp_path):
    code, printed, stderr = run("test_transformer.py", "--model", bert, *flags)
    assert code == 0, stderr
    saved = json.loads((tmp_path / "results" / "bert.json").read_text())
    assert [run["precision"] for run in saved["runs"]] == ["fp32", "fp16", "bf16"]
    assert saved["beside"]["runs"][0]["speed"]["model_ms"] > 0
    assert "| true \\ predicted" in printed and "beside run in the same process" in printed
    speed = saved["runs"][0]["speed"]
    assert speed["end_to_end_ms"] > 0 and speed["model_ms"] > 0
    code, again, _ = run("test.py", "--print", tmp_path / "results" / "bert.json")
    assert again == printed
    code, compared, _ = run("test.py", "--compare", "--results", tmp_path / "results")
    assert "| bert, CPU bf16 |" in compared


def test_predictions_are_those_of_the_library(bert, dataset):
    split = load_corpus(data_arguments("--dataset", dataset), ("test",)).splits["test"]
    network, tokenizer = load_transformer(bert)
    model = Transformer(network, match_outputs(network, CLASSES))
    ours = predict(model, transformer_batches(tokenizer)(split.texts, batch_size=8, device="cpu"))
    reference = AutoModelForSequenceClassification.from_pretrained(bert).eval()
    with torch.inference_mode():
        for text, logits in zip(split.texts, ours, strict=True):
            theirs = reference(**tokenizer(text, return_tensors="pt")).logits[0]
            torch.testing.assert_close(logits, theirs[[2, 0, 1]], atol=1e-5, rtol=1e-5)


def test_batches_hold_the_same_texts_as_the_lstms(bert, dataset, trained):
    from batches import Batches
    from model import load_checkpoint

    texts = load_corpus(data_arguments("--dataset", dataset), ("test",)).splits["test"].texts
    shape = {"batch_size": 8, "device": "cpu"}
    _, tokenizer = load_transformer(bert)
    theirs = [rows.tolist() for *_, rows in transformer_batches(tokenizer)(texts, **shape)]
    ours = [rows.tolist() for *_, rows in Batches(load_checkpoint(trained)[1], texts, **shape)]
    assert theirs == ours


@pytest.mark.parametrize(
    ("outputs", "labels", "order"),
    [
        (["Joy", "SADNESS", "anger"], None, [2, 0, 1]),
        (["LABEL_0", "LABEL_1", "LABEL_2"], None, [0, 1, 2]),
        (["x", "y", "z"], ["sadness", "anger", "joy"], [1, 2, 0]),
    ],
)
def test_outputs_are_matched_by_name(tmp_path, outputs, labels, order):
    network, _ = load_transformer(save_bert(tmp_path / "bert", outputs))
    assert match_outputs(network, CLASSES, labels) == order


@pytest.mark.parametrize(
    ("outputs", "labels", "reason"),
    [
        (["x", "y", "z"], None, "--labels"),
        (["joy", "joy", "anger"], None, "--labels"),
        (["anger", "joy"], None, "tells 2 classes apart"),
        (["x", "y", "z"], ["anger", "joy"], "tells 3 classes apart"),
    ],
)
def test_outputs_that_do_not_match(tmp_path, outputs, labels, reason):
    network, _ = load_transformer(save_bert(tmp_path / "bert", outputs, len(outputs)))
    with pytest.raises(InputError, match=reason):
        match_outputs(network, CLASSES, labels)


def test_what_cannot_be_benchmarked_is_one_line(fails, tmp_path, flags):
    unmapped = save_bert(tmp_path / "unmapped", ["x", "y", "z"])
    assert "--labels" in fails("test_transformer.py", "--model", unmapped, *flags)
    seven = save_bert(tmp_path / "seven", classes=7)
    assert "7 classes" in fails("test_transformer.py", "--model", seven, *flags)
    mute = save_bert(tmp_path / "mute", tokenizer=False)
    assert "no tokenizer" in fails("test_transformer.py", "--model", mute, *flags)
    headless = save_bert(tmp_path / "headless")
    AutoModelForSequenceClassification.from_pretrained(headless).bert.save_pretrained(headless)
    assert "no trained classifier" in fails("test_transformer.py", "--model", headless, *flags)
    truncated = save_bert(tmp_path / "truncated") / "model.safetensors"
    truncated.write_bytes(truncated.read_bytes()[:5000])
    fails("test_transformer.py", "--model", truncated.parent, *flags)
    empty = tmp_path / "empty"
    empty.mkdir()
    fails("test_transformer.py", "--model", empty, *flags)
    assert not (tmp_path / "results").exists()


def test_pickled_weights_need_a_flag(run, fails, tmp_path, flags):
    folder = save_bert(tmp_path / "bert", ["joy", "sadness", "anger"])
    network, _ = load_transformer(folder)
    torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    assert "--allow-pickle" in fails("test_transformer.py", "--model", folder, *flags)
    allowed = ["--allow-pickle", "--precision", "fp32"]
    code, _, stderr = run("test_transformer.py", "--model", folder, *flags, *allowed)
    assert code == 0, stderr


def test_without_the_hub_it_is_one_line(tmp_path):
    done = launch("test_transformer.py", "--results", tmp_path, timeout=60)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "error: --model Vasanth/bert-base-uncased-finetuned-emotion: no such folder, and the Hub "
        "cannot be reached"
    ]


def test_speed_only_needs_no_weights(run, tmp_path, flags):
    folder = save_bert(tmp_path / "bert", classes=9)
    (folder / "model.safetensors").unlink()
    more = ["--speed-only", "--precision", "fp32"]
    code, printed, stderr = run("test_transformer.py", "--model", folder, *flags, *more)
    assert code == 0, stderr
    assert "tweets / s" in printed and "Accuracy" not in printed
    code, compared, _ = run("test.py", "--compare", "--results", tmp_path / "results")
    assert code == 0 and "| bert, CPU fp32 |" in compared


TUNED = ["--lr", 0.01, "--epochs", 2, "--batch-size", 8]


@pytest.fixture(scope="module")
def tuned(bert, dataset, tmp_path_factory):
    """The folder of a finished fine-tuning, and what it printed."""
    folder = tmp_path_factory.mktemp("tuned") / "tuned"
    flags = ["--model", bert, "--dataset", dataset, "--output", folder, *TUNED]
    done = launch("train_transformer.py", *flags)
    assert done.returncode == 0, done.stderr
    return folder, done.stdout


def test_fine_tuning_leaves_a_model_of_the_best_epoch(tuned, run, flags, tmp_path):
    folder, printed = tuned
    names = {file.name for file in folder.iterdir()}
    assert {"config.json", "model.safetensors", "tokenizer.json", "curves.png"} <= names
    assert not (folder / "trainer").exists()
    config = json.loads((folder / "config.json").read_text())
    assert list(config["id2label"].values()) == CLASSES
    assert config["trained_on"]["splits"]["train"]["rows"] == 120
    best = max(
        float(line.split(",")[4]) for line in (folder / "history.csv").read_text().splitlines()[1:]
    )
    assert f"macro-F1 {best:.4f}" in printed
    more = ["--split", "validation", "--precision", "fp32", "--name", "tuned"]
    code, _, stderr = run("test_transformer.py", "--model", folder, *flags, *more)
    assert code == 0, stderr
    saved = json.loads((tmp_path / "results" / "tuned.json").read_text())
    assert saved["runs"][0]["quality"]["macro_f1"] == pytest.approx(best)


def test_interrupted_fine_tuning_goes_on(bert, dataset, tmp_path):
    folder = tmp_path / "r"
    flags = ["--model", bert, "--dataset", dataset, "--output", folder, *TUNED, "--epochs", 12]
    flags += ["--patience", 12]
    command = [sys.executable, str(ROOT / "train_transformer.py"), *map(str, flags)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    for line in process.stdout:
        if line.split()[0] == "2":  # epoch 1 is saved
            break
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "--resume" in stderr and "Traceback" not in stderr
    done = launch("train_transformer.py", *flags, "--resume")
    assert done.returncode == 0, done.stderr
    epochs = [line.split(",")[0] for line in (folder / "history.csv").read_text().splitlines()[1:]]
    assert epochs == [str(epoch) for epoch in range(1, 13)]


def test_fine_tuning_never_overwrites_unasked(fails, tuned, bert, dataset, tmp_path):
    folder, _ = tuned
    flags = ["--model", bert, "--dataset", dataset]
    before = (folder / "model.safetensors").read_bytes()
    assert "--overwrite" in fails("train_transformer.py", *flags, "--output", folder)
    assert "name another" in fails("train_transformer.py", *flags, "--output", bert)
    assert "no run to go on" in fails(
        "train_transformer.py", *flags, "--output", tmp_path / "none", "--resume"
    )
    assert (folder / "model.safetensors").read_bytes() == before


def test_fine_tuning_without_the_hub_is_one_line(fails):
    assert "the Hub cannot be reached" in fails("train_transformer.py", "--dataset", "sample")


def test_classical_baseline(run, dataset, tmp_path):
    code, printed, _ = run("classical.py", "--dataset", dataset, "--results", tmp_path)
    assert code == 0 and "| class " in printed
    saved = json.loads((tmp_path / "tfidf-svm.json").read_text())
    assert saved["runs"][0]["quality"]["accuracy"] == 1, "one word decides the label"


def test_classical_baseline_of_two_classes(run, tmp_path):
    for split in ("train", "test"):
        rows = "i am glad,joy\ni am sad,sadness\nso glad,joy\nso sad,sadness\n"
        (tmp_path / f"{split}.csv").write_text(f"text,label\n{rows}")
    assert run("classical.py", "--dataset", tmp_path, "--results", tmp_path)[0] == 0
    saved = json.loads((tmp_path / "tfidf-svm.json").read_text())
    assert saved["runs"][0]["quality"]["accuracy"] == 1
