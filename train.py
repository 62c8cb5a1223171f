"""Train the LSTM emotion classifier and keep the best checkpoint by validation macro-F1.

python train.py                      # the best recipe, on dair-ai/emotion
python train.py --preset baseline    # the reference configuration
python train.py --seeds 0 1 2 3 4    # five runs, their mean and spread, and the best of them
python train.py --teacher checkpoints/bert-base-uncased --unlabelled tweets.txt   # distilled
"""

import argparse
import copy
import json
import math
import shutil
import signal
import statistics
import sys
import time
from pathlib import Path

from arguments import NOT_SAVED, parse_arguments, run_folders
from checkpoint import ONNX, WEIGHTS
from errors import InputError, one_line_errors

if __name__ == "__main__":  # before PyTorch is imported, so that --help answers at once
    with one_line_errors():
        ARGUMENTS = parse_arguments(__doc__)

import torch
from accelerate import Accelerator, PartialState
from torch import nn
from tqdm import tqdm

from batches import Batches, make_tokenizer, share
from data import load_corpus
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
from metrics import SCORES, fit_temperature, hardware, predict, quality
from model import EmotionLSTM, load_checkpoint, model_card, save_checkpoint
from teachers import distance_to_teacher, teacher_logits, unlabelled_texts, word_vectors
from text import PADDING_ID, UNKNOWN_ID

RUN_FILES = (STATE, WEIGHTS, ONNX, "history.csv", "curves.png")
IGNORED = -100  # label of a text that has none, for the loss to pass over


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


def balance(labels, classes, how):
    """Return what gives rare classes more weight: (loss weights, row weights, logit bonus).

    Args:
        labels: list of int, IGNORED for unlabelled rows.
        classes: number of classes.
        how: "none"; "loss" and "sampler" (every class as much as any other, in the loss or by how
            often its rows are drawn); or "logits", which adds the log of the classes' frequencies
            in training only (Menon et al. 2021, "Long-tail Learning via Logit Adjustment").

    Returns:
        (classes,) or None, (rows,) or None, (classes,) zeros unless `how` is "logits".
    """
    labels = torch.tensor(labels)
    counts = labels[labels != IGNORED].bincount(minlength=classes).clamp(min=1)
    weights = counts.sum() / (classes * counts)  # 1 on average over the rows
    by_row = torch.where(labels == IGNORED, 1.0, weights[labels.clamp(min=0)])
    return (
        weights if how == "loss" else None,
        by_row if how == "sampler" else None,
        (counts / counts.sum()).log() if how == "logits" else torch.zeros(classes),
    )


def save_best(folder, model, tokenizer, row):
    """Save a checkpoint whose card says which row of the history it is from."""
    made = (
        f"Epoch {row['epoch']}, the best by validation macro-F1: {row['macro_f1']:.4f} (accuracy "
        f"{row['accuracy']:.4f})."
    )
    save_checkpoint(folder, model, tokenizer, model_card(model, folder, made))


