"""Honest numbers: quality with intervals, paired tests, timing."""

import math
import platform
import re
import statistics
import time
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize_scalar
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support

from errors import InputError
from model import PRECISIONS

REPEATS = 30  # timed batches
SCORES = {
    "accuracy": "Accuracy",
    "macro_f1": "macro-F1",
    "macro_precision": "Precision",
    "macro_recall": "Recall",
}


def add_measuring_arguments(parser, precisions):
    """Add the flags that say what is measured and where the result goes.

    Args:
        parser: argparse.ArgumentParser.
        precisions: list of str, the default of `--precision`.

    Returns:
        the argument group, to which a script adds its own.
    """
    group = parser.add_argument_group("evaluation")
    group.add_argument("--split", default="test", help="what to evaluate on (default: %(default)s)")
    group.add_argument(
        "--device",
        nargs="+",
        choices=("cpu", "cuda"),
        default=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"],
        help="(default: all that there are)",
    )
    group.add_argument(
        "--precision",
        nargs="+",
        choices=PRECISIONS,
        default=precisions,
        help=f"number formats of weights and activations (default: {' '.join(precisions)})",
    )
    group.add_argument(
        "--batch-size", type=int, default=32, help="texts a batch (default: %(default)s)"
    )
    group.add_argument("--threads", type=int, help="CPU threads (default: one a core)")
    group.add_argument("--name", help="name of the result (default: the model's folder)")
    group.add_argument(
        "--results",
        type=Path,
        default=Path(__file__).parent / "results",
        help="folder of the results (default: results)",
    )
    return group


def check_measuring_arguments(args):
    """Set the number of threads. Raises InputError for what cannot be measured here."""
    if "cuda" in args.device and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no GPU")
    for flag in ("batch_size", "threads"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise InputError(f"--{flag.replace('_', '-')}: must be at least 1")
    if args.threads:
        torch.set_num_threads(args.threads)


@torch.inference_mode()
def predict(model, batches):
    """Return a model's logits, (texts, classes) float32 on the CPU, in the order of the texts."""
    logits, order = [], []
    for tokens, lengths, _, rows in batches:
        logits.append(torch.as_tensor(model(tokens, lengths)).float())
        order.append(rows)
    return torch.cat(logits).cpu()[torch.cat(order).argsort()]


def quality(labels, predictions, classes):
    """Everything that the tables say about a model's answers.

    Args:
        labels, predictions: lists of int, indices into `classes`.
        classes: names of the classes.

    Returns:
        dict that JSON can hold: accuracy and macro averages, each with its 95 % interval,
        per-class figures, and the confusion matrix (rows: true class).
    """
    indices = list(range(len(classes)))
    confusion = confusion_matrix(labels, predictions, labels=indices)
    per_class = precision_recall_fscore_support(
        labels, predictions, labels=indices, zero_division=0
    )
    precision, recall, f1, support = (column.tolist() for column in per_class)
    return {
        "accuracy": float(accuracy_score(labels, predictions)),
        "macro_f1": statistics.fmean(f1),
        "macro_precision": statistics.fmean(precision),
        "macro_recall": statistics.fmean(recall),
        "interval": bootstrap_intervals(confusion),
        "per_class": {
            name: {
                "precision": precision[i],
                "recall": recall[i],
                "f1": f1[i],
                "support": support[i],
            }
            for i, name in enumerate(classes)
        },
        "confusion": confusion.tolist(),
    }


def calibration_error(logits, labels, bins=15):
    """Expected calibration error: how far off the probability of an answer is, on average.

    Naeini et al. 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning"; the bins
    are of equal width, and weigh as many texts as they hold.

    Args:
        logits: (texts, classes) float32.
        labels: list of int.
        bins: number of bins between 0 and 1.
    """
    confidence, answers = logits.softmax(dim=1).max(dim=1)
    gap = (answers == torch.tensor(labels)).float() - confidence
    bin_of = (confidence * bins).long().clamp(max=bins - 1)
    return torch.zeros(bins).index_add_(0, bin_of, gap).abs().sum().item() / len(labels)


def fit_temperature(logits, labels):
    """Return the number to divide logits by for the smallest cross-entropy on these labels.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". No answer changes, only how sure
    the model says it is.

    Args:
        logits: (texts, classes) float32, of texts that the model was not trained on.
        labels: list of int.
    """
    targets = torch.tensor(labels)

    def loss(log_temperature):
        scaled = logits / math.exp(log_temperature)
        return torch.nn.functional.cross_entropy(scaled, targets).item()

    return math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)


