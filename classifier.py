"""Texts in, labels and probabilities out: a trained checkpoint for those who only want answers.

    from classifier import load_classifier

    classify = load_classifier("checkpoints/lstm")  # a folder or a Hub id
    labels, probabilities = classify(["i can't stop smiling", "leave me alone"])

Imports PyTorch only if it is asked to compute with it.
"""

import numpy as np

from engine import load_onnx
from errors import InputError
from text import PADDING_ID, Encoder

BACKENDS, DEVICES = ("auto", "torch", "onnx"), ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "fp16", "bf16")
MAX_CHARACTERS = (
    10_000  # of a text that are read, so that a pasted book takes no longer than a page
)


class Classifier:
    """A model with its tokenizer.

    Args:
        model: called with (tokens, lengths) numpy arrays, returns (batch, classes) logits.
        tokenizer: tokenizers.Tokenizer.
        classes: names of the classes.
        batch_size: texts a step.
    """

    def __init__(self, model, tokenizer, classes, batch_size=64):
        self.model = model
        self.encode = Encoder(tokenizer)
        self.classes = classes
        self.batch_size = batch_size

    def __call__(self, texts):
        """Return (list of str, the most probable class of each text; probabilities).

        Args:
            texts: list of str, as people type them. Of a text that is longer, MAX_CHARACTERS are
                read, and of these the words up to the tokenizer's limit, 128 unless it was trained
                with another.

        Returns:
            labels, and (texts, classes) float32 probabilities in the order of `classes`.
        """
        probabilities = self.probabilities(texts)
        return [self.classes[best] for best in probabilities.argmax(axis=1)], probabilities

    def probabilities(self, texts):
        """Return (texts, classes) float32, see `__call__`."""
        # Half a surrogate pair, which JSON can hold and UTF-8 cannot, is no letter either.
        texts = [text[:MAX_CHARACTERS].encode(errors="replace").decode() for text in texts]
        words, lengths = self.encode(texts)
        starts = lengths.cumsum() - lengths
        logits = np.empty((len(texts), len(self.classes)), dtype=np.float32)
        # Texts of nearly equal length go together, so that next to nothing is spent on padding.
        order = np.argsort(lengths, kind="stable")
        for start in range(0, len(order), self.batch_size):
            rows = order[start : start + self.batch_size]
            shortest, longest = lengths[rows[0]], lengths[rows[-1]]
            positions = np.arange(longest)
            places = starts[rows, None] + positions
            if shortest == longest:
                logits[rows] = self.model(words[places], None)
            else:
                padded = positions >= lengths[rows, None]
                tokens = np.where(padded, PADDING_ID, words[np.where(padded, 0, places)])
                logits[rows] = self.model(tokens, lengths[rows])
        exponentials = np.exp(logits - logits.max(axis=1, keepdims=True))
        return exponentials / exponentials.sum(axis=1, keepdims=True)


def load_classifier(
    checkpoint, backend="auto", device="auto", precision="fp32", batch_size=64, threads=None
):
    """Load a checkpoint to label texts with.

    Args:
        checkpoint: a folder, or the id of a model on the Hub.
        backend: "torch" or "onnx"; "auto" is ONNX Runtime unless what else is asked for is
            PyTorch's alone: a GPU, or another precision than fp32.
        device: "cpu" or "cuda"; "auto" is a GPU if there is one and the backend is PyTorch.
        precision: "fp32", or with PyTorch "fp16" and "bf16".
        batch_size: texts a step.
        threads: CPU threads, None for one a core.

    Returns:
        Classifier.

    Raises:
        InputError: no such checkpoint, a broken file, or a combination that does not exist.
    """
    wants_torch = device == "cuda" or precision != "fp32"
    if backend == "onnx" and wants_torch:
        raise InputError("--backend onnx: computes on the CPU in fp32")
    if backend == "torch" or wants_torch:
        model, tokenizer = _load_torch(checkpoint, device, precision, threads)
    else:
        model, tokenizer = load_onnx(checkpoint, threads)
    return Classifier(model, tokenizer, model.classes, batch_size)


def _load_torch(checkpoint, device, precision, threads):
    import torch

    from model import PRECISIONS, load_checkpoint

    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no GPU")
    if threads:
        torch.set_num_threads(threads)
    model, tokenizer = load_checkpoint(checkpoint)
    model.to(device, PRECISIONS[precision])

    @torch.inference_mode()
    def run(tokens, lengths):
        lengths = None if lengths is None else torch.from_numpy(lengths)
        return model(torch.from_numpy(tokens).to(device), lengths).float().cpu().numpy()

    run.classes = model.classes
    return run, tokenizer
