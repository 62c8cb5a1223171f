"""Fine-tune a pretrained transformer on the same splits: a fair peer for the LSTM.

python train_transformer.py                                        # bert-base-uncased
python train_transformer.py --model FOLDER --lr 1e-4 --output checkpoints/minilm
accelerate launch train_transformer.py                             # on all GPUs
"""

import argparse
import shutil
import sys
import time
from pathlib import Path

import torch

from data import add_data_arguments, load_corpus
from errors import InputError, one_line_errors, replacing_files
from history import header, line, plot_history, write_history
from metrics import SCORES, hardware, quality
from transformer import load_transformer


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    group = parser.add_argument_group("fine-tuning")
    group.add_argument(
        "--model",
        default="bert-base-uncased",
        help="folder or Hub id of a pretrained transformer (default: %(default)s)",
    )
    for flag, kind, default, text in (
        ("--lr", float, 3e-5, "peak learning rate; smaller models want more, MiniLM 1e-4"),
        ("--epochs", int, 4, "passes over the training split"),
        ("--batch-size", int, 32, "texts a step and device"),
        ("--warmup", float, 0.1, "share of the steps in which the learning rate rises"),
        ("--weight-decay", float, 0.01, "AdamW's decoupled weight decay"),
        ("--patience", int, 2, "epochs without a better macro-F1 before it stops"),
        ("--max-length", int, 128, "tokens after this many are cut off in training"),
        ("--seed", int, 0, "of the new head, order and dropout"),
    ):
        group.add_argument(flag, type=kind, default=default, help=f"{text} (default: %(default)s)")
    run = parser.add_argument_group("run")
    run.add_argument(
        "--output", type=Path, help="folder of the run (default: checkpoints/<model's name>)"
    )
    run.add_argument("--allow-pickle", action="store_true", help="accept pickled weights")
    run.add_argument("--resume", action="store_true", help="go on from the last finished epoch")
    run.add_argument("--overwrite", action="store_true", help="replace the run in --output")
    args = parser.parse_args()
    args.output = args.output or Path("checkpoints") / Path(args.model).name
    return args


