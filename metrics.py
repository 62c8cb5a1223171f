"""Honest numbers: quality with intervals, timing, size, and the tables that print them."""

import json
import platform
import re
import statistics
import time
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, precision_recall_fscore_support
from tabulate import tabulate

from errors import InputError, replacing

RESULTS = Path(__file__).parent / "results"
PUBLISHED = "published.json"
REPEATS = 30  # timed batches
SCORES = {
    "accuracy": "Accuracy",
    "macro_f1": "macro-F1",
    "macro_precision": "Precision",
    "macro_recall": "Recall",
}


@torch.inference_mode()
def predict(model, batches):
    """Return a model's logits, (texts, classes) float32 on the CPU, in the order of the texts."""
    logits, order = [], []
    for tokens, lengths, _, rows in batches:
        logits.append(model(tokens, lengths).float())
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
    confusion = np.asarray(confusion)
    rows = confusion.sum()
    drawn = np.random.default_rng(seed).multinomial(rows, confusion.ravel() / rows, resamples)
    drawn = drawn.reshape(resamples, *confusion.shape)
    right = np.diagonal(drawn, axis1=1, axis2=2)
    precision = right / np.maximum(drawn.sum(axis=1), 1)
    recall = right / np.maximum(drawn.sum(axis=2), 1)
    f1 = 2 * right / np.maximum(drawn.sum(axis=1) + drawn.sum(axis=2), 1)
    draws = {
        "accuracy": right.sum(axis=1) / rows,
        "macro_f1": f1.mean(axis=1),
        "macro_precision": precision.mean(axis=1),
        "macro_recall": recall.mean(axis=1),
    }
    return {name: np.quantile(draw, [0.025, 0.975]).tolist() for name, draw in draws.items()}


