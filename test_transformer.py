"""Benchmark a pretrained transformer with the same tables that test.py prints for the LSTM.

python test_transformer.py                                    # a published BERT from the Hub
python test_transformer.py --model checkpoints/minilm         # one of train_transformer.py's
python test_transformer.py --model bert-base-uncased --speed-only
"""

import argparse
import copy
import functools
from pathlib import Path
from tempfile import TemporaryDirectory

from tqdm import tqdm

from batches import Batches
from checkpoint import SHIPPED
from data import add_data_arguments, load_corpus
from errors import one_line_errors
from metrics import (
    add_measuring_arguments,
    check_measuring_arguments,
    measure,
    measure_speed,
)
from model import PRECISIONS, load_checkpoint
from tables import report, save_result, start_result
from transformer import Transformer, load_transformer, match_outputs, transformer_batches


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    group = add_measuring_arguments(parser, ["fp32", "fp16", "bf16"])
    group.add_argument(
        "--model",
        default="Vasanth/bert-base-uncased-finetuned-emotion",
        help="folder or Hub id (default: %(default)s)",
    )
    group.add_argument(
        "--labels",
        nargs="+",
        help="what the model's outputs mean, in their order, if it does not say",
    )
    group.add_argument(
        "--allow-pickle",
        action="store_true",
        help="accept pickled weights where there are none in safetensors",
    )
    group.add_argument(
        "--speed-only",
        action="store_true",
        help="random weights: time and size of an architecture that nobody trained",
    )
    group.add_argument(
        "--beside",
        default=SHIPPED,
        help="LSTM checkpoint to time in the same process (default: checkpoints/lstm)",
    )
    args = parser.parse_args()
    check_measuring_arguments(args)
    return args


def size_on_disk(model, tokenizer):
    """Bytes of all files that inference needs, with the weights in the model's precision."""
    with TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
        return sum(file.stat().st_size for file in Path(folder).iterdir())


def main():
    args = parse_arguments()
    network, tokenizer = load_transformer(
        args.model, random_weights=args.speed_only, allow_pickle=args.allow_pickle
    )
    lstm, lstm_tokenizer = load_checkpoint(args.beside)
    corpus = load_corpus(args, splits=(args.split,))
    texts = corpus.splits[args.split].texts
    if args.speed_only:
        order = list(range(network.config.num_labels))
    else:
        order = match_outputs(network, corpus.classes, args.labels)
    model = Transformer(network, order)
    make_batches = transformer_batches(tokenizer)
    lstm_batches = functools.partial(Batches, lstm_tokenizer)

    name = args.name or Path(args.model).name
    trained_on = getattr(network.config, "trained_on", None) or {"name": "unknown"}
    size = network.num_parameters()
    result = start_result(name, network.config.model_type, size, trained_on, corpus, args.split)
    result["beside"] = {"name": Path(args.beside).name, "runs": []}
    runs = [(device, precision) for device in args.device for precision in args.precision]
    for device, precision in tqdm(runs, desc=name, disable=None, leave=False):
        variant = copy.deepcopy(model).to(device, PRECISIONS[precision])
        if args.speed_only:
            speed = measure_speed(variant, make_batches, texts, device, args.batch_size)
            run = {"device": device, "precision": precision, **speed}
        else:
            run = measure(variant, make_batches, corpus, args, device, precision)
        result["runs"].append({**run, "bytes": size_on_disk(variant.model, tokenizer)})
    for device in args.device:
        speed = measure_speed(lstm.to(device), lstm_batches, texts, device, args.batch_size)
        result["beside"]["runs"].append({"device": device, "precision": "fp32", **speed})
    save_result(result, args.results)
    print(report(result))


if __name__ == "__main__":
    with one_line_errors():
        main()
