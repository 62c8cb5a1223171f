"""Make a trained checkpoint smaller and faster, and print what that costs.

python compress.py                                          # the shipped one, in every format
python compress.py checkpoints/run --to onnx-int8
python compress.py checkpoints/run --words 5000 --embedding-size 64 --hidden-size 64 --epochs 4

Formats: fp16 and int8 are `model.safetensors` in fewer bytes; onnx and onnx-int8 are a `model.onnx`
that needs no PyTorch. All compute in fp32 on a CPU, which has no faster way for models this small.
"""

import argparse
import copy
from pathlib import Path

import torch
from torch import nn
from tqdm import tqdm

from batches import Batches
from checkpoint import (
    ONNX,
    SHIPPED,
    WEIGHTS,
    find_checkpoint,
    read_config,
    read_weights,
    size_on_disk,
    write_weights,
)
from data import add_data_arguments, load_corpus
from engine import load_onnx, to_onnx
from errors import InputError, one_line_errors, replacing_files
from metrics import REPEATS, fit_temperature, hardware, predict, quality, time_batches
from model import load_checkpoint, model_card, save_checkpoint
from prune import prune
from tables import RESULTS, compressed_table, describe_data, save_result
from teachers import distance_to_teacher

FORMATS = ("fp32", "fp16", "int8", "onnx", "onnx-int8")
TOLERANCE = 1e-4  # how far the logits of an exported model may be from PyTorch's


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "checkpoint",
        nargs="?",
        default=SHIPPED,
        help="folder or Hub id (default: checkpoints/lstm)",
    )
    parser.add_argument(
        "--to",
        nargs="+",
        choices=FORMATS,
        default=FORMATS[1:],
        help=f"formats, a folder each (default: {' '.join(FORMATS[1:])})",
    )
    parser.add_argument(
        "--output",
        type=Path,
        help="folder to write; -<format> is added if there are several (default: the checkpoint's "
        "folder, with -pruned and -<format> added)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what is there")
    parser.add_argument("--split", default="test", help="to evaluate on (default: %(default)s)")
    parser.add_argument("--threads", type=int, help="CPU threads (default: one a core)")
    parser.add_argument("--name", help="name of the result (default: that of the output)")
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS / "compressed",
        help="folder of the results (default: results/compressed)",
    )
    prune = parser.add_argument_group("pruning, before anything else")
    prune.add_argument(
        "--words", type=int, help="most frequent words to keep, with [PAD] and [UNK]"
    )
    prune.add_argument("--embedding-size", type=int, help="width of a word's vector to keep")
    prune.add_argument("--hidden-size", type=int, help="units a layer and direction to keep")
    prune.add_argument(
        "--epochs",
        type=int,
        default=0,
        help="passes over the training split to learn from the unpruned model (default: 0)",
    )
    prune.add_argument("--lr", type=float, default=2e-3, help="peak (default: %(default)s)")
    prune.add_argument("--seed", type=int, default=0, help="of order and dropout (default: 0)")
    add_data_arguments(parser)
    args = parser.parse_args()
    for flag in ("words", "embedding_size", "hidden_size", "threads"):
        if getattr(args, flag) is not None and getattr(args, flag) < 1:
            raise InputError(f"--{flag.replace('_', '-')}: must be at least 1")
    if args.epochs < 0:
        raise InputError("--epochs: must be at least 0")
    if args.epochs and not any((args.words, args.embedding_size, args.hidden_size)):
        raise InputError("--epochs: there is nothing to learn again when nothing is pruned")
    return args


def learn_again(model, tokenizer, original, corpus, args):
    """Let the pruned model learn the original's answers on the training texts, in place.

    Only the answers count, not the labels, which the original has seen already. Keeps the epoch
    that is best on validation.

    Args:
        model, tokenizer: the pruned ones.
        original: (model, tokenizer).
        corpus: with the splits `train` and `validation`.
        args: namespace with `epochs`, `lr` and `seed`.
    """
    texts, validation = corpus.splits["train"].texts, corpus.splits["validation"]
    taught = predict(original[0], Batches(original[1], texts, batch_size=64))
    torch.manual_seed(args.seed)
    generator = torch.Generator().manual_seed(args.seed)
    batches = Batches(tokenizer, texts, batch_size=64, generator=generator)
    held_out = Batches(tokenizer, validation.texts, batch_size=64)
    optimizer = torch.optim.AdamW(model.parameters(), lr=args.lr)
    steps = args.epochs * len(batches)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    best, kept = -1.0, None
    with tqdm(total=steps, desc="learning again", disable=None, leave=False) as bar:
        for _ in range(args.epochs):
            model.train()
            for tokens, lengths, _, rows in batches:
                loss = distance_to_teacher(model(tokens, lengths), taught[rows], temperature=2.0)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(model.parameters(), 1.0)
                optimizer.step()
                schedule.step()
                bar.update()
            logits = predict(model.eval(), held_out)
            answers = logits.argmax(dim=1).tolist()
            score = quality(validation.labels, answers, corpus.classes)["macro_f1"]
            if score > best:
                best, kept = score, copy.deepcopy(model.state_dict())
                temperature = model.temperature * fit_temperature(logits, validation.labels)
    model.load_state_dict({**kept, "temperature": temperature})


