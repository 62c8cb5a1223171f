"""Evaluate LSTM checkpoints: print the metric tables and keep them in results/.

python test.py                                     # your run, or else the shipped checkpoint
python test.py --checkpoint checkpoints/lstm       # a folder or a Hub id; several may be given
python test.py --print results/lstm.json           # print the tables again
python test.py --compare                           # all results side by side
"""

import argparse
import copy
import functools
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from data import Batches, add_data_arguments, load_corpus
from errors import InputError, one_line_errors
from metrics import PRECISIONS, add_measuring_arguments, check_measuring_arguments, measure
from model import FILES, SHIPPED, load_checkpoint, save_checkpoint
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
    add_measuring_arguments(parser, ["fp32", "fp16"]).add_argument(
        "--checkpoint",
        nargs="+",
        help="folders or Hub ids (default: checkpoints/run if there is one, else checkpoints/lstm)",
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
    model, tokenizer = load_checkpoint(checkpoint)
    corpus = load_corpus(args, splits=(args.split,), classes=model.classes)
    trained_on = model.data or {"name": "unknown data"}
    # A local copy of a Hub data set is named after its folder.
    if Path(trained_on["name"]).name != Path(corpus.name).name:
        print(
            f"note: {checkpoint} was trained on {trained_on['name']} and is evaluated on "
            f"{corpus.name}",
            file=sys.stderr,
        )
    name = args.name or Path(checkpoint).absolute().name
    result = start_result(name, "LSTM", model.parameter_count, trained_on, corpus, args.split)
    make_batches = functools.partial(Batches, tokenizer)
    runs = [(device, precision) for device in args.device for precision in args.precision]
    for device, precision in tqdm(runs, desc=name, disable=None, leave=False):
        variant = copy.deepcopy(model).to(device, PRECISIONS[precision])
        run = measure(variant, make_batches, corpus, args, device, precision)
        result["runs"].append({**run, "bytes": size_on_disk(variant, tokenizer)})
    return result


def size_on_disk(model, tokenizer):
    """Bytes of all files that inference needs, with the weights in the model's precision."""
    with TemporaryDirectory() as folder:
        save_checkpoint(folder, model, tokenizer, model_card="")
        return sum((Path(folder) / name).stat().st_size for name in FILES)


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
            checkpoints = [run if (run / "model.safetensors").exists() else SHIPPED]
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