def measure(model, make_batches, split, classes, device, precision, batch_size):
    """Measure a model's quality and speed on one device.

    Args:
        model: returns (batch, classes) logits for (tokens, lengths); on `device`.
        make_batches: function of (texts, batch_size=, device=) that returns batches of them
            that `predict` takes, sorted by length.
        split: what to measure on, with `texts` and `labels`.
        classes: names of the classes.
        device, precision: where and in which number format the model is.
        batch_size: texts a batch.

    Returns:
        dict that JSON can hold, one of a result's `runs`.
    """
    batches = make_batches(split.texts, batch_size=batch_size, device=device)
    predictions = predict(model, batches).argmax(dim=1).tolist()
    ready = [batch for batch in batches if len(batch[3]) == batch_size] or list(batches)
    raw = [[split.texts[row] for row in rows] for *_, rows in ready]

    def from_text(texts):
        batch = make_batches(texts, batch_size=len(texts), device=device)
        predict(model, batch).argmax(dim=1)

    with torch.inference_mode():
        model_ms = time_batches(lambda batch: model(*batch[:2]), ready, device)
        end_to_end_ms = time_batches(from_text, raw, device)
    words = np.quantile([len(text.split()) for text in split.texts], [0.05, 0.5, 0.95])
    return {
        "device": device,
        "precision": precision,
        "hardware": hardware(device),
        "quality": quality(split.labels, predictions, classes),
        "predictions": " ".join(map(str, predictions)),
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
        batches: sequence of batches; they differ in length, so they are taken evenly spaced.
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

    step = max(1, len(batches) // repeats)
    chosen = list(islice(cycle(batches[::step]), repeats))
    for batch in chosen[:: max(1, repeats // 5)]:  # warm up, on short and long batches
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


def save_result(result, folder=RESULTS):
    """Write `<name>.json`, from which every table can be printed again; return its path."""
    path = Path(folder) / f"{result['name']}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def load_result(path):
    """Read what `save_result` wrote. Raises InputError if it is something else."""
    try:
        result = json.loads(Path(path).read_text("utf-8"))
    except ValueError:
        result = None
    if not isinstance(result, dict) or not {"name", "data", "runs"} <= result.keys():
        raise InputError(f"{path}: not a result that test.py wrote")
    return result


def load_results(folder=RESULTS):
    """Read all results in a folder, in the order of their names."""
    paths = [path for path in sorted(Path(folder).glob("*.json")) if path.name != PUBLISHED]
    if not paths:
        raise InputError(f"{folder}: no results; python test.py writes them")
    return [load_result(path) for path in paths]


def load_published(folder=RESULTS):
    """Read what others published of their models, and on which data; None if nothing is there."""
    path = Path(folder) / PUBLISHED
    return json.loads(path.read_text("utf-8")) if path.exists() else None


def markdown(rows, headers, numbers_from=1):
    """A Markdown table; columns from `numbers_from` on are aligned right."""
    align = ["left" if i < numbers_from else "right" for i in range(len(headers))]
    return tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def run_name(run):
    """ "CPU fp32" and the like."""
    return f"{run['device'].upper()} {run['precision']}"


def class_table(run):
    """Precision, recall, F1 and support by class."""
    rows = [
        [name, f"{c['precision']:.3f}", f"{c['recall']:.3f}", f"{c['f1']:.3f}", c["support"]]
        for name, c in run["quality"]["per_class"].items()
    ]
    return markdown(rows, ["class", "Precision", "Recall", "F1-score", "Support"])


def confusion_table(run):
    """Counts, one row a true class, one column a predicted class."""
    classes = list(run["quality"]["per_class"])
    rows = [[name, *row] for name, row in zip(classes, run["quality"]["confusion"], strict=True)]
    return markdown(rows, ["true \\ predicted", *classes])


def quality_table(runs):
    """Scores with their 95 % bootstrap intervals, one row a device and precision."""
    rows = []
    for run in runs:
        row = [run_name(run)]
        for score in SCORES:
            low, high = run["quality"]["interval"][score]
            row.append(f"{run['quality'][score]:.4f} [{low:.3f}, {high:.3f}]")
        rows.append(row)
    return markdown(rows, ["", *SCORES.values()])


def speed_table(runs):
    """Time and size, one row a device and precision."""
    rows = [
        [
            run_name(run),
            f"{run['speed']['model_ms']:.2f}",
            f"{run['speed']['end_to_end_ms']:.2f}",
            f"{run['speed']['texts_per_second']:,.0f}",
            f"{run['bytes'] / 1e6:.2f} MB",
        ]
        for run in runs
    ]
    batch = f"ms / batch of {runs[0]['speed']['batch_size']}"
    headers = ["", batch, f"{batch}, with tokenization", "tweets / s", "Size on disk"]
    return markdown(rows, headers)


def report(result):
    """All tables of one model as Markdown."""
    data, runs = result["data"], result["runs"]
    first = runs[0]
    speed = first["speed"]
    hardware_names = "; ".join(dict.fromkeys(run["hardware"] for run in runs))
    return "\n\n".join(
        [
            f"## {result['name']}: {result['parameters']:,} parameters, on {data_title(data)}",
            f"By class ({run_name(first)}):",
            class_table(first),
            f"Confusion matrix ({run_name(first)}):",
            confusion_table(first),
            "Quality, with 95 % bootstrap intervals:",
            quality_table(runs),
            f"Speed (median of {speed['repeats']} batches; texts of {speed['words'][0]} to "
            f"{speed['words'][2]} words, median {speed['words'][1]}; tweets / s with tokenization; "
            f"{hardware_names}) and size:",
            speed_table(runs),
        ]
    )


def data_title(data):
    """ "emotion (test, 2,000 rows, 3b04e186c55e437b)" and the like."""
    return f"{data['name']} ({data['split']}, {data['rows']:,} rows, {data['fingerprint']})"


def recipe(result):
    """The name of a result without its seed: `lstm` of `lstm-seed3`."""
    return re.sub(r"-seed\d+$", "", result["name"])


def summary_table(results, published=()):
    """One row a recipe: mean ± standard deviation over the runs that differ in seed only.

    Args:
        results: list of results on the same data.
        published: list of dicts, others' figures for the same data, marked as such.
    """
    recipes = {}
    for result in results:
        recipes.setdefault(recipe(result), []).append(result)
    rows = []
    for model in published:
        scores = [f"{model[score]:.4f}" if score in model else "–" for score in SCORES]
        size = f"{model['bytes'] / 1e6:.1f} MB" if "bytes" in model else "–"
        rows.append([model["name"], "published", *scores, size])
    for name, members in recipes.items():
        row = [name, len(members)]
        for score in SCORES:
            values = [member["runs"][0]["quality"][score] for member in members]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            row.append(f"{statistics.fmean(values):.4f}{spread}")
        size = statistics.fmean(member["runs"][0]["bytes"] for member in members)
        rows.append([*row, f"{size / 1e6:.1f} MB"])
    return markdown(rows, ["Model", "Seeds", *SCORES.values(), "Size"])


def comparison(results, published=None):
    """Results side by side as Markdown, one section a data set: rows of two never mix."""
    sections = {}
    for result in results:
        sections.setdefault(data_title(result["data"]), []).append(result)
    texts = []
    for title, members in sections.items():
        same = published and published["fingerprint"] == members[0]["data"]["fingerprint"]
        table = summary_table(members, published["models"] if same else ())
        texts.append(f"## {title}\n\n{table}")
    return "\n\n".join(texts)