def train(args, after_epoch=None):
    """Train one model in `args.output`.

    Args:
        args: namespace of all flags, with `seed` in place of `seeds`.
        after_epoch: called with each row of the history; an exception it raises ends the run.

    Returns:
        the history's row of the best epoch.
    """
    on_cpu = args.device == "cpu" or not torch.cuda.is_available()
    if on_cpu and args.device == "cuda":
        raise InputError("--device cuda: PyTorch sees no GPU")
    if on_cpu and args.amp == "fp16":
        raise InputError("--amp fp16: it needs a GPU")
    accelerator = Accelerator(cpu=on_cpu, mixed_precision=args.amp)
    device, is_main = accelerator.device, accelerator.is_main_process
    index, processes = accelerator.process_index, accelerator.num_processes

    # Data
    corpus = load_corpus(args, splits=("train", "validation"))
    labelled, validation = corpus.splits["train"], corpus.splits["validation"]
    more, origin = [], corpus.provenance
    if args.unlabelled:
        known = labelled.texts + validation.texts
        more, _ = unlabelled_texts(args.unlabelled, args.text_column, exclude=known)
    if args.teacher:
        # Apart, since each is kept for the runs that have it in common.
        parts = [part for part in (labelled.texts, more) if part]
        with accelerator.main_process_first():
            answers = [teacher_logits(args.teacher, part, corpus.classes, device) for part in parts]
        teacher = torch.cat(answers).to(device)
        names = [Path(name).name if Path(name).exists() else name for name in args.teacher]
        origin = {**origin, "teachers": names, "unlabelled": len(more)}
    texts, labels = labelled.texts + more, labelled.labels + [IGNORED] * len(more)
    tokenizer = make_tokenizer(texts, args.min_frequency, args.max_length)
    class_weights, row_weights, bonus = balance(labels, len(corpus.classes), args.balance)
    generator = torch.Generator().manual_seed(args.seed)
    shape = {"batch_size": args.batch_size, "device": device}
    order = {"generator": generator, "weights": row_weights}
    batches = Batches(tokenizer, texts, labels, **order, **shape)
    validation_batches = Batches(tokenizer, validation.texts, **shape)
    targets = torch.tensor(validation.labels)
    bonus = bonus.to(device)

    # Model
    torch.manual_seed(args.seed)
    model = EmotionLSTM(
        classes=corpus.classes,
        vocabulary_size=tokenizer.get_vocab_size(),
        embedding_size=args.embedding_size,
        hidden_size=args.hidden_size,
        layers=args.layers,
        directions=args.directions,
        pooling=args.pooling,
        dropout=args.dropout,
        embedding_dropout=args.embedding_dropout,
        word_dropout=args.word_dropout,
        padding_id=PADDING_ID,
        unknown_id=UNKNOWN_ID,
        data=origin,
    )
    if args.embeddings:
        words = sorted(tokenizer.get_vocab(), key=tokenizer.token_to_id)
        vectors = word_vectors(args.embeddings, words, args.embedding_size, device)
        vectors[PADDING_ID] = 0
        model.embedding.load_state_dict({"weight": vectors})
    model.to(device)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=args.lr, weight_decay=args.weight_decay, fused=True
    )
    criterion = nn.CrossEntropyLoss(
        class_weights,
        ignore_index=IGNORED,
        label_smoothing=args.label_smoothing,
        reduction="sum",  # a batch may hold no labelled text
    ).to(device)
    # An average of the weights over the last few hundred steps generalises better than the
    # weights of any one step (Polyak and Juditsky 1992).
    average = copy.deepcopy(model) if args.ema else model
    # The same weights, in the number format of --amp and with the gradients of all processes.
    network, optimizer = accelerator.prepare(model, optimizer)

    modules = {"model": model} | ({"average": average} if args.ema else {})
    arguments = {key: value for key, value in vars(args).items() if key not in NOT_SAVED}
    history = []
    if args.resume:
        tensors, metadata = read_state(args.output)
        if json.loads(metadata["data"]) != origin:
            raise InputError(f"--resume: {corpus.name} is not the data that the run began with")
        restore_state(tensors, modules, optimizer, generator)
        history = json.loads(metadata["history"])

    def save():  # what the main process knows is what any number of processes goes on with
        save_state(args.output, arguments, origin, history, modules, optimizer, generator)

    if args.overwrite and is_main:  # not before all that can go wrong with flags and data has
        for name in RUN_FILES:
            (args.output / name).unlink(missing_ok=True)
    if is_main and not history:
        save()  # so that a run killed in its first epoch can be resumed too
    writer = None
    if is_main and args.tensorboard:
        from torch.utils.tensorboard import SummaryWriter

        writer = SummaryWriter(args.output)

    if is_main:
        print(
            f"Training an LSTM of {model.parameter_count:,} parameters ({args.embedding_size}/"
            f"{args.hidden_size}/{args.layers}, {tokenizer.get_vocab_size():,} words) on "
            f"{corpus.name}: {len(labelled.texts):,} texts"
            f"{f' and {len(more):,} unlabelled' if more else ''}, "
            f"validated on {len(validation.texts):,}; {hardware(device.type)}"
            f"{f', {processes} processes' if processes > 1 else ''}; seed {args.seed}\n{header()}"
        )

    steps = args.epochs * len(batches)
    first = len(history)
    shown = {"disable": None if is_main else True, "unit": "step", "leave": False}
    bar = tqdm(total=steps, initial=first * len(batches), **shown)
    best = max(history, key=lambda row: row["macro_f1"], default=None)
    try:
        for epoch in range(first + 1, args.epochs + 1):
            start = time.perf_counter()
            if not is_main:  # dropout of its own, which a resumed run repeats
                torch.manual_seed(hash((args.seed, epoch, index)))
            model.train()
            total = torch.zeros((), device=device)
            step = (epoch - 1) * len(batches)
            for batch in batches:
                for parameters in optimizer.param_groups:
                    parameters["lr"] = learning_rate(step, steps, args)
                (tokens, lengths, labels, rows), weight = share(batch, index, processes)
                logits = network(tokens, lengths)
                loss = criterion(logits + bonus, labels) / len(labels)
                if args.teacher:
                    there = rows.to(device, non_blocking=True)
                    distance = distance_to_teacher(logits, teacher[there], args.temperature)
                    loss += args.distillation_weight * (distance - loss)
                optimizer.zero_grad()
                accelerator.backward(loss * weight * processes)  # which are averaged
                accelerator.clip_grad_norm_(model.parameters(), args.clip)
                optimizer.step()
                step += 1
                if args.ema:
                    update_average(average, model, min(args.ema, step / (step + 9)))
                total += loss.detach() * weight * len(batch[-1])
                bar.update()

            total = accelerator.reduce(total, "sum")
            # Each process labels all rows, which takes no longer than to share them out.
            logits = predict(average.eval(), validation_batches)
            if not (total.isfinite() and logits.isfinite().all()):
                kept = f"epoch {best['epoch']} is kept in {args.output}" if best else "none is kept"
                raise InputError(f"epoch {epoch}: the loss is not finite; {kept}; try a lower --lr")
            scores = quality(validation.labels, logits.argmax(dim=1).tolist(), corpus.classes)
            row = {
                "epoch": epoch,
                "train_loss": total.item() / len(texts),
                "validation_loss": nn.functional.cross_entropy(logits, targets).item(),
                **{name: scores[name] for name in SCORES},
                "seconds": time.perf_counter() - start,
            }
            history.append(row)
            is_best = best is None or row["macro_f1"] > best["macro_f1"]
            if is_best:
                best = row
            if is_main:
                if is_best:
                    save_best(args.output, average, tokenizer, row)
                # The history first: a run killed in between repeats the epoch and its line.
                write_history(history, args.output / "history.csv")
                save()
                bar.write(line(row, is_best), file=sys.stdout)
            if writer:
                for name in COLUMNS:
                    writer.add_scalar(name, row[name], epoch)
            if after_epoch:
                after_epoch(row)
    finally:
        bar.close()
        if best and is_main:
            plot_history(history, best, args.output / "curves.png")
    if not is_main:
        return best
    # How sure the model may be, learnt on texts that it was not trained on.
    model, tokenizer = load_checkpoint(args.output)
    model.temperature.fill_(1)
    logits = predict(model.to(device), validation_batches)
    model.temperature.fill_(fit_temperature(logits, validation.labels))
    save_best(args.output, model.cpu(), tokenizer, best)
    print(
        f"best epoch {best['epoch']}: validation macro-F1 {best['macro_f1']:.4f}, accuracy "
        f"{best['accuracy']:.4f}; saved in {args.output}\n"
        f"evaluate it: python test.py --checkpoint {args.output}"
    )
    return best


