"""Scores, intervals, paired tests and timing, against references."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binom
from sklearn.metrics import accuracy_score, classification_report, confusion_matrix, f1_score

from metrics import (
    REPEATS,
    bootstrap_intervals,
    mcnemar,
    paired_bootstrap,
    quality,
    scores,
    time_batches,
)

CLASSES = ["a", "b", "c", "d"]
answers = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=80)


@settings(deadline=None, max_examples=40)
@given(answers)
def test_quality_is_what_scikit_learn_says(pairs):
    labels, predictions = map(list, zip(*pairs, strict=True))
    report = classification_report(
        labels, predictions, labels=range(4), target_names=CLASSES, output_dict=True,
        zero_division=0,
    )  # fmt: skip
    found = quality(labels, predictions, CLASSES)
    assert found["accuracy"] == pytest.approx(accuracy_score(labels, predictions))
    for ours, theirs in (("f1", "f1-score"), ("precision", "precision"), ("recall", "recall")):
        assert found[f"macro_{ours}"] == pytest.approx(report["macro avg"][theirs])
        for name in CLASSES:
            assert found["per_class"][name][ours] == pytest.approx(report[name][theirs])
    assert [found["per_class"][name]["support"] for name in CLASSES] == [
        report[name]["support"] for name in CLASSES
    ]


@given(answers)
def test_scores_of_a_confusion_matrix_are_those_of_its_rows(pairs):
    labels, predictions = zip(*pairs, strict=True)
    confusion = confusion_matrix(labels, predictions, labels=range(4))
    found = scores(confusion[None])
    expected = f1_score(labels, predictions, average="macro", labels=range(4), zero_division=0)
    assert found["macro_f1"][0] == pytest.approx(expected)
    assert found["accuracy"][0] == pytest.approx(accuracy_score(labels, predictions))


def noisy_answers(rows, right, seed):
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, rows, p=[0.4, 0.3, 0.2, 0.1])
    return labels, np.where(rng.random(rows) < right, labels, rng.integers(0, 4, rows))


def test_intervals_agree_with_drawing_rows_one_by_one():
    labels, predictions = noisy_answers(300, 0.8, seed=0)
    intervals = bootstrap_intervals(confusion_matrix(labels, predictions))
    rng = np.random.default_rng(1)
    draws = []
    for _ in range(1000):
        rows = rng.integers(0, 300, 300)
        draws.append(f1_score(labels[rows], predictions[rows], average="macro"))
    assert intervals["macro_f1"] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.01)


def test_intervals_hold_the_estimate_and_shrink_with_the_rows():
    widths = []
    for rows in (100, 10_000):
        labels, predictions = noisy_answers(rows, 0.8, seed=2)
        found = quality(labels, predictions, CLASSES)
        for score in ("accuracy", "macro_f1", "macro_precision", "macro_recall"):
            low, high = found["interval"][score]
            assert low <= found[score] <= high
        widths.append(high - low)
    assert widths[1] < widths[0] / 5


def test_mcnemar_is_the_exact_binomial_test():
    labels = np.zeros(20, dtype=int)
    first = np.array([0] * 9 + [1] * 1 + [0] * 10)  # right where the second is wrong: 9
    second = np.array([1] * 9 + [0] * 1 + [0] * 10)
    assert mcnemar(labels, first, second) == pytest.approx(2 * binom.cdf(1, 10, 0.5))
    assert mcnemar(labels, first, first) == 1


def test_paired_bootstrap_tells_better_from_equal():
    labels, good = noisy_answers(2000, 0.95, seed=3)
    bad = np.where(np.random.default_rng(4).random(2000) < 0.2, (labels + 1) % 4, good)
    low, high, p = paired_bootstrap(labels, good, bad, classes=4)
    difference = f1_score(labels, good, average="macro") - f1_score(labels, bad, average="macro")
    assert 0 < low < difference < high and p < 0.001
    turned = paired_bootstrap(labels, bad, good, classes=4)
    assert turned[0] == pytest.approx(-high, abs=0.003)
    assert paired_bootstrap(labels, good, good, classes=4) == (0, 0, 1)


def test_paired_bootstrap_agrees_with_drawing_rows_one_by_one():
    labels, first = noisy_answers(200, 0.8, seed=5)
    second = np.where(np.random.default_rng(6).random(200) < 0.1, labels, first)
    rng = np.random.default_rng(7)
    draws = []
    for _ in range(1000):
        rows = rng.integers(0, 200, 200)
        draws.append(
            f1_score(labels[rows], first[rows], average="macro")
            - f1_score(labels[rows], second[rows], average="macro")
        )
    found = paired_bootstrap(labels, first, second, classes=4)
    assert found[:2] == pytest.approx(np.quantile(draws, [0.025, 0.975]), abs=0.01)


@pytest.mark.parametrize("count", [1, 7, 30, 200])
def test_timing_is_spread_over_all_batches_after_warming_up(count):
    ran = []
    assert time_batches(ran.append, list(range(count)), "cpu") >= 0
    assert len(ran) > REPEATS, "nothing was warmed up"
    timed = ran[-REPEATS:]
    assert len(set(timed)) == min(count, REPEATS)
    assert max(timed) >= 0.8 * (count - 1)


def test_gpu_is_synchronised_around_each_batch(monkeypatch):
    events = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda: events.append("synchronised"))
    time_batches(lambda batch: events.append("ran"), [0], "cuda")
    assert events == ["synchronised", "ran", "synchronised"] * (len(events) // 3)
