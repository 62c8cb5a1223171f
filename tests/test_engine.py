"""The LSTM in ONNX Runtime, held against PyTorch."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st
from test_model import TEXTS, TOKENIZER, small_model

from batches import Batches
from checkpoint import ONNX, WEIGHTS, quantise, read_config, read_weights
from classifier import load_classifier
from engine import OnnxModel, load_onnx, to_onnx
from errors import InputError
from metrics import predict
from model import load_checkpoint, save_checkpoint

IMPORTS = r"""
import re, sys
from pathlib import Path
from classifier import load_classifier
labels, probabilities = load_classifier(sys.argv[1])(["i feel happy"])
heavy = {"torch", "transformers", "datasets", "sklearn", "pandas"} & set(sys.modules)
peak = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
print(labels[0], heavy or "", int(peak[1]) // 1024)
"""


def in_onnx(model, **options):
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    graph = to_onnx(model._hub_mixin_config, weights, **options)
    return OnnxModel(graph.SerializeToString(), model.classes, threads=1)


@settings(deadline=None, max_examples=40)
@given(
    layers=st.integers(1, 3),
    directions=st.sampled_from([1, 2]),
    pooling=st.sampled_from(["last", "max", "last+max"]),
    lengths=st.lists(st.integers(1, 12), min_size=1, max_size=9),
    temperature=st.floats(0.5, 2),
)
def test_logits_are_those_of_pytorch(layers, directions, pooling, lengths, temperature):
    model = small_model(layers=layers, directions=directions, pooling=pooling)
    model.temperature.fill_(temperature)
    texts = [" ".join("abcdefgh"[(i * n) % 8] for i in range(n)) for n in lengths]
    alone = predict(model, Batches(TOKENIZER, texts, batch_size=1))
    together = predict(in_onnx(model), Batches(TOKENIZER, texts, batch_size=len(texts)))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("directions", [1, 2])
def test_int8_comes_close_and_is_small(directions):
    model = small_model(directions=directions, embedding_size=64, hidden_size=64)
    expected = predict(model, Batches(TOKENIZER, TEXTS))
    found = predict(in_onnx(model, int8=True), Batches(TOKENIZER, TEXTS))
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0.05)
    weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
    sizes = [
        len(to_onnx(model._hub_mixin_config, weights, int8=int8).SerializeToString())
        for int8 in (False, True)
    ]
    assert sizes[1] < 0.35 * sizes[0]


@given(st.tuples(st.integers(1, 30), st.integers(1, 9)), st.sampled_from([0, 1]), st.integers(0))
def test_rounding_to_int8_is_off_by_half_a_step_at_most(shape, axis, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(scale=10 ** rng.uniform(-6, 6), size=shape).astype(np.float32)
    rounded, scale = quantise(weight, axis)
    assert rounded.dtype == np.int8
    assert (np.abs(rounded * scale - weight) <= 0.501 * scale).all()


def test_zeros_stay_zeros_in_int8():
    rounded, scale = quantise(np.zeros((3, 4), dtype=np.float32))
    assert not (rounded * scale).any()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_any_checkpoint_runs_without_pytorch(trained):
    command = [sys.executable, "-c", IMPORTS, str(trained)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    label, megabytes = done.stdout.split()
    assert label in ("joy", "sadness", "anger")
    assert int(megabytes) < 150


def test_classifier_says_what_the_model_says(trained):
    model, tokenizer = load_checkpoint(trained)
    texts = ["I feel SAD!!! 😀", "", "i feel very very glad", "😀", "mad " * 300]
    expected = predict(model, Batches(tokenizer, texts)).softmax(dim=1).numpy()
    for options in ({}, {"backend": "torch"}, {"batch_size": 2}, {"threads": 1}):
        labels, probabilities = load_classifier(trained, **options)(texts)
        np.testing.assert_allclose(probabilities, expected, atol=1e-5)
        assert labels == [model.classes[best] for best in expected.argmax(axis=1)]
    labels, probabilities = load_classifier(trained)([])
    assert labels == [] and probabilities.shape == (0, 3)


@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_classifier_in_half_precision(trained, precision):
    texts = ["i feel sad", "i feel very glad"]
    full = load_classifier(trained).probabilities(texts)
    half = load_classifier(trained, precision=precision).probabilities(texts)
    np.testing.assert_allclose(half, full, atol=0.03)


@pytest.fixture
def exported(trained, tmp_path):
    """A checkpoint that has a model.onnx only."""
    folder = tmp_path / "exported"
    shutil.copytree(trained, folder)
    graph = to_onnx(read_config(folder), read_weights(folder / WEIGHTS))
    (folder / ONNX).write_bytes(graph.SerializeToString())
    (folder / WEIGHTS).unlink()
    return folder


@pytest.mark.parametrize("content", [b"", b"\x00\x01", "half"], ids=str)
def test_broken_onnx_file_is_named(exported, fails, dataset, tmp_path, content):
    file = exported / ONNX
    file.write_bytes(
        file.read_bytes()[: file.stat().st_size // 2] if content == "half" else content
    )
    results = tmp_path / "results"
    flags = ["--checkpoint", exported, "--dataset", dataset, "--results", results]
    assert "model.onnx" in fails("test.py", *flags)
    assert not results.exists()


def test_onnx_file_of_another_model_is_named(exported, tmp_path):
    config = json.loads((exported / "config.json").read_text())
    (exported / "config.json").write_text(json.dumps(config | {"classes": ["joy", "sadness"]}))
    with pytest.raises(InputError, match="3 classes"):
        load_onnx(exported)
    (exported / "config.json").write_text(json.dumps(config))
    TOKENIZER.save(str(exported / "tokenizer.json"))
    with pytest.raises(InputError, match="10 tokens"):
        load_onnx(exported)


def test_onnx_checkpoint_is_evaluated_like_any_other(exported, trained, run, dataset, tmp_path):
    results = tmp_path / "results"
    flags = ["--dataset", dataset, "--results", results, "--checkpoint"]
    code, _, stderr = run("test.py", *flags, exported, trained)
    assert code == 0, stderr
    there, here = (json.loads((results / f"{n}.json").read_text()) for n in ("exported", "run"))
    assert there["runs"][0]["predictions"] == here["runs"][0]["predictions"]
    assert there["parameters"] == here["parameters"]
    files = ["config.json", "tokenizer.json", ONNX]
    assert there["runs"][0]["bytes"] == sum((exported / name).stat().st_size for name in files)


def test_backend_that_cannot_be_had_is_named(exported, fails, dataset):
    flags = ["--checkpoint", exported, "--dataset", dataset]
    assert "--backend torch" in fails("test.py", *flags, "--backend", "torch")


def test_int8_weights_are_loaded_by_pytorch_too(tmp_path):
    from checkpoint import write_weights

    model = small_model(embedding_size=64, hidden_size=64)
    save_checkpoint(tmp_path, model, TOKENIZER, "")
    whole = (tmp_path / WEIGHTS).stat().st_size
    write_weights(tmp_path / WEIGHTS, read_weights(tmp_path / WEIGHTS), "int8")
    assert (tmp_path / WEIGHTS).stat().st_size < 0.35 * whole
    loaded, _ = load_checkpoint(tmp_path)
    expected = predict(model, Batches(TOKENIZER, TEXTS))
    torch.testing.assert_close(
        predict(loaded, Batches(TOKENIZER, TEXTS)), expected, atol=0.02, rtol=0.05
    )
    torch.testing.assert_close(
        predict(load_onnx(tmp_path)[0], Batches(TOKENIZER, TEXTS)),
        predict(loaded, Batches(TOKENIZER, TEXTS)),
        atol=1e-5,
        rtol=1e-4,
    )