def write(folder, model, tokenizer, form):
    """Write a checkpoint in one of FORMATS, its card empty."""
    save_checkpoint(folder, model, tokenizer, model_card="")
    weights = read_weights(folder / WEIGHTS)
    if form.startswith("onnx"):
        graph = to_onnx(read_config(folder), weights, int8=form == "onnx-int8")
        (folder / ONNX).write_bytes(graph.SerializeToString())
        (folder / WEIGHTS).unlink()
    else:
        write_weights(folder / WEIGHTS, weights, form)


def describe(name, model, tokenizer, split, expected, size):
    """Measure one variant on the split's texts; return its row of the table.

    Args:
        name: what the row is called.
        model, tokenizer: PyTorch's or ONNX Runtime's.
        split: data.Split.
        expected: (texts, classes) the original's logits, or None if this is the original.
        size: bytes on disk.

    Returns:
        (dict, (texts, classes) logits).
    """
    batches = Batches(tokenizer, split.texts)
    logits = predict(model, batches)
    answers = logits.argmax(dim=1)
    same = answers == (logits if expected is None else expected).argmax(dim=1)
    scores = quality(split.labels, answers.tolist(), model.classes)
    row = {
        "name": name,
        "bytes": size,
        "accuracy": scores["accuracy"],
        "macro_f1": scores["macro_f1"],
        "agreement": same.float().mean().item(),
    }
    for batch_size in (32, 1):
        few = [batch[:2] for batch in Batches(tokenizer, split.texts, batch_size=batch_size)]
        with torch.inference_mode():
            row[f"ms_{batch_size}"] = time_batches(lambda batch: model(*batch), few, "cpu")
    return row, logits


def main():
    args = parse_arguments()
    if args.threads:
        torch.set_num_threads(args.threads)
    source = find_checkpoint(args.checkpoint)
    original = load_checkpoint(source)
    model, tokenizer = original
    pruning = {name: getattr(args, name) for name in ("words", "embedding_size", "hidden_size")}
    pruned = any(pruning.values())
    name = Path(args.checkpoint).absolute().name
    output = args.output or Path("checkpoints") / (name + ("-pruned" if pruned else ""))
    several = len(args.to) > 1 or not args.output
    folders = {
        form: output.with_name(f"{output.name}-{form}") if several else output for form in args.to
    }
    for folder in folders.values():
        if folder.exists() and folder.samefile(source):
            raise InputError(f"{folder}: is the checkpoint itself")
        if folder.exists() and any(folder.iterdir()) and not args.overwrite:
            raise InputError(f"{folder} is not empty: --overwrite replaces what is in it")
    splits = ["train", "validation"] if args.epochs else []
    splits = list(dict.fromkeys([*splits, args.split]))
    corpus = load_corpus(args, splits, classes=model.classes)
    split = corpus.splits[args.split]

    if pruned:
        model, tokenizer = prune(model, tokenizer, **pruning)
    if args.epochs:
        learn_again(model, tokenizer, original, corpus, args)

    row, answers = describe(
        f"{name}, PyTorch", *original, split, None, size_on_disk(source, WEIGHTS)
    )
    rows = [row]
    target = predict(model, Batches(tokenizer, split.texts)) if pruned else answers
    flags = {**pruning, "epochs": args.epochs}
    flags = "".join(f", --{flag.replace('_', '-')} {n}" for flag, n in flags.items() if n)
    for form, folder in folders.items():
        file, other = (ONNX, WEIGHTS) if form.startswith("onnx") else (WEIGHTS, ONNX)
        with replacing_files(folder) as temporary:
            write(temporary, model, tokenizer, form)
            engine, _ = load_onnx(temporary, args.threads)
            row, logits = describe(
                folder.name, engine, tokenizer, split, answers, size_on_disk(temporary, file)
            )
            rows.append(row)
            off = (logits - target).abs().max().item()
            same = torch.equal(logits.argmax(dim=1), target.argmax(dim=1))
            if form in ("fp32", "onnx") and not (same and off < TOLERANCE):
                raise InputError(f"{folder}: its logits are off by up to {off:.1g} from PyTorch's")
            made = (
                f"Made of `{name}` by compress.py: {form}{flags}; {row['bytes'] / 1e6:.2f} MB. On "
                f"the {len(split.texts):,} rows of `{corpus.name}`'s split {args.split}: macro-F1 "
                f"{row['macro_f1']:.4f} (accuracy {row['accuracy']:.4f}), and `{name}`'s answer to "
                f"{row['agreement']:.2%} of them."
            )
            card = model_card(model, folder, made)
            (temporary / "README.md").write_text(card, encoding="utf-8")
            (folder / other).unlink(missing_ok=True)  # of a model that was here before

    result = {
        "name": args.name or output.name,
        "data": describe_data(corpus, args.split),
        "hardware": hardware("cpu"),
        "repeats": REPEATS,
        "rows": rows,
    }
    save_result(result, args.results)
    print(compressed_table(result))
    print(f"\nwritten: {', '.join(map(str, folders.values()))}")


if __name__ == "__main__":
    with one_line_errors():
        main()
