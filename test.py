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

import torch
from tqdm import tqdm

from data import Batches, add_data_arguments, load_corpus
from errors import one_line_errors
from metrics import (
    RESULTS,
    comparison,
    load_published,
    load_result,
    load_results,
    measure,
    report,
    save_result,
)
from model import FILES, load_checkpoint, save_checkpoint

ROOT = Path(__file__).parent
SHIPPED = ROOT / "checkpoints" / "lstm"
PRECISIONS = {"fp32": torch.float32, "fp16": torch.float16}


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    group = parser.add_argument_group("evaluation")
    group.add_argument(
        "--checkpoint",
        nargs="+",
        help="folders or Hub ids (default: checkpoints/run if there is one, else checkpoints/lstm)",
    )
    group.add_argument(
        "--split", default="test", help="split to evaluate on (default: %(default)s)"
    )
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
        default=list(PRECISIONS),
        help="number formats of weights and activations (default: fp32 fp16)",
    )
    group.add_argument(
        "--batch-size", type=int, default=32, help="texts a batch (default: %(default)s)"
    )
    group.add_argument("--threads", type=int, help="CPU threads (default: one a core)")
    group.add_argument(
        "--name", help="name of the result (default: the checkpoint's last path component)"
    )
    group.add_argument(
        "--results",
        type=Path,
        default=RESULTS,
        help="folder of the results (default: results)",
    )
    again = parser.add_argument_group("without evaluating")
    again.add_argument("--print", nargs="+", metavar="FILE", help="print these results' tables")
    again.add_argument("--compare", action="store_true", help="compare all that is in --results")
    args = parser.parse_args()
    if "cuda" in args.device and not torch.cuda.is_available():
        parser.error("--device cuda: PyTorch sees no GPU")
    if args.name and args.checkpoint and len(args.checkpoint) > 1:
        parser.error("--name names one checkpoint, not several")
    if args.threads:
        torch.set_num_threads(args.threads)
    return args


def evaluate(checkpoint, args):
    """Measure one checkpoint on every device in every precision; return the result to save."""
    model, tokenizer = load_checkpoint(checkpoint)
    corpus = load_corpus(args, splits=(args.split,), classes=model.classes)
    split = corpus.splits[args.split]
    trained_on = model.data or {"name": "unknown data"}
    # A local copy of a Hub data set is named after its folder.
    if Path(trained_on["name"]).name != Path(corpus.name).name:
        print(
            f"note: {checkpoint} was trained on {trained_on['name']} and is evaluated on "
            f"{corpus.name}",
            file=sys.stderr,
        )
    result = {
        "name": args.name or Path(checkpoint).resolve().name,
        "kind": "LSTM",
        "parameters": model.parameter_count,
        "trained_on": trained_on,
        "data": {
            "name": corpus.name,
            "split": args.split,
            **corpus.provenance["splits"][args.split],
        },
        "classes": corpus.classes,
        "labels": " ".join(map(str, split.labels)),
        "runs": [],
    }
    runs = [(device, precision) for device in args.device for precision in args.precision]
    for device, precision in tqdm(runs, desc=result["name"], disable=None, leave=False):
        variant = copy.deepcopy(model).to(device, PRECISIONS[precision])
        make_batches = functools.partial(Batches, tokenizer)
        run = measure(
            variant, make_batches, split, corpus.classes, device, precision, args.batch_size
        )
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
            run = ROOT / "checkpoints" / "run"
            checkpoints = [run if (run / "model.safetensors").exists() else SHIPPED]
            print(f"no --checkpoint given: evaluating {checkpoints[0]}", file=sys.stderr)
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
