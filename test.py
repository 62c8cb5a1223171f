"""Evaluate LSTM checkpoints: print the metric tables and keep them in results/.

python test.py                                     # your run, or else the shipped checkpoint
python test.py --checkpoint checkpoints/lstm       # a folder or a Hub id; several may be given
python test.py --print results/lstm.json           # print the tables again
python test.py --compare                           # all results side by side
"""

import argparse
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from batches import Batches
from checkpoint import ONNX, SHIPPED, WEIGHTS, find_checkpoint, read_config, size_on_disk
from classifier import BACKENDS
from data import add_data_arguments, load_corpus
from engine import load_onnx
from errors import InputError, one_line_errors
from metrics import add_measuring_arguments, check_measuring_arguments, measure
from model import PRECISIONS, load_checkpoint, save_checkpoint
from tables import (
    comparison,
    load_published,
    load_result,
    load_results,
    report,
    save_result,
    start_result,
)


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    group = add_measuring_arguments(parser, ["fp32", "fp16"])
    group.add_argument(
        "--checkpoint",
        nargs="+",
        help="folders or Hub ids (default: checkpoints/run if there is one, else checkpoints/lstm)",
    )
    group.add_argument(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="PyTorch, or ONNX Runtime on the CPU; auto: the latter where it is faster, which is "
        "in fp32 (default: %(default)s)",
    )
    again = parser.add_argument_group("without evaluating")
    again.add_argument("--print", nargs="+", metavar="FILE", help="print these results' tables")
    again.add_argument("--compare", action="store_true", help="compare all that is in --results")
    args = parser.parse_args()
    if args.name and len(args.checkpoint or []) > 1:
        raise InputError("--name: names one result, and several checkpoints were given")
    check_measuring_arguments(args)
    return args


def evaluate(checkpoint, args):
    """Measure one checkpoint on every device in every precision; return the result to save."""
    folder = find_checkpoint(checkpoint, wanted=(WEIGHTS, ONNX))
    ways = choose_runs(folder, args)
    classes = load(folder, *ways[0], args)[0].classes
    corpus = load_corpus(args, splits=(args.split,), classes=classes)
    trained_on = read_config(folder).get("data") or {"name": "unknown data"}
    # A local copy of a Hub data set is named after its folder.
    if Path(trained_on["name"]).name != Path(corpus.name).name:
        print(
            f"note: {checkpoint} was trained on {trained_on['name']} and is evaluated on "
            f"{corpus.name}",
            file=sys.stderr,
        )
    name = args.name or Path(checkpoint).absolute().name
    runs = []
    for device, precision in tqdm(ways, desc=name, disable=None, leave=False):
        model, tokenizer, details = load(folder, device, precision, args)
        make_batches = partial(Batches, tokenizer)
        precision = precision or model.precision
        runs.append({**measure(model, make_batches, corpus, args, device, precision), **details})
    result = start_result(name, "LSTM", model.parameter_count, trained_on, corpus, args.split)
    return {**result, "runs": runs}


def choose_runs(folder, args):
    """Return [(device, precision)], precision None for ONNX Runtime, whose file decides it."""
    runs = [(device, precision) for device in args.device for precision in args.precision]
    in_torch = (folder / WEIGHTS).exists()
    if args.backend == "torch" and in_torch:
        return runs
    if args.backend == "torch":
        raise InputError(f"--backend torch: {folder} has no {WEIGHTS}")
    if args.backend == "auto" and in_torch:
        return [(d, None if (d, p) == ("cpu", "fp32") else p) for d, p in runs]
    if "cpu" not in args.device:
        raise InputError(f"--device {' '.join(args.device)}: ONNX Runtime is for the CPU here")
    return [("cpu", None)]


def load(folder, device, precision, args):
    """Return (model, tokenizer, what the result says of them) for a pair of `choose_runs`."""
    if precision is None:
        model, tokenizer = load_onnx(folder, args.threads)
        file = ONNX if (folder / ONNX).exists() else WEIGHTS
        return model, tokenizer, {"backend": "ONNX Runtime", "bytes": size_on_disk(folder, file)}
    model, tokenizer = load_checkpoint(folder)
    model.to(device, PRECISIONS[precision])
    return model, tokenizer, {"bytes": size_in_precision(model, tokenizer, folder, precision)}


def size_in_precision(model, tokenizer, folder, precision):
    """Bytes of all files that inference needs, with the weights in that precision."""
    if precision == "fp32":
        return size_on_disk(folder, WEIGHTS)
    with TemporaryDirectory() as temporary:
        save_checkpoint(temporary, model, tokenizer, model_card="")
        return size_on_disk(temporary, WEIGHTS)


def main():
    args = parse_arguments()
    if args.compare:
        print(comparison(load_results(args.results), load_published(args.results)))
        return
    if args.print:
        results = [load_result(path) for path in args.print]
    else:
        checkpoints = args.checkpoint
        if not checkpoints:
            run = Path("checkpoints/run")  # train.py's default
            checkpoints = [run if (run / WEIGHTS).exists() else SHIPPED]
            print(f"no --checkpoint given: evaluating {checkpoints[0]}", file=sys.stderr)
        names = [Path(checkpoint).absolute().name for checkpoint in checkpoints]
        if len(set(names)) < len(names):
            raise InputError("--checkpoint: two of one name, by which their results are kept")
        results = []
        for checkpoint in checkpoints:
            results.append(evaluate(checkpoint, args))
            save_result(results[-1], args.results)
    print("\n\n".join(report(result) for result in results))
    if len(results) > 1:
        print(f"\n{comparison(results, load_published(args.results))}")


if __name__ == "__main__":
    with one_line_errors():
        main()
