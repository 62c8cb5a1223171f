"""Search for better hyperparameters of train.py, on validation.

python tune.py --trials 50                         # every flag that can be searched
python tune.py --trials 50 --layers 1 --epochs 6   # train.py's flags: these are fixed
python tune.py --workers 4 --timeout 3600          # for an hour, or until 50 are finished
python tune.py --storage mysql://user@host/tuning  # many machines, one study

The same command again goes on where the last one ended, however it ended.
"""

import argparse
import contextlib
import io
import multiprocessing
import shlex
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory

import optuna
from optuna.trial import TrialState
from tqdm import tqdm

from arguments import parse_arguments, positive, seed
from errors import InputError, count, one_line_errors, replacing
from tables import markdown
from train import train

# What is searched: names of train.py's flags, less those given on the command line.
SPACE = {
    "lr": lambda trial: trial.suggest_float("lr", 5e-4, 1e-2, log=True),
    "batch_size": lambda trial: trial.suggest_categorical("batch_size", [32, 64, 128]),
    "dropout": lambda trial: trial.suggest_float("dropout", 0.0, 0.6),
    "embedding_dropout": lambda trial: trial.suggest_float("embedding_dropout", 0.0, 0.6),
    "word_dropout": lambda trial: trial.suggest_float("word_dropout", 0.0, 0.3),
    "weight_decay": lambda trial: trial.suggest_float("weight_decay", 1e-3, 0.3, log=True),
    "label_smoothing": lambda trial: trial.suggest_float("label_smoothing", 0.0, 0.2),
    "balance": lambda trial: trial.suggest_categorical("balance", ["none", "loss", "logits"]),
    "pooling": lambda trial: trial.suggest_categorical("pooling", ["last", "max", "last+max"]),
    "embedding_size": lambda trial: trial.suggest_categorical("embedding_size", [64, 128, 256]),
    "hidden_size": lambda trial: trial.suggest_categorical("hidden_size", [32, 64, 128]),
    "layers": lambda trial: trial.suggest_int("layers", 1, 3),
}
SPACE_WITH_TEACHER = {
    "distillation_weight": lambda trial: trial.suggest_float("distillation_weight", 0.2, 0.95),
    "temperature": lambda trial: trial.suggest_float("temperature", 1.0, 5.0),
}
FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


def parse_own_arguments():
    """Return (namespace of this script's flags, list of those that are train.py's)."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="All other flags are train.py's, and fix what they name.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--trials", type=count, default=50, help="finished trials in all (default: %(default)s)"
    )
    parser.add_argument("--timeout", type=positive, help="seconds, after which no trial begins")
    parser.add_argument(
        "--workers", type=count, default=1, help="trials at a time (default: %(default)s)"
    )
    parser.add_argument(
        "--sampler-seed", type=seed, default=0, help="of the search (default: %(default)s)"
    )
    parser.add_argument(
        "--storage",
        help="database URL, or a file: .log is a journal that machines with a common disk can "
        "share, any other SQLite (default: OUTPUT/study.db)",
    )
    parser.add_argument("--study", default="emotions", help="its name (default: %(default)s)")
    parser.add_argument(
        "--output", type=Path, default=Path("runs/tune"), help="folder (default: %(default)s)"
    )
    return parser.parse_known_args()


def open_study(args, worker=0):
    """Open the study of these flags, or begin it."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
    storage = args.storage or str(args.output / "study.db")
    try:
        if storage.endswith(".log"):
            backend = optuna.storages.journal.JournalFileBackend(storage)
            storage = optuna.storages.JournalStorage(backend)
        else:
            # A trial whose process was killed stops sending signs of life and is given up.
            url = storage if "://" in storage else f"sqlite:///{storage}"
            storage = optuna.storages.RDBStorage(url, heartbeat_interval=60, grace_period=180)
        return optuna.create_study(
            study_name=args.study,
            storage=storage,
            direction="maximize",
            load_if_exists=True,
            sampler=optuna.samplers.TPESampler(seed=args.sampler_seed + worker, multivariate=True),
            pruner=optuna.pruners.MedianPruner(n_startup_trials=5, n_warmup_steps=2),
        )
    except Exception as error:  # of the database's driver, of many kinds
        reason = str(error).strip().splitlines()[0]
        raise InputError(f"--storage {args.storage or storage}: {reason}") from None


