"""Speed of everything side by side, on the CPU, in one run on the same texts.

python benchmark.py                                     # the shipped checkpoints, and their peers
python benchmark.py --checkpoint checkpoints/run --transformer checkpoints/bert-base-uncased
python benchmark.py --files                             # files labelled from end to end
python benchmark.py --train                             # training, beside a loop as usual
python benchmark.py --scale                             # training on up to a million rows
python benchmark.py --print results/benchmark/files.json   # print the table again

Every model is timed in turn, a batch each, round after round, so that whatever else the machine
does meets all of them alike. fastText is there if requirements-fasttext.txt is installed.
"""

import argparse
import json
import os
import statistics
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from sklearn.metrics import f1_score
from tqdm import tqdm

from batches import Batches
from benchmark_files import benchmark_files
from benchmark_training import SIZES, benchmark_scaling, benchmark_training
from checkpoint import SHIPPED, WEIGHTS, find_checkpoint, read_config, read_weights
from classical import tfidf_svm
from classifier import Classifier
from data import add_data_arguments, load_corpus
from engine import OnnxModel, load_onnx, to_onnx
from errors import InputError, count, one_line_errors, replacing
from metrics import hardware
from model import PRECISIONS, EmotionLSTM, load_checkpoint
from tables import RESULTS, benchmark_tables, describe_data
from text import train_tokenizer
from transformer import Transformer, load_transformer, transformer_batches

