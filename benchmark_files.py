"""Speed and memory of labelling a file from end to end: what `benchmark.py --files` measures.

The file is the training texts, drawn at random with replacement, as CSV; the labelled one is
Parquet. Everybody reads, labels and writes through `label_file`. A transformer manages hundreds of
rows a second, so it has a hundredth of them.
"""

import csv
import os
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from tqdm import tqdm

import cluster
from classical import class_scores, tfidf_svm
from classifier import load_classifier
from data import load_corpus
from errors import InputError
from labelling import label_file
from metrics import hardware, peak_memory, predict
from tables import describe_data
from transformer import Transformer, load_transformer, transformer_batches

ROUNDS = 3
SUBSET = 100  # the slow ones label one row in so many
LARGE = 25  # times the rows, to see what memory a long file takes
PARTS = 8  # files for Ray
PREDICT = Path(__file__).with_name("predict.py")


class LinearClassifier:
    """TF-IDF and a linear SVM, called as classifier.Classifier is; its scores are no probabilities.

    Args:
        train: data.Split to train on.
        classes: names of the classes.
    """

    def __init__(self, train, classes):
        self.classes = classes
        self.pipeline = tfidf_svm(train)

    def probabilities(self, texts):
        """Return (texts, classes) float32."""
        return class_scores(self.pipeline, texts).astype(np.float32)


class TransformerClassifier:
    """A transformer with random weights, called as classifier.Classifier is."""

    def __init__(self, name):
        network, tokenizer = load_transformer(name, random_weights=True)
        self.classes = list(network.config.id2label.values())
        self.model = Transformer(network, list(range(network.config.num_labels))).eval()
        self.make_batches = transformer_batches(tokenizer)

    def probabilities(self, texts):
        """Return (texts, classes) float32."""
        return predict(self.model, self.make_batches(texts, batch_size=32)).softmax(1).numpy()


def write_texts(path, texts):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(texts))


def model_rate(classify, texts, threads):
    """Rows a second of the bare model: on ready batches, as many at once as there are threads."""
    model, batches = classify.model, []

    def record(tokens, lengths):
        batches.append((tokens, lengths))
        return np.zeros((len(tokens), len(classify.classes)), dtype=np.float32)

    classify.model = record
    classify.probabilities(texts)
    classify.model = model
    with ThreadPoolExecutor(threads) as pool:
        start = time.perf_counter()
        list(pool.map(lambda batch: model(*batch), batches))
        return len(texts) / (time.perf_counter() - start)


def race(classifiers, files, texts, threads):
    """Label the file with each classifier in turn, round after round.

    Args:
        classifiers: {name: classifier}.
        files: {"whole": path, "subset": path}.
        texts: list of str, for the bare models.
        threads: CPU threads.

    Returns:
        list of rows of the table.
    """
    target = files["whole"].with_name("labelled.parquet")
    rates, bare, rows = {}, {}, {}
    for _ in tqdm(range(ROUNDS), desc="rounds", disable=None, leave=False):
        for name, classify in classifiers.items():
            slow = isinstance(classify, TransformerClassifier)
            summary = label_file(
                classify,
                files["subset" if slow else "whole"],
                target,
                overwrite=True,
                workers=1 if slow else threads,  # it shares the threads out by itself
            )
            rows[name] = summary.rows
            rates.setdefault(name, []).append(summary.rows / summary.seconds)
            if hasattr(classify, "encode"):
                bare.setdefault(name, []).append(model_rate(classify, texts, threads))
    return [
        {
            "name": name,
            "rows": rows[name],
            "rows_per_second": statistics.median(rates[name]),
            "model_rows_per_second": statistics.median(bare[name]) if name in bare else None,
        }
        for name in classifiers
    ]


def measure_process(checkpoint, source, rows):
    """Run predict.py on a file as its users do; return seconds and peak memory."""
    target = source.with_name("labelled.parquet")
    command = [sys.executable, PREDICT, "--checkpoint", checkpoint, "--overwrite"]
    command += ["--input", source, "--output", target]
    start = time.perf_counter()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.DEVNULL)
    peak = peak_memory(process)
    if process.returncode:
        raise InputError(f"predict.py failed on {rows:,} rows")
    return {"rows": rows, "seconds": time.perf_counter() - start, "peak_bytes": peak}


def measure_ray(checkpoint, texts, folder):
    """Label a folder of files with one and with two workers of one thread."""
    pairs = []
    for part in range(PARTS):
        pairs.append((folder / f"{part}.csv", folder / "labelled" / f"{part}.parquet"))
        write_texts(pairs[-1][0], texts[part::PARTS])
    model = {"checkpoint": checkpoint, "device": "cpu", "threads": 1}
    measured = []
    for workers in (1, 2):
        summaries = []
        start = time.perf_counter()
        cluster.label_on_ray(
            pairs,
            model,
            {"overwrite": True},
            lambda _, summary, summaries=summaries: summaries.append(summary),
            workers,
        )
        seconds = time.perf_counter() - start
        busy = sum(summary.seconds for summary in summaries) / workers
        rate = sum(summary.rows for summary in summaries) / busy
        measured.append({"workers": workers, "seconds": seconds, "rows_per_second": rate})
    return measured


def benchmark_files(args):
    """Measure all that the flags of benchmark.py name; return a dict that JSON can hold."""
    corpus = load_corpus(args, splits=("train",))
    train = corpus.splits["train"]
    rng = np.random.default_rng(0)
    texts = [train.texts[row] for row in rng.integers(len(train.texts), size=args.files)]
    checkpoints = {Path(name).absolute().name: name for name in args.checkpoint}
    result = {"data": describe_data(corpus, "train"), "rounds": ROUNDS, "runs": []}
    cores = sorted(os.sched_getaffinity(0))
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        files = {name: folder / f"{name}.csv" for name in ("whole", "subset", "large")}
        write_texts(files["whole"], texts)
        write_texts(files["subset"], texts[: max(1, len(texts) // SUBSET)])
        result["bytes"] = files["whole"].stat().st_size
        for threads in args.threads:
            os.sched_setaffinity(0, cores[:threads])
            torch.set_num_threads(threads)
            classifiers = {
                f"{name}, ONNX Runtime": load_classifier(path, threads=1)
                for name, path in checkpoints.items()
            }
            classifiers["TF-IDF + LinearSVC"] = LinearClassifier(train, corpus.classes)
            if args.transformer != "none":
                name = Path(args.transformer).name
                classifiers[f"{name}, random weights"] = TransformerClassifier(args.transformer)
            rows = race(classifiers, files, texts[:20_000], threads)
            result["runs"].append({"hardware": hardware("cpu"), "rows": rows})
            print(f"{threads} thread{'s' if threads > 1 else ''}: done", file=sys.stderr)
        os.sched_setaffinity(0, cores)

        name, checkpoint = list(checkpoints.items())[-1]
        result["checkpoint"] = name
        write_texts(files["large"], LARGE * texts)
        result["memory"] = [
            measure_process(checkpoint, files["whole"], len(texts)),
            measure_process(checkpoint, files["large"], LARGE * len(texts)),
        ]
        print("memory: done", file=sys.stderr)
        if cluster.ray:
            result["ray"] = measure_ray(checkpoint, texts, folder)
    return result