def search(args, train_arguments, worker=0):
    """Run trials until enough are finished in the study."""
    base = parse_arguments(None, train_arguments)
    given = {name for name in vars(base) if f"--{name.replace('_', '-')}" in train_arguments}
    space = {**SPACE, **(SPACE_WITH_TEACHER if base.teacher else {})}
    study = open_study(args, worker)

    def objective(trial):
        chosen = {name: suggest(trial) for name, suggest in space.items() if name not in given}

        def after_epoch(row):
            trial.report(row["macro_f1"], row["epoch"])
            if trial.should_prune():
                raise optuna.TrialPruned

        with TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
            run = {**vars(base), **chosen, "output": Path(folder), "seed": base.seeds[0]}
            best = train(argparse.Namespace(**run), after_epoch)
        trial.set_user_attr("accuracy", best["accuracy"])
        return best["macro_f1"]

    def finished():
        return len(study.get_trials(deepcopy=False, states=FINISHED))

    bar = tqdm(
        total=args.trials, initial=finished(), disable=True if worker else None, unit="trial"
    )

    def after_trial(study, trial):
        bar.n = finished()
        best = max((t.value for t in study.trials if t.state == TrialState.COMPLETE), default=0)
        bar.set_postfix_str(f"best {best:.4f}")
        if bar.n >= args.trials:
            study.stop()

    if finished() < args.trials:
        study.optimize(objective, timeout=args.timeout, callbacks=[after_trial])
    bar.close()


def report(study, args, train_arguments):
    """Print the best trials and the command that repeats the best; draw the search."""
    complete = [trial for trial in study.trials if trial.state == TrialState.COMPLETE]
    if not complete:
        raise InputError("no trial was finished")
    top = sorted(complete, key=lambda trial: trial.value, reverse=True)[:10]
    names = list(top[0].params)
    rows = [
        [
            trial.number,
            f"{trial.value:.4f}",
            f"{trial.user_attrs['accuracy']:.4f}",
            *(_short(trial.params.get(name, "")) for name in names),
        ]
        for trial in top
    ]
    pruned = sum(trial.state == TrialState.PRUNED for trial in study.trials)
    print(f"{len(complete)} trials finished, {pruned} more ended early; the best on validation:\n")
    print(markdown(rows, ["trial", "macro-F1", "Accuracy", *names]))
    flags = [f"--{name.replace('_', '-')} {top[0].params[name]}" for name in names]
    print(f"\npython train.py {' '.join(flags)} {shlex.join(train_arguments)}".rstrip())

    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
    numbers, values = [t.number for t in complete], [t.value for t in complete]
    axis.plot(numbers, values, "o", ms=4, alpha=0.6, label="a finished trial")
    best = [max(values[: i + 1]) for i in range(len(values))]
    axis.step(numbers, best, where="post", label="the best so far")
    axis.set(title="Search", xlabel="trial", ylabel="validation macro-F1")
    axis.xaxis.get_major_locator().set_params(integer=True)
    axis.grid(alpha=0.3)
    axis.legend()
    pictures = {"history.png": figure}
    if len(complete) > 3 and len(set(values)) > 1:
        importance = optuna.importance.get_param_importances(study)
        figure, axis = plt.subplots(figsize=(7, 4), layout="constrained")
        axis.barh(list(importance)[::-1], list(importance.values())[::-1])
        axis.set(title="What decides the macro-F1 (fANOVA)", xlabel="share of its variance")
        pictures["importance.png"] = figure
    for name, figure in pictures.items():
        with replacing(args.output / name) as temporary:
            figure.savefig(temporary, dpi=120)
        plt.close(figure)
    print(f"\n{' and '.join(pictures)} are in {args.output}")


def _short(value):
    return f"{value:.3g}" if isinstance(value, float) else value


def main():
    args, train_arguments = parse_own_arguments()
    if "--resume" in train_arguments:
        raise InputError("--resume: a search goes on by itself, with the same command")
    parse_arguments(__doc__, train_arguments)  # a wrong flag stops here, before any worker starts
    args.output.mkdir(parents=True, exist_ok=True)
    study = open_study(args)
    context = multiprocessing.get_context("spawn")
    others = [
        context.Process(target=search, args=(args, train_arguments, worker), daemon=True)
        for worker in range(1, args.workers)
    ]
    for process in others:
        process.start()
    interrupted = False
    try:
        search(args, train_arguments)
        for process in others:
            process.join()
    except KeyboardInterrupt:
        interrupted = True
    report(study, args, train_arguments)
    if interrupted:
        print("interrupted: the same command goes on with this study", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    with one_line_errors():
        main()
