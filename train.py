"""Train the LSTM emotion classifier and keep the best checkpoint by validation macro-F1.

python train.py                      # the best recipe, on dair-ai/emotion
python train.py --preset baseline    # the reference configuration
"""

import argparse
import copy
import json
import math
import sys
import time
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from data import PADDING_ID, UNKNOWN_ID, Batches, add_data_arguments, load_corpus, train_tokenizer
from errors import InputError, one_line_errors
from history import (
    COLUMNS,
    STATE,
    header,
    line,
    plot_history,
    read_state,
    restore_state,
    save_state,
    write_history,
)
from metrics import SCORES, hardware, predict, quality
from model import EmotionLSTM, model_card, save_checkpoint

RUN_FILES = (STATE, "model.safetensors", "history.csv", "curves.png")
NOT_SAVED = ("output", "device", "resume", "overwrite", "tensorboard")
# The reference configuration: what a good engineer writes first.
PRESETS = {
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
    }
}


def count(text):
    """A whole number of at least 1."""
    number = int(text)
    if not 1 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1 and less than 2^31")
    return number


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


def amount(text):
    """A number of at least 0."""
    number = float(text)
    if not number >= 0:  # nor NaN
        raise argparse.ArgumentTypeError(f"{text}: must be at least 0")
    return number


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
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
    group(
        "architecture",
        embedding_size=(count, 256, "width of a word's vector"),
        hidden_size=(count, 64, "width of one direction of an LSTM layer"),
        layers=(count, 3, "LSTM layers"),
    ).add_argument(
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
    )
    group(
        "optimisation",
        epochs=(count, 12, "passes over the training split"),
        batch_size=(count, 64, "texts a step"),
        lr=(amount, 2e-3, "peak learning rate of AdamW"),
        clip=(amount, 1.0, "largest norm of the gradient"),
        seed=(seed, 0, "of weights, order and dropout"),
    ).add_argument(
        "--schedule",
        choices=("one-cycle", "constant"),
        default="one-cycle",
        help="learning rate over the run (default: %(default)s)",
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
        "--device",
        choices=("auto", "cpu", "cuda"),
        default="auto",
        help="auto: a GPU if there is one (default: %(default)s)",
    )
    former = run.add_mutually_exclusive_group()
    former.add_argument(
        "--resume", action="store_true", help="go on from the last finished epoch of --output"
    )
    former.add_argument("--overwrite", action="store_true", help="replace the run in --output")
    run.add_argument("--tensorboard", action="store_true", help="write events for TensorBoard")

    args = parser.parse_args()
    if args.preset:
        parser.set_defaults(**PRESETS[args.preset])
        args = parser.parse_args()
    if args.resume:
        # A run goes on with its own settings; a flag that says otherwise is a mistake.
        saved = json.loads(read_state(args.output)[1]["arguments"])
        parser.set_defaults(**saved)
        args = parser.parse_args()
        for name, value in saved.items():
            if getattr(args, name) != value:
                flag = "--" + name.replace("_", "-")
                raise InputError(f"{flag}: the run in {args.output} was started with {value}")
    return args


def learning_rate(step, steps, args):
    """Learning rate at `step` of `steps`.

    One-cycle (Smith and Topin 2019, "Super-Convergence"): a cosine from a 25th of the peak up to
    the peak over the first 30 %, then a cosine down to nothing.
    """
    if args.schedule == "constant":
        return args.lr
    rise = 0.3 * steps
    if step < rise:
        low, progress = args.lr / 25, step / rise
    else:
        low, progress = 0.0, 1 - (step - rise) / (steps - rise)
    return low + (args.lr - low) * (1 - math.cos(math.pi * progress)) / 2


@torch.no_grad()
def update_average(average, model, decay):
    """Move the averaged weights a step of 1 - `decay` towards the model's."""
    for mean, weight in zip(average.parameters(), model.parameters(), strict=True):
        mean.lerp_(weight, 1 - decay)