def bootstrap_intervals(confusion, resamples=10_000, seed=0):
    """95 % percentile intervals (Efron 1979) of the scores, by drawing the rows anew.

    Rows drawn with replacement are a multinomial draw over the cells of the confusion matrix, so
    no row is touched. As scikit-learn does, a class that a draw leaves without rows or
    predictions scores 0 in what would divide by nothing.

    Args:
        confusion: (classes, classes) int, rows: true class.

    Returns:
        dict of score name to [low, high].
    """
    drawn = resample(np.asarray(confusion), resamples, seed)
    return {
        name: np.quantile(draw, [0.025, 0.975]).tolist() for name, draw in scores(drawn).items()
    }


def resample(counts, resamples, seed):
    """Draw the rows behind a table of counts anew; return (resamples, *counts.shape) counts."""
    rows = counts.sum()
    drawn = np.random.default_rng(seed).multinomial(rows, counts.ravel() / rows, resamples)
    return drawn.reshape(resamples, *counts.shape)


def scores(confusions):
    """Return dict of score name to (n,) for (n, classes, classes) confusion matrices."""
    right = np.diagonal(confusions, axis1=1, axis2=2)
    predicted, true = confusions.sum(axis=1), confusions.sum(axis=2)
    return {
        "accuracy": right.sum(axis=1) / true.sum(axis=1),
        "macro_f1": (2 * right / np.maximum(predicted + true, 1)).mean(axis=1),
        "macro_precision": (right / np.maximum(predicted, 1)).mean(axis=1),
        "macro_recall": (right / np.maximum(true, 1)).mean(axis=1),
    }


def mcnemar(labels, first, second):
    """Two-sided exact test of whether two classifiers are right equally often (McNemar 1947).

    Under that hypothesis, the rows on which just one of the two is right fall to either side as
    a fair coin does.

    Args:
        labels, first, second: (rows,) int, the truth and both classifiers' answers.

    Returns:
        p-value.
    """
    first_only = int(((first == labels) & (second != labels)).sum())
    second_only = int(((first != labels) & (second == labels)).sum())
    differing = first_only + second_only
    return binomtest(first_only, differing).pvalue if differing else 1.0


def paired_bootstrap(labels, first, second, classes, resamples=10_000, seed=0):
    """Macro-F1 of `first` less that of `second`, by drawing rows anew for both at once.

    After Berg-Kirkpatrick et al. 2012, "An Empirical Investigation of Statistical Significance in
    NLP".

    Args:
        labels, first, second: (rows,) int, the truth and both classifiers' answers.
        classes: number of classes.

    Returns:
        (low, high, p): the 95 % interval of the difference, and how often, two-sided, a draw
        turns its sign.
    """
    counts = np.zeros((classes, classes, classes), dtype=int)
    np.add.at(counts, (labels, first, second), 1)
    drawn = resample(counts, resamples, seed)
    difference = scores(drawn.sum(axis=3))["macro_f1"] - scores(drawn.sum(axis=2))["macro_f1"]
    low, high = np.quantile(difference, [0.025, 0.975])
    p = 2 * min((difference <= 0).mean(), (difference >= 0).mean())
    return float(low), float(high), float(min(1.0, p))


