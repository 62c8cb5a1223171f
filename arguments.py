"""The flags of train.py: what they are called, what they may be, and their defaults.

Imports no PyTorch, so that `--help` and a wrong flag need not wait for it.
"""

import argparse
import json
import math
from pathlib import Path

from data import HELD_OUT, add_data_arguments
from errors import InputError, count

NOT_SAVED = ("output", "device", "resume", "overwrite", "tensorboard", "seeds")
PRESETS = {
    # The reference configuration: what a good engineer writes first.
    "baseline": {
        "pooling": "last",
        "dropout": 0.2,
        "embedding_dropout": 0.0,
        "word_dropout": 0.0,
        "batch_size": 32,
        "lr": 1e-3,
        "schedule": "constant",
        "clip": math.inf,
        "ema": 0.0,
        "epochs": 10,
    },
    # For many unlabelled texts and a teacher: more words, and one wide layer, which is faster.
    "distilled": {
        "embedding_size": 128,
        "hidden_size": 128,
        "layers": 1,
        "min_frequency": 4,
        "lr": 3e-3,
        "epochs": 8,
        "word_dropout": 0.0,
    },
    # For compress.py to make a third of a megabyte of, and to label 100,000 texts a second with.
    "tiny": {
        "embedding_size": 32,
        "hidden_size": 32,
        "layers": 1,
        "directions": 1,
        "pooling": "last",
        "dropout": 0.2,
        "embedding_dropout": 0.2,
        "word_dropout": 0.0,
        "lr": 6e-3,
        "epochs": 30,
    },
}


def seed(text):
    """A whole number that PyTorch can seed a generator with."""
    number = int(text)
    if not 0 <= number < 2**63:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 0 and less than 2^63")
    return number


