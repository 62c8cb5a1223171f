"""A training run on disk: the state that `--resume` goes on from, its history, its curves."""

import csv
import json

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from errors import InputError, replacing
from metrics import SCORES

COLUMNS = {
    "train_loss": "train loss",
    "validation_loss": "val loss",
    **SCORES,
    "seconds": "seconds",
}
STATE = "state.safetensors"  # what a resumed run needs, and inference does not


def save_state(folder, arguments, data, history, modules, optimizer, generator):
    """Write all that `--resume` needs into one file, atomically, and without pickle."""
    tensors = {"rng.cpu": torch.get_rng_state(), "rng.order": generator.get_state()}
    if torch.cuda.is_available():
        tensors["rng.cuda"] = torch.cuda.get_rng_state()
    for name, module in modules.items():
        tensors |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    for index, values in optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{key}": value for key, value in values.items()}
    metadata = {"arguments": arguments, "data": data, "history": history}
    with replacing(folder / STATE) as path:
        save_file(tensors, path, {key: json.dumps(value) for key, value in metadata.items()})


def read_state(folder):
    """Return (tensors by name, metadata by name) of the run in `folder`."""
    path = folder / STATE
    if not path.exists():
        raise InputError(f"--resume: {folder} holds no run to go on with")
    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, file.metadata()  # noqa: SIM118
    except SafetensorError as error:
        raise InputError(f"{path} is broken: {error}") from None


def restore_state(tensors, modules, optimizer, generator):
    """Put back what `save_state` wrote."""

    def under(prefix):
        return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}

    for name, module in modules.items():
        module.load_state_dict(under(f"{name}."))
    state = {}
    for key, value in under("optimizer.").items():
        index, name = key.split(".")
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
    generator.set_state(tensors["rng.order"])
    torch.set_rng_state(tensors["rng.cpu"])
    if torch.cuda.is_available() and "rng.cuda" in tensors:
        torch.cuda.set_rng_state(tensors["rng.cuda"])


def header():
    """The line above those of `line`."""
    return "epoch  " + "  ".join(f"{title:>10}" for title in COLUMNS.values())


def line(row, is_best):
    """One epoch of the history as a line on the screen."""
    numbers = "  ".join(f"{row[name]:10.4f}" for name in COLUMNS)
    return f"{row['epoch']:5d}  {numbers}{'  best' if is_best else ''}"


def write_history(history, path):
    """Write one row an epoch as CSV."""
    with replacing(path) as temporary, open(temporary, "w", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows(history)


def plot_history(history, best, path):
    """Draw loss and quality by epoch, the best epoch marked."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    epochs = [row["epoch"] for row in history]
    panels = {
        "Loss": {"training": "train_loss", "validation": "validation_loss"},
        "Validation": {"macro-F1": "macro_f1", "accuracy": "accuracy"},
    }
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for axis, (title, lines) in zip(axes, panels.items(), strict=True):
        for (label, column), style in zip(lines.items(), ("-", "--"), strict=True):
            axis.plot(
                epochs, [row[column] for row in history], style, marker="o", ms=4, label=label
            )
        axis.axvline(best["epoch"], color="grey", lw=1, ls=":")
        axis.set(title=title, xlabel="epoch")
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.grid(alpha=0.3)
        axis.legend()
    axes[1].annotate(
        f"best: {best['macro_f1']:.4f}",
        (best["epoch"], best["macro_f1"]),
        xytext=(-8, -24),
        textcoords="offset points",
        ha="right",
        arrowprops={"arrowstyle": "-", "color": "grey"},
    )
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    plt.close(figure)
