"""Probabilities that can be believed."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn.functional import cross_entropy

from batches import Batches
from metrics import calibration_error, fit_temperature, predict
from model import load_checkpoint


def noisy(rows=400, classes=4, sharpness=3.0, seed=0):
    """Logits that are `sharpness` times too sure, and labels drawn from the honest ones."""
    generator = torch.Generator().manual_seed(seed)
    logits = 2 * torch.randn(rows, classes, generator=generator)
    labels = torch.multinomial(logits.softmax(dim=1), 1, generator=generator)[:, 0]
    return sharpness * logits, labels.tolist()


@given(st.floats(0.3, 8), st.integers(0, 50))
def test_the_temperature_undoes_what_made_the_model_too_sure(sharpness, seed):
    logits, labels = noisy(rows=2000, sharpness=sharpness, seed=seed)
    temperature = fit_temperature(logits, labels)
    assert temperature == pytest.approx(sharpness, rel=0.15)
    target = torch.tensor(labels)
    best = cross_entropy(logits / temperature, target)
    for nearby in (0.97, 1.03):
        assert best <= cross_entropy(logits / (temperature * nearby), target) + 1e-6


def test_calibration_error_against_a_loop():
    logits, labels = noisy()
    probabilities = logits.softmax(dim=1).numpy()
    confidence, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    expected, edges = 0.0, np.linspace(0, 1, 16)
    for low, high in itertools.pairwise(edges):
        inside = (confidence >= low) & ((confidence < high) | (high == 1))
        if inside.any():
            gap = abs(confidence[inside].mean() - right[inside].mean())
            expected += inside.mean() * gap
    assert calibration_error(logits, labels) == pytest.approx(expected, abs=1e-6)


def test_what_is_sure_and_right_has_no_error_and_what_is_sure_and_wrong_has_all():
    logits = torch.eye(3) * 100
    assert calibration_error(logits, [0, 1, 2]) == pytest.approx(0)
    assert calibration_error(logits, [1, 2, 0]) == pytest.approx(1)


def test_the_saved_model_carries_its_temperature_and_test_py_prints_both(trained, result):
    saved, printed, _ = result
    model, tokenizer = load_checkpoint(trained)
    calibration = saved["runs"][0]["calibration"]
    assert calibration["temperature"] == pytest.approx(model.temperature.item())
    assert (
        f"Expected calibration error (CPU fp32, ONNX Runtime): {calibration['before']:.4f}"
        in printed
    )
    logits = predict(model, Batches(tokenizer, ["i feel glad", "i feel very sad"]))
    model.temperature.fill_(1)
    raw = predict(model, Batches(tokenizer, ["i feel glad", "i feel very sad"]))
    torch.testing.assert_close(logits * calibration["temperature"], raw)