def stop(*_):
    """End the run as Ctrl-C does: what launchers and clusters ask for with SIGTERM."""
    raise KeyboardInterrupt


def main(args):
    sys.stdout.reconfigure(line_buffering=True)  # a line an epoch, also through a pipe
    signal.signal(signal.SIGTERM, stop)
    folders = run_folders(args)
    for folder in {args.output, *folders.values()}:
        if list(folder.glob("[!.]*")) and not args.resume and not args.overwrite:
            raise InputError(
                f"{folder} is not empty: --resume goes on with the run in it, --overwrite "
                "replaces it, --output puts this one elsewhere"
            )
    best = {}
    for seed, folder in folders.items():
        resume = args.resume and (folder / STATE).exists()
        run = {**vars(args), "seed": seed, "output": folder, "resume": resume}
        seeds = f" --seeds {' '.join(map(str, folders))}" if len(folders) > 1 else ""
        go_on = f"go on with: python train.py --resume{seeds} --output {args.output}"
        try:
            best[seed] = train(argparse.Namespace(**run))
        except KeyboardInterrupt:
            kept = (folder / WEIGHTS).exists()
            if PartialState().process_index < 2:  # the first may be the one that was killed
                best_so_far = f"the best so far is in {folder}; " if kept else ""
                print(f"interrupted: {best_so_far}{go_on}", file=sys.stderr)
            sys.exit(130)
        except RuntimeError as error:
            # What is left of several processes when one is gone; any other is a bug.
            if not isinstance(error, torch.distributed.DistError) and "gloo" not in str(error):
                raise
            raise InputError(f"another process is gone: {error}; {go_on}") from None
    if len(folders) > 1 and PartialState().is_main_process:
        for name in ("macro_f1", "accuracy"):
            values = [row[name] for row in best.values()]
            print(
                f"validation {SCORES[name]}, {len(values)} seeds: {statistics.fmean(values):.4f} "
                f"± {statistics.stdev(values):.4f}"
            )
        seed = max(best, key=lambda seed: best[seed]["macro_f1"])
        model, tokenizer = load_checkpoint(folders[seed])
        save_best(args.output, model, tokenizer, best[seed])
        for name in ("history.csv", "curves.png"):
            shutil.copy(folders[seed] / name, args.output)
        for name in (STATE, ONNX):  # of what was here before
            (args.output / name).unlink(missing_ok=True)
        print(f"seed {seed} is the best on validation: copied to {args.output}")
    PartialState().destroy_process_group()


if __name__ == "__main__":
    with one_line_errors():
        main(ARGUMENTS)