def main():
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a line an epoch, also through a pipe
    if list(args.output.glob("[!.]*")) and not args.resume and not args.overwrite:
        raise InputError(
            f"{args.output} is not empty: --resume goes on with the run in it, --overwrite "
            "replaces it, --output puts this one elsewhere"
        )
    device = args.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    elif device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no GPU")

    # Data
    corpus = load_corpus(args, splits=("train", "validation"))
    train, validation = corpus.splits["train"], corpus.splits["validation"]
    tokenizer = train_tokenizer(train.texts, args.min_frequency, args.max_length)
    generator = torch.Generator().manual_seed(args.seed)
    shape = {"batch_size": args.batch_size, "device": device}
    batches = Batches(tokenizer, train.texts, train.labels, generator=generator, **shape)
    validation_batches = Batches(tokenizer, validation.texts, **shape)
    targets = torch.tensor(validation.labels)

    # Model
    torch.manual_seed(args.seed)
    model = EmotionLSTM(
        classes=corpus.classes,
        vocabulary_size=tokenizer.get_vocab_size(),
        embedding_size=args.embedding_size,
        hidden_size=args.hidden_size,
        layers=args.layers,
        pooling=args.pooling,
        dropout=args.dropout,
        embedding_dropout=args.embedding_dropout,
        word_dropout=args.word_dropout,
        padding_id=PADDING_ID,
        unknown_id=UNKNOWN_ID,
        data=corpus.provenance,
    ).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr, weight_decay=args.weight_decay)
    criterion = nn.CrossEntropyLoss(label_smoothing=args.label_smoothing)
    # An average of the weights over the last few hundred steps generalises better than the
    # weights of any one step (Polyak and Juditsky 1992).
    average = copy.deepcopy(model) if args.ema else model

    modules = {"model": model} | ({"average": average} if args.ema else {})
    arguments = {key: value for key, value in vars(args).items() if key not in NOT_SAVED}
    history = []
    if args.resume:
        tensors, metadata = read_state(args.output)
        if json.loads(metadata["data"]) != corpus.provenance:
            raise InputError(f"--resume: {corpus.name} is not the data that the run began with")
        restore_state(tensors, modules, optimizer, generator)
        history = json.loads(metadata["history"])

    def save():
        save_state(
            args.output, arguments, corpus.provenance, history, modules, optimizer, generator
        )

    if args.overwrite:  # not before all that can go wrong with the new run's flags and data has
        for name in RUN_FILES:
            (args.output / name).unlink(missing_ok=True)
    if not history:
        save()  # so that a run killed in its first epoch can be resumed too
    writer = None
    if args.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(args.output)

    print(
        f"Training an LSTM of {model.parameter_count:,} parameters "
        f"({args.embedding_size}/{args.hidden_size}/{args.layers}, {tokenizer.get_vocab_size():,} "
        f"words) on {corpus.name}: {len(train.texts):,} texts, validated on "
        f"{len(validation.texts):,}; {hardware(device)}; seed {args.seed}"
    )
    print(header())

    steps = args.epochs * len(batches)
    first = len(history)
    bar = tqdm(total=steps, initial=first * len(batches), disable=None, unit="step", leave=False)
    best = max(history, key=lambda row: row["macro_f1"], default=None)
    try:
        for epoch in range(first + 1, args.epochs + 1):
            start = time.perf_counter()
            model.train()
            total = torch.zeros((), device=device)
            step = (epoch - 1) * len(batches)
            for tokens, lengths, labels, _ in batches:
                for parameters in optimizer.param_groups:
                    parameters["lr"] = learning_rate(step, steps, args)
                loss = criterion(model(tokens, lengths), labels)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), args.clip)
                optimizer.step()
                step += 1
                if args.ema:
                    update_average(average, model, min(args.ema, step / (step + 9)))
                total += loss.detach() * len(labels)
                bar.update()

            logits = predict(average.eval(), validation_batches)
            if not (total.isfinite() and logits.isfinite().all()):
                kept = f"epoch {best['epoch']} is kept in {args.output}" if best else "none is kept"
                raise InputError(f"epoch {epoch}: the loss is not finite; {kept}; try a lower --lr")
            scores = quality(validation.labels, logits.argmax(dim=1).tolist(), corpus.classes)
            row = {
                "epoch": epoch,
                "train_loss": total.item() / len(train.texts),
                "validation_loss": nn.functional.cross_entropy(logits, targets).item(),
                **{name: scores[name] for name in SCORES},
                "seconds": time.perf_counter() - start,
            }
            history.append(row)
            is_best = best is None or row["macro_f1"] > best["macro_f1"]
            if is_best:
                best = row
                card = model_card(average, args.output, row)
                save_checkpoint(args.output, average, tokenizer, card)
            # The history first: a run killed in between repeats the epoch and its line.
            write_history(history, args.output / "history.csv")
            save()
            if writer:
                for name in COLUMNS:
                    writer.add_scalar(name, row[name], epoch)
            bar.write(line(row, is_best), file=sys.stdout)
    except KeyboardInterrupt:
        kept = f"the best so far, epoch {best['epoch']}, is in {args.output}; " if best else ""
        bar.close()
        print(
            f"interrupted: {kept}go on with: python train.py --resume --output {args.output}",
            file=sys.stderr,
        )
        sys.exit(130)
    finally:
        bar.close()
        if best:
            plot_history(history, best, args.output / "curves.png")
    print(
        f"best epoch {best['epoch']}: validation macro-F1 {best['macro_f1']:.4f}, accuracy "
        f"{best['accuracy']:.4f}; saved in {args.output}\n"
        f"evaluate it: python test.py --checkpoint {args.output}"
    )


if __name__ == "__main__":
    with one_line_errors():
        main()