def rate(text):
    """A number of at least 0 and less than 1."""
    number = float(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 0 and less than 1")
    return number


def positive(text):
    """A number above 0."""
    number = float(text)
    if not number > 0:  # nor NaN
        raise argparse.ArgumentTypeError(f"{text}: must be above 0")
    return number


def amount(text):
    """A number of at least 0."""
    number = float(text)
    if not number >= 0:  # nor NaN
        raise argparse.ArgumentTypeError(f"{text}: must be at least 0")
    return number


def parse_arguments(description, arguments=None):
    """Return the namespace of all flags, of the run to go on with if it is one.

    Args:
        description: text above the flags in `--help`.
        arguments: list of str, None for those of the command line.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)

    def group(title, **flags):
        arguments = parser.add_argument_group(title)
        for name, (kind, default, text) in flags.items():
            arguments.add_argument(
                "--" + name.replace("_", "-"),
                type=kind,
                default=default,
                help=f"{text} (default: %(default)s)",
            )
        return arguments

    group(
        "words",
        min_frequency=(count, 2, "words seen less often in training become unknown"),
        max_length=(count, 128, "words after this many are cut off"),
    )
    architecture = group(
        "architecture",
        embedding_size=(count, 256, "width of a word's vector"),
        hidden_size=(count, 64, "width of one direction of an LSTM layer"),
        layers=(count, 3, "LSTM layers"),
    )
    architecture.add_argument(
        "--directions",
        type=int,
        choices=(1, 2),
        default=2,
        help="1 reads forwards only, which takes half the time (default: %(default)s)",
    )
    architecture.add_argument(
        "--pooling",
        choices=("last", "max", "last+max"),
        default="last+max",
        help="how a text's states become one vector (default: %(default)s)",
    )
    group(
        "regularisation",
        dropout=(rate, 0.3, "rate between LSTM layers and before the linear layer"),
        embedding_dropout=(rate, 0.3, "rate on word vectors"),
        word_dropout=(rate, 0.1, "share of words shown as unknown"),
        weight_decay=(amount, 0.01, "AdamW's decoupled weight decay"),
        label_smoothing=(rate, 0.0, "share of the label spread over all classes"),
        ema=(rate, 0.998, "decay a step of the averaged weights, the ones saved; 0: no average"),
    ).add_argument(
        "--balance",
        choices=("none", "loss", "sampler", "logits"),
        default="none",
        help="give rare classes more weight: in the loss, by drawing them more often, or by a "
        "bonus on their logits in training (default: %(default)s)",
    )
    group(
        "optimisation",
        epochs=(count, 12, "passes over the training split"),
        batch_size=(count, 64, "texts a step, over all processes"),
        lr=(amount, 2e-3, "peak learning rate of AdamW"),
        clip=(amount, 1.0, "largest norm of the gradient"),
    ).add_argument(
        "--schedule",
        choices=("one-cycle", "constant"),
        default="one-cycle",
        help="learning rate over the run (default: %(default)s)",
    )
    teaching = group(
        "learning from other models",
        distillation_weight=(rate, 0.7, "share of the loss that is distance to the teachers"),
        temperature=(positive, 2.0, "softens the answers of both sides in that distance"),
    )
    teaching.add_argument(
        "--teacher",
        nargs="+",
        metavar="MODEL",
        help="folders or Hub ids of LSTMs and transformers, whose mean logits are learnt from",
    )
    teaching.add_argument(
        "--unlabelled",
        nargs="+",
        metavar="SOURCE",
        help="more texts for the teachers to answer: a file, a folder, or a Hub id, with a colon "
        f"and its configuration if it has several; {HELD_OUT:,} are kept for test_raw.py",
    )
    teaching.add_argument(
        "--embeddings",
        metavar="SOURCE",
        help="word vectors to start from: a text file as GloVe's or fastText's, an LSTM, or a "
        "transformer",
    )
    run = parser.add_argument_group("run")
    run.add_argument(
        "--preset", choices=PRESETS, help="other defaults; flags beside it still have the last word"
    )
    run.add_argument(
        "--output",
        type=Path,
        default=Path("checkpoints/run"),
        help="folder of the run (default: %(default)s)",
    )
    run.add_argument(
        "--seeds",
        "--seed",
        type=seed,
        nargs="+",
        help="of weights, order and dropout (default: 0); several make a run each, in "
        "OUTPUT-seed<number>, and OUTPUT gets the checkpoint that is best on validation",
    )
    run.add_argument(
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: a GPU if there is one (default: %(default)s)",
    )
    run.add_argument(
        "--amp",
        choices=("bf16", "fp16", "no"),
        default="no",
        help="number format of what can be computed in half precision; it pays for wide layers, "
        "not at the default size (default: %(default)s)",
    )
    former = run.add_mutually_exclusive_group()
    former.add_argument(
        "--resume", action="store_true", help="go on from the last finished epoch of --output"
    )
    former.add_argument("--overwrite", action="store_true", help="replace the run in --output")
    run.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard")

    args = parser.parse_args(arguments)
    if args.preset:
        parser.set_defaults(**PRESETS[args.preset])
        args = parser.parse_args(arguments)
    if args.unlabelled and not args.teacher:
        raise InputError("--unlabelled: these texts need a --teacher to learn from")
    if args.resume:
        from history import STATE, read_state  # here, because it imports PyTorch

        # A run goes on with its own settings; a flag that says otherwise is a mistake.
        begun = [folder for folder in run_folders(args).values() if (folder / STATE).exists()]
        saved = json.loads(read_state(begun[0] if begun else args.output)[1]["arguments"])
        begun_with = saved.pop("seed")
        if len(args.seeds or [0]) == 1:
            saved["seeds"] = [begun_with]
        parser.set_defaults(**saved)
        args = parser.parse_args(arguments)
        for name, value in saved.items():
            if getattr(args, name) != value:
                flag = "--" + name.replace("_", "-")
                raise InputError(f"{flag}: the run in {args.output} was started with {value}")
    args.seeds = args.seeds or [0]
    return args


def run_folders(args):
    """Return {seed: folder of its run}."""
    if len(args.seeds or [0]) == 1:
        return {(args.seeds or [0])[0]: args.output}
    return {seed: args.output.with_name(f"{args.output.name}-seed{seed}") for seed in args.seeds}