ROUNDS, SLOW_ROUNDS = 30, 5  # batches timed; the transformer takes seconds for one
BATCH_SIZES = (1, 32, 256)
CUTOFFS = (100_000, 5_000, 1_000)  # word vectors that a quantised fastText keeps
REFERENCE = {"embedding_size": 256, "hidden_size": 64, "layers": 3, "pooling": "last"}


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    tiny = SHIPPED.with_name("lstm-tiny")
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        default=[SHIPPED, *([tiny] if tiny.exists() else [])],
        help="LSTMs, folders or Hub ids (default: those that are shipped)",
    )
    parser.add_argument(
        "--transformer",
        default="bert-base-uncased",
        help="folder or Hub id, timed with random weights; 'none' for none (default: %(default)s)",
    )
    parser.add_argument("--split", default="test", help="texts to time on (default: %(default)s)")
    parser.add_argument(
        "--threads", type=int, nargs="+", default=[1, 2], help="CPU threads (default: 1 2)"
    )
    parser.add_argument(
        "--train",
        action="store_true",
        help="time training instead, with the largest of --threads",
    )
    parser.add_argument(
        "--scale",
        nargs="*",
        type=count,
        metavar="ROWS",
        help="time an epoch of training on so many rows instead, with the largest of --threads "
        f"(default: {' '.join(map(str, SIZES))})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="file of the result (default: inference.json, files.json, training.json or "
        "scaling.json in results/benchmark)",
    )
    parser.add_argument(
        "--files",
        type=int,
        nargs="?",
        const=200_000,
        metavar="ROWS",
        help="measure predict.py on a file of so many rows instead (default: 200000)",
    )
    parser.add_argument("--print", type=Path, metavar="FILE", help="print this result again")
    args = parser.parse_args()
    cores = sorted(os.sched_getaffinity(0))
    if not all(1 <= threads <= len(cores) for threads in args.threads):
        raise InputError(f"--threads: from 1 to the {len(cores)} cores that there are")
    if args.files is not None and args.files < 100:
        raise InputError("--files: at least 100 rows")
    flags = {"files": args.files, "training": args.train, "scaling": args.scale is not None}
    name = next((name for name, flag in flags.items() if flag), "inference")
    args.output = args.output or RESULTS / "benchmark" / f"{name}.json"
    return args


class Contestant:
    """A model to be timed.

    Args:
        name: row of the table.
        model: function of a batch that `batches` holds.
        batches: {batch size: list of batches}; None if it takes no batches, but raw text.
        label: function of a list of str, from raw text to answers; None if it is not to be timed.
        flops: number of floating-point operations of a batch, or None.
        slow: whether a few rounds have to do.
    """

    def __init__(self, name, model=None, batches=None, label=None, flops=None, slow=False):
        self.name, self.model, self.batches, self.label = name, model, batches or {}, label
        self.flops, self.slow = flops, slow
        self.seconds = {size: [] for size in self.batches}
        self.rates, self.facts = [], {}


def lstm_flops(config, batch):
    """Multiplications and additions of the matrix products, which are nearly all of the work."""
    texts, length = batch[0].shape
    hidden, directions = config["hidden_size"], config.get("directions", 2)
    inputs = [config["embedding_size"]] + [directions * hidden] * (config["layers"] - 1)
    return sum(2 * texts * length * directions * 4 * hidden * (width + hidden) for width in inputs)


def matrix_peak(size=1024):
    """Floating-point operations a second of PyTorch's fp32 matrix product, the best of many."""
    left, right = torch.randn(size, size), torch.randn(size, size)

    def seconds():
        start = time.perf_counter()
        left @ right
        return time.perf_counter() - start

    return 2 * size**3 / min(seconds() for _ in range(30))


def lstm_contestants(checkpoint, texts, threads):
    """A checkpoint in every engine and number format."""
    folder = find_checkpoint(checkpoint, wanted=(WEIGHTS, "model.onnx"))
    config, name = read_config(folder), Path(checkpoint).absolute().name
    ready, tokenizer = load_onnx(folder, threads)
    batches = {size: list(Batches(tokenizer, texts, batch_size=size)) for size in BATCH_SIZES}
    engines = {f"ONNX Runtime {ready.precision}": ready}
    if (folder / WEIGHTS).exists():
        graph = to_onnx(config, read_weights(folder / WEIGHTS), int8=True)
        engines["ONNX Runtime int8"] = OnnxModel(
            graph.SerializeToString(), config["classes"], threads
        )
        for precision, dtype in PRECISIONS.items():
            engines[f"PyTorch {precision}"] = load_checkpoint(folder)[0].to(dtype)
    for engine, model in engines.items():
        label = None
        if engine.startswith("ONNX"):
            label = Classifier(model, tokenizer, model.classes).probabilities
        yield Contestant(
            f"{name}, {engine}",
            lambda batch, model=model: model(*batch[:2]),
            batches,
            label,
            lambda batch: lstm_flops(config, batch),
        )


def reference_contestant(train_texts, texts):
    """The reference configuration as it is usually run: PyTorch, every batch packed."""
    tokenizer = train_tokenizer(train_texts)
    model = EmotionLSTM(["a"] * 6, tokenizer.get_vocab_size(), **REFERENCE).eval()
    packed = {}
    for size in BATCH_SIZES:
        batches = list(Batches(tokenizer, texts, batch_size=size))
        packed[size] = [
            (tokens, torch.full((len(tokens),), tokens.shape[1]) if lengths is None else lengths)
            for tokens, lengths, *_ in batches
        ]
    flops = {**REFERENCE, "directions": 2}
    return Contestant(
        "reference LSTM, PyTorch, packed",
        lambda batch: model(*batch),
        packed,
        flops=lambda batch: lstm_flops(flops, batch),
    )


def train_fasttext(train, split):
    """Train fastText (Joulin et al. 2017) with word bigrams.

    Returns:
        (function of a list of str, from raw text to answers; bytes and macro-F1 on `split` of each
        quantised model), or None where fastText is not installed.
    """
    try:
        import fasttext
    except ImportError:
        return None
    # What a text is labelled that has no word left.
    likely = [(0.0, f"__label__{statistics.mode(train.labels)}")]
    with TemporaryDirectory() as folder:
        path = Path(folder) / "train.txt"
        rows = zip(train.texts, train.labels, strict=True)
        path.write_text("\n".join(f"__label__{label} {text}" for text, label in rows), "utf-8")
        settings = {"epoch": 25, "lr": 0.5, "wordNgrams": 2, "verbose": 0}
        model = fasttext.train_supervised(str(path), **settings)

        def label(texts):
            # Its Python layer fails with NumPy 2; this is what lies beneath.
            return [model.f.predict(text, 1, 0.0, "strict")[0][1] for text in texts]

        quantised, file = [], Path(folder) / "small.ftz"
        for cutoff in CUTOFFS:
            small = fasttext.train_supervised(str(path), **settings)
            small.quantize(str(path), retrain=True, cutoff=cutoff)
            small.save_model(str(file))
            found = [small.f.predict(text, 1, 0.0, "strict") for text in split.texts]
            answers = [int((one or likely)[0][1].removeprefix("__label__")) for one in found]
            f1 = f1_score(split.labels, answers, average="macro")
            quantised.append({"bytes": file.stat().st_size, "macro_f1": f1})
    return label, quantised


def transformer_contestant(name, texts):
    network, tokenizer = load_transformer(name, random_weights=True)
    model = Transformer(network, list(range(network.config.num_labels))).eval()
    make_batches = transformer_batches(tokenizer)
    batches = {size: list(make_batches(texts, batch_size=size)) for size in BATCH_SIZES}
    return Contestant(
        Path(name).name, lambda batch: model(*batch[:2]), batches, label=None, slow=True
    )


@torch.inference_mode()
def compete(contestants, texts):
    """Time them all, turn by turn."""

    def timed(run, what):
        start = time.perf_counter()
        run(what)
        return time.perf_counter() - start

    for round_ in tqdm(range(-2, ROUNDS), desc="rounds", disable=None, leave=False):
        for one in contestants:
            if one.slow and round_ >= 0 and round_ % (ROUNDS // SLOW_ROUNDS):
                continue
            for size, batches in one.batches.items():
                full = [batch for batch in batches if len(batch[0]) == size] or batches
                place = round(max(round_, 0) * (len(full) - 1) / (ROUNDS - 1))
                seconds = timed(one.model, full[place])
                if round_ >= 0:  # before that: warming up
                    one.seconds[size].append((seconds, full[place]))
            if one.label and round_ % 3 == 0:
                one.rates.append(len(texts) / timed(one.label, texts))


def describe(one, peak):
    """What the result keeps of a contestant."""
    row = {"name": one.name, **one.facts}
    row["ms"] = {
        size: 1000 * statistics.median(seconds for seconds, _ in timings)
        for size, timings in one.seconds.items()
    }
    if one.flops:
        row["share_of_peak"] = statistics.median(
            one.flops(batch) / seconds / peak for seconds, batch in one.seconds[32]
        )
    if one.rates:
        row["texts_per_second"] = statistics.median(one.rates)
    return row


def benchmark_inference(args):
    """Time all models on the texts of a split; return a dict that JSON can hold."""
    corpus = load_corpus(args, splits=("train", args.split))
    train, split = corpus.splits["train"], corpus.splits[args.split]
    result = {"data": describe_data(corpus, args.split), "rounds": ROUNDS, "runs": []}
    words = np.quantile([len(text.split()) for text in split.texts], [0.05, 0.5, 0.95])
    result["words"] = words.round().astype(int).tolist()
    svm, fasttext = tfidf_svm(train), train_fasttext(train, split)
    cores = sorted(os.sched_getaffinity(0))
    for threads in args.threads:
        os.sched_setaffinity(0, cores[:threads])
        torch.set_num_threads(threads)
        contestants = []
        for checkpoint in args.checkpoint:
            contestants += lstm_contestants(checkpoint, split.texts, threads)
        contestants.append(reference_contestant(train.texts, split.texts))
        contestants.append(Contestant("TF-IDF + LinearSVC", label=svm.predict))
        if fasttext:
            label, quantised = fasttext
            contestants.append(Contestant("fastText", label=label))
            contestants[-1].facts["quantised"] = quantised
        if args.transformer != "none":
            contestants.append(transformer_contestant(args.transformer, split.texts))
        peak = matrix_peak()
        compete(contestants, split.texts)
        result["runs"].append(
            {
                "hardware": hardware("cpu"),
                "peak_gflops": peak / 1e9,
                "rows": [describe(one, peak) for one in contestants],
            }
        )
        print(f"{threads} thread{'s' if threads > 1 else ''}: done", file=sys.stderr)
    return result


def main():
    args = parse_arguments()
    if args.print:
        try:
            print(benchmark_tables(json.loads(args.print.read_text("utf-8"))))
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(f"{args.print}: not a result of benchmark.py: {error!r}") from None
        return
    if args.files:
        result = benchmark_files(args)
    elif args.train or args.scale is not None:
        corpus = load_corpus(args, splits=("train", "validation"))
        threads = max(args.threads)
        if args.train:
            result = benchmark_training(corpus, threads)
        else:
            result = benchmark_scaling(corpus, args.scale or SIZES, threads)
    else:
        result = benchmark_inference(args)
    with replacing(args.output) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", "utf-8")
    print(benchmark_tables(json.loads(json.dumps(result))))


if __name__ == "__main__":
    with one_line_errors():
        main()