def main():
    args = parse_arguments()
    sys.stdout.reconfigure(line_buffering=True)  # a line an epoch, also through a pipe
    if args.output.resolve() == Path(args.model).resolve():
        raise InputError(f"--output {args.output} is the model to be fine-tuned; name another")
    steps_folder = args.output / "trainer"  # the Trainer's own state, for --resume
    # A run killed while it saved leaves a folder without this file, which is written last.
    saved = [path.parent for path in steps_folder.glob("checkpoint-*/trainer_state.json")]
    if args.resume and not saved:
        raise InputError(f"--resume: {args.output} holds no run to go on with")
    if args.output.exists() and any(args.output.iterdir()) and not (args.resume or args.overwrite):
        raise InputError(
            f"{args.output} is not empty: --resume goes on with the run in it, --overwrite "
            "replaces it, --output puts this one elsewhere"
        )
    corpus = load_corpus(args, splits=("train", "validation"))
    torch.manual_seed(args.seed)
    model, tokenizer = load_transformer(
        args.model, allow_pickle=args.allow_pickle, new_head=corpus.classes
    )
    model.config.trained_on = corpus.provenance
    import transformers  # after load_transformer, which finds out whether the Hub can be reached
    from datasets import Dataset

    def encode(split):
        inputs = tokenizer(split.texts, truncation=True, max_length=args.max_length)
        return Dataset.from_dict({**inputs, "labels": split.labels})

    def scores(evaluation):
        predictions = evaluation.predictions.argmax(axis=1).tolist()
        all_scores = quality(evaluation.label_ids.tolist(), predictions, corpus.classes)
        return {name: all_scores[name] for name in SCORES}

    class Report(transformers.TrainerCallback):
        """Prints a line an epoch, as train.py does."""

        def on_epoch_begin(self, settings, state, control, **kwargs):
            self.start = time.perf_counter()

        def on_evaluate(self, settings, state, control, **kwargs):
            state.log_history[-1]["seconds"] = time.perf_counter() - self.start
            if state.is_world_process_zero:
                *former, row = epochs(state.log_history)
                print(line(row, all(row["macro_f1"] > other["macro_f1"] for other in former)))

    trainer = transformers.Trainer(
        model,
        transformers.TrainingArguments(
            output_dir=str(steps_folder),
            per_device_train_batch_size=args.batch_size,
            per_device_eval_batch_size=2 * args.batch_size,
            num_train_epochs=args.epochs,
            learning_rate=args.lr,
            warmup_steps=args.warmup,  # below 1 it is a share
            weight_decay=args.weight_decay,
            bf16=torch.cuda.is_available() and torch.cuda.is_bf16_supported(),
            train_sampling_strategy="group_by_length",
            eval_strategy="epoch",
            save_strategy="epoch",
            logging_strategy="epoch",
            save_total_limit=1,  # the best and the last
            load_best_model_at_end=True,
            metric_for_best_model="macro_f1",
            seed=args.seed,
            report_to="none",
            dataloader_pin_memory=torch.cuda.is_available(),
            disable_tqdm=not sys.stderr.isatty(),
        ),
        train_dataset=encode(corpus.splits["train"]),
        eval_dataset=encode(corpus.splits["validation"]),
        data_collator=transformers.DataCollatorWithPadding(tokenizer),
        compute_metrics=scores,
        callbacks=[Report(), transformers.EarlyStoppingCallback(args.patience)],
    )
    # Its own lines would come between ours.
    trainer.remove_callback(transformers.PrinterCallback)
    if trainer.is_world_process_zero():
        print(
            f"Fine-tuning {args.model}, {model.num_parameters():,} parameters, on {corpus.name}: "
            f"{len(corpus.splits['train'].texts):,} texts, validated on "
            f"{len(corpus.splits['validation'].texts):,}; {hardware(trainer.args.device.type)}; "
            f"seed {args.seed}\n{header()}",
            flush=True,
        )
        if args.overwrite:  # not before all that can go wrong with flags, data and model has
            shutil.rmtree(steps_folder, ignore_errors=True)
    try:
        last = max(saved, key=lambda path: int(path.name.split("-")[1]), default=None)
        trainer.train(resume_from_checkpoint=str(last) if args.resume else None)
    except KeyboardInterrupt:
        print("interrupted: go on with the same command and --resume", file=sys.stderr)
        sys.exit(130)
    if not trainer.is_world_process_zero():
        return
    history = epochs(trainer.state.log_history)
    best = max(history, key=lambda row: row["macro_f1"])
    with replacing_files(args.output) as temporary:
        model.save_pretrained(temporary)
        tokenizer.save_pretrained(temporary)
    shutil.rmtree(steps_folder)  # nothing is left to resume
    write_history(history, args.output / "history.csv")
    plot_history(history, best, args.output / "curves.png")
    print(
        f"best epoch {best['epoch']}: validation macro-F1 {best['macro_f1']:.4f}, accuracy "
        f"{best['accuracy']:.4f}; saved in {args.output}\n"
        f"evaluate it: python test_transformer.py --model {args.output}"
    )


def epochs(log):
    """Turn the Trainer's log into rows of a history."""
    losses = {round(entry["epoch"]): entry["loss"] for entry in log if "loss" in entry}
    rows = []
    for entry in log:
        if "eval_loss" in entry:
            epoch = round(entry["epoch"])
            rows.append(
                {
                    "epoch": epoch,
                    "train_loss": losses[epoch],
                    "validation_loss": entry["eval_loss"],
                    **{name: entry[f"eval_{name}"] for name in SCORES},
                    "seconds": entry["seconds"],
                }
            )
    return rows


if __name__ == "__main__":
    with one_line_errors():
        main()
