"""What a checkpoint is on disk: finding it, its configuration, weights and tokenizer.

Imports no PyTorch, so that labelling a text need not wait for it.
"""

import json
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from errors import InputError
from hub import hub_answers

SHIPPED = Path(__file__).parent / "checkpoints" / "lstm"
WEIGHTS, ONNX = "model.safetensors", "model.onnx"  # a checkpoint has either, or both
FILES = ("config.json", "tokenizer.json")  # what inference needs beside one of those
SCALE = ".scale"  # a weight kept as int8 has a second entry of this name: what to multiply it by


def find_checkpoint(checkpoint, wanted=(WEIGHTS,)):
    """Return the local folder of a checkpoint, downloaded if need be.

    Args:
        checkpoint: a folder, or the id of a model on the Hub.
        wanted: names of files, of which one must be there.

    Raises:
        InputError: the folder or id does not exist or cannot be reached, or a file is missing.
    """
    folder = Path(checkpoint)
    if not folder.is_dir():
        folder = _download(str(checkpoint), [*FILES, *wanted])
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder} is no checkpoint: it has no {name}")
    if not any((folder / name).is_file() for name in wanted):
        raise InputError(f"{folder} is no checkpoint: it has no {' or '.join(wanted)}")
    return folder


def _download(model_id, names):
    # Slow to import, and a folder needs none of it.
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    reachable = hub_answers()
    try:
        # Only what inference needs, which leaves out every pickle.
        return Path(snapshot_download(model_id, allow_patterns=names))
    except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
        why = str(error).splitlines()[0] if reachable else "the Hub cannot be reached"
        raise InputError(f"no folder {model_id}, and no model on the Hub: {why}") from None


def size_on_disk(folder, weights):
    """Bytes of all files that inference needs, the weights in the file of that name."""
    return sum((Path(folder) / name).stat().st_size for name in (*FILES, weights))


def read_config(folder):
    """Return the arguments that the model was made with. Raises InputError."""
    path = Path(folder) / "config.json"
    try:
        return dict(json.loads(path.read_text("utf-8")))
    except (ValueError, TypeError) as error:
        raise InputError(f"{path} is broken: {error}") from None


def read_tokenizer(folder, vocabulary_size):
    """Return the tokenizers.Tokenizer. Raises InputError if it is not of that size."""
    path = Path(folder) / "tokenizer.json"
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises Exception itself
        raise InputError(f"{path} is broken: {error}") from None
    if tokenizer.get_vocab_size() != vocabulary_size:
        raise InputError(
            f"{folder}: tokenizer.json has {tokenizer.get_vocab_size()} tokens, "
            f"the model {vocabulary_size}"
        )
    return tokenizer


def read_weights(path):
    """Return {name: float32 array} of a safetensors file in any of our number formats."""
    stored = load_file(path)
    weights = {name: array.astype(np.float32) for name, array in stored.items()}
    scales = {name: weights.pop(name) for name in stored if name.endswith(SCALE)}
    for name, scale in scales.items():
        weights[name.removesuffix(SCALE)] *= scale
    return weights


def quantise(weight, axis=1):
    """Round a matrix to int8, symmetrically about zero.

    Args:
        weight: (rows, columns) float32.
        axis: 1 gives every row a scale of its own, 0 every column.

    Returns:
        ((rows, columns) int8, float32 scale of shape (rows, 1) or (1, columns)): their product is
        the weight to within half a scale.
    """
    largest = np.abs(weight).max(axis=axis, keepdims=True)
    scale = (np.maximum(largest, 1e-12) / 127).astype(np.float32)
    return np.rint(weight / scale).astype(np.int8), scale


def write_weights(path, weights, precision):
    """Write weights as safetensors.

    Args:
        path: file.
        weights: {name: float32 array}.
        precision: "fp32", "fp16", or "int8", in which vectors and numbers stay in fp32.
    """
    stored = {}
    for name, array in weights.items():
        if precision == "int8" and array.ndim == 2:
            # The table has many rows, and a scale for each would be a good part of the file.
            axis = 0 if name == "embedding.weight" else 1
            stored[name], stored[name + SCALE] = quantise(array, axis)
        else:
            stored[name] = array.astype(np.float16 if precision == "fp16" else np.float32)
    save_file(stored, path)
