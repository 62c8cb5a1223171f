"""A pretrained transformer as a classifier: found, loaded, and fed as the LSTM is."""

from functools import partial
from pathlib import Path

import torch
from torch import nn

from batches import Batches
from errors import InputError
from hub import hub_answers
from text import word_counts

MAX_TOKENS = 512


class Transformer(nn.Module):
    """A `transformers` classifier that is called as EmotionLSTM is.

    Args:
        model: a `transformers` model for sequence classification.
        order: list of int, the output that belongs to each of the data set's classes.
    """

    def __init__(self, model, order):
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
        return self.model(input_ids=tokens, attention_mask=mask).logits[:, self.order]


def load_transformer(name, random_weights=False, allow_pickle=False, new_head=None):
    """Load a pretrained classifier and its tokenizer; code from the Hub is never run.

    Args:
        name: a folder, or the id of a model on the Hub.
        random_weights: take the architecture alone, which is enough to measure speed.
        allow_pickle: accept weights in pickle files (read by torch's restricted unpickler).
        new_head: None to insist on a trained classifier; names of classes to put a new one, to
            be trained, on a pretrained body.

    Returns:
        (`transformers` model in evaluation mode on the CPU, its tokenizer).

    Raises:
        InputError: no such folder or id, the Hub cannot be reached, a file is missing or broken,
            the only weights are pickled, or there is no trained classifier among them.
    """
    reachable = Path(name).is_dir() or hub_answers()
    import transformers  # after hub_answers: it copies the offline setting when imported

    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    auto = transformers.AutoModelForSequenceClassification
    settings = {}
    if new_head:
        names = dict(enumerate(new_head))
        settings = {"id2label": names, "label2id": {name: i for i, name in names.items()}}
    try:
        config = transformers.AutoConfig.from_pretrained(name, trust_remote_code=False, **settings)
        tokenizer = transformers.AutoTokenizer.from_pretrained(name, trust_remote_code=False)
        if random_weights:
            model, missing = auto.from_config(config), []
        else:
            model, report = auto.from_pretrained(
                name,
                config=config,
                trust_remote_code=False,
                use_safetensors=None if allow_pickle else True,
                weights_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=bool(new_head),
            )
            missing = report["missing_keys"]
    except Exception as error:  # the library raises half a dozen kinds, for files of all sorts
        reason = str(error).strip().splitlines()[0]
        if not reachable:
            reason = "no such folder, and the Hub cannot be reached"
        elif not allow_pickle and "safetensors" in reason:
            reason = "it has no weights in safetensors; --allow-pickle accepts pickled ones"
        raise InputError(f"--model {name}: {reason}") from None
    # Without its files, the library makes a tokenizer that knows no word, and says nothing.
    if not tokenizer.is_fast or tokenizer.vocab_size <= len(tokenizer.all_special_ids):
        raise InputError(f"--model {name}: it has no tokenizer (tokenizer.json)")
    if missing and not new_head:
        raise InputError(
            f"--model {name}: it has no trained classifier ({', '.join(sorted(missing))} missing); "
            "train_transformer.py fine-tunes one, --speed-only measures it as it is"
        )
    return model.eval(), tokenizer


def match_outputs(model, classes, labels=None):
    """Return the output of the model that belongs to each class, a list of int.

    By name in any case, else `LABEL_0`, `LABEL_1`, … by position.

    Args:
        model: a `transformers` classifier.
        classes: names of the data set's classes.
        labels: names of the model's outputs in their order, in place of its own.

    Raises:
        InputError: another number of outputs, or names that do not match.
    """
    outputs = labels or [model.config.id2label[i] for i in range(model.config.num_labels)]
    outputs = [str(output).lower() for output in outputs]
    if not len(classes) == len(outputs) == model.config.num_labels:
        raise InputError(
            f"the model tells {model.config.num_labels} classes apart ({', '.join(outputs)}), "
            f"the data set has {len(classes)} ({', '.join(classes)})"
        )
    if outputs == [f"label_{i}" for i in range(len(classes))]:
        return list(range(len(classes)))
    if sorted(outputs) != sorted(name.lower() for name in classes):
        raise InputError(
            f"the model's outputs ({', '.join(outputs)}) are not the data set's classes "
            f"({', '.join(classes)}): name them in their order with --labels"
        )
    return [outputs.index(name.lower()) for name in classes]


def transformer_batches(tokenizer):
    """Return a function of (texts, batch_size=, device=) that makes a transformer's batches.

    They hold the same texts as the LSTM's batches do: both are sorted by words.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_padding()
    backend.enable_truncation(min(MAX_TOKENS, tokenizer.model_max_length))
    make_batches = partial(Batches, backend, padding_id=tokenizer.pad_token_id)
    return lambda texts, **shape: make_batches(texts, sort_by=word_counts(texts), **shape)
