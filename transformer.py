"""A pretrained transformer as a classifier: found, loaded, and fed as the LSTM is."""

from pathlib import Path

import torch
from torch import nn

from data import Batches, word_counts
from errors import InputError
from hub import hub_answers

MAX_TOKENS = 512


class Transformer(nn.Module):
    """A `transformers` classifier that is called as EmotionLSTM is."""

    def __init__(self, model, order=None):
        """
        Args:
            model: a `transformers` model for sequence classification.
            order: list of int, the output that belongs to each of the data set's classes.
        """
        super().__init__()
        self.model = model
        self.order = order

    def forward(self, tokens, lengths=None):
        """Return logits.

        Args:
            tokens: (batch, length) int64, padded at the end.
            lengths: (batch,) int64, or None if no text is padded.

        Returns:
            (batch, classes) logits, in the order of the data set's classes.
        """
        mask = torch.ones_like(tokens)
        if lengths is not None:
            positions = torch.arange(tokens.shape[1], device=tokens.device)
            mask = (positions < lengths.to(tokens.device)[:, None]).long()
        logits = self.model(input_ids=tokens, attention_mask=mask).logits
        return logits if self.order is None else logits[:, self.order]

    @property
    def parameter_count(self):
        """Number of weights."""
        return sum(p.numel() for p in self.model.parameters())


def load_transformer(name, allow_pickle=False, **config):
    """Load a pretrained classifier and its tokenizer; code from the Hub is never run.

    Args:
        name: a folder, or the id of a model on the Hub.
        allow_pickle: accept weights in pickle files (read by torch's restricted unpickler) where
            there are none in safetensors.
        config: what to override in the model's configuration, `num_labels` say.

    Returns:
        (`transformers` model in evaluation mode on the CPU, its tokenizer).

    Raises:
        InputError: no such folder or id, the Hub cannot be reached, a file is missing or broken,
            or the only weights are pickled and that was not allowed.
    """
    reachable = Path(name).is_dir() or hub_answers()
    import transformers  # after hub_answers: it copies the offline setting when imported

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        model = transformers.AutoModelForSequenceClassification.from_pretrained(
            name,
            trust_remote_code=False,
            use_safetensors=None if allow_pickle else True,
            weights_only=True,
            **config,
        )
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # the library raises half a dozen kinds for files of all sorts
        reason = str(error).strip().splitlines()[0]
        if not reachable:
            reason = "no such folder, and the Hub cannot be reached"
        elif not allow_pickle and "safetensors" in str(error):
            reason = "it has no weights in safetensors; --allow-pickle accepts pickled ones"
        raise InputError(f"--model {name}: {reason}") from None
    return model.eval(), tokenizer