def measure(model, make_batches, corpus, args, device, precision):
    """Measure a model's quality and speed on one device.

    Args:
        model: returns (batch, classes) logits for (tokens, lengths); on `device`.
        make_batches: function of (texts, batch_size=, device=) that returns batches of them
            that `predict` takes, sorted by length.
        corpus: data.Corpus with the split to measure on.
        args: namespace with the flags of `add_measuring_arguments`.
        device, precision: where and in which number format the model is.

    Returns:
        dict that JSON can hold, one of a result's `runs`.
    """
    split = corpus.splits[args.split]
    batches = make_batches(split.texts, batch_size=args.batch_size, device=device)
    logits = predict(model, batches)
    predictions = logits.argmax(dim=1).tolist()
    temperature = float(getattr(model, "temperature", 1))
    return {
        "device": device,
        "precision": precision,
        "quality": quality(split.labels, predictions, corpus.classes),
        "calibration": {
            "temperature": temperature,
            "before": calibration_error(logits * temperature, split.labels),
            "after": calibration_error(logits, split.labels),
        },
        "predictions": " ".join(map(str, predictions)),
        **measure_speed(model, make_batches, split.texts, device, args.batch_size),
    }


@torch.inference_mode()
def measure_speed(model, make_batches, texts, device, batch_size):
    """Time a model alone, and from raw text to class; see `measure` for the arguments."""
    batches = make_batches(texts, batch_size=batch_size, device=device)
    full = [batch for batch in batches if len(batch[3]) == batch_size] or list(batches)
    raw = [[texts[row] for row in rows] for *_, rows in full]

    def from_text(texts):
        batch = make_batches(texts, batch_size=len(texts), device=device)
        predict(model, batch).argmax(dim=1)

    model_ms = time_batches(lambda batch: model(*batch[:2]), full, device)
    end_to_end_ms = time_batches(from_text, raw, device)
    words = np.quantile([len(text.split()) for text in texts], [0.05, 0.5, 0.95])
    return {
        "hardware": hardware(device),
        "speed": {
            "batch_size": len(raw[0]),
            "repeats": REPEATS,
            "words": words.round().astype(int).tolist(),
            "model_ms": model_ms,
            "end_to_end_ms": end_to_end_ms,
            "texts_per_second": 1000 * len(raw[0]) / end_to_end_ms,
        },
    }


def time_batches(run, batches, device, repeats=REPEATS):
    """Time `run` on one batch at a time, spread over all batches.

    Args:
        run: function of one batch.
        batches: sequence of batches; they differ in length, so evenly spaced ones are taken.
        device: "cpu" or "cuda"; a GPU is synchronised before the clock is read.
        repeats: number of timed batches.

    Returns:
        median milliseconds a batch.
    """

    def seconds(batch):
        if device == "cuda":
            torch.cuda.synchronize()
        start = time.perf_counter()
        run(batch)
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - start

    chosen = [batches[round(i)] for i in np.linspace(0, len(batches) - 1, repeats)]
    for batch in chosen[:: repeats // 5]:  # warm up, on short and long batches
        seconds(batch)
    return 1000 * statistics.median(seconds(batch) for batch in chosen)


def hardware(device):
    """The name of what a timing was taken on, with the thread count on the CPU."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        match = re.search(r"model name\s*: (.+)", cpuinfo.read_text())
        name = match[1].strip() if match else name
    threads = torch.get_num_threads()
    return f"{name}, {threads} thread{'s' if threads > 1 else ''}"


def peak_memory(process):
    """Wait for a subprocess.Popen to end; return its peak of resident memory in bytes (Linux)."""
    status = Path(f"/proc/{process.pid}/status")  # what wait4 says begins with this process' peak
    peak = 0
    while process.poll() is None:
        if found := re.search(r"VmHWM:\s+(\d+)", status.read_text()):
            peak = 1024 * int(found[1])
        time.sleep(0.02)
    return peak
