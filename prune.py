"""Make a trained LSTM smaller: fewer words, narrower word vectors, fewer units.

The file shrinks and the arithmetic with it, which zeros among the weights would not bring about.
"""

import json

import torch
from tokenizers import Tokenizer

from errors import InputError
from model import EmotionLSTM
from text import UNKNOWN_ID


def prune(model, tokenizer, words=None, embedding_size=None, hidden_size=None):
    """Return (smaller model, its tokenizer), with what is left of the large one's weights.

    Args:
        model: EmotionLSTM.
        tokenizer: its tokenizers.Tokenizer.
        words: most frequent words to keep, `[PAD]` and `[UNK]` among them; None keeps all.
        embedding_size: width of a word's vector to keep, None for all of it.
        hidden_size: units a layer and direction to keep, None for all.

    Raises:
        InputError: more than there are.
    """
    has = {
        "words": model.embedding.num_embeddings,
        "embedding_size": model.embedding.embedding_dim,
        "hidden_size": model.lstm.hidden_size,
    }
    wanted = {"words": words, "embedding_size": embedding_size, "hidden_size": hidden_size}
    wanted = {name: size or has[name] for name, size in wanted.items()}
    for name, size in wanted.items():
        if size > has[name]:
            raise InputError(f"--{name.replace('_', '-')} {size}: the model has {has[name]}")
    if wanted["words"] < max(UNKNOWN_ID + 2, embedding_size or 0):
        raise InputError(f"--words {wanted['words']}: too few for vectors of that width")

    weights, tokenizer = keep_words(model.state_dict(), tokenizer, wanted.pop("words"))
    if embedding_size:
        weights = narrow_embedding(weights, embedding_size)
    if hidden_size:
        pooled = len(model.pooling.split("+"))
        shape = (model.lstm.num_layers, model.directions, pooled)
        weights = keep_units(weights, hidden_size, *shape)
    sizes = {**wanted, "vocabulary_size": len(weights["embedding.weight"])}
    smaller = EmotionLSTM(**{**model._hub_mixin_config, **sizes})
    smaller.load_state_dict(weights)
    return smaller.eval(), tokenizer


def keep_words(weights, tokenizer, count):
    """Keep the first `count` ids, which are those of the most frequent words.

    Args:
        weights: state dict of an EmotionLSTM; so too below.

    Returns:
        (weights, tokenizer), to which the other words are unknown.
    """
    description = json.loads(tokenizer.to_str())
    vocabulary = description["model"]["vocab"]
    description["model"]["vocab"] = {word: i for word, i in vocabulary.items() if i < count}
    table = weights["embedding.weight"][:count]
    return {**weights, "embedding.weight": table}, Tokenizer.from_str(json.dumps(description))


def narrow_embedding(weights, size):
    """Factorise the embedding table, and let the first layer absorb the second factor.

    The truncated SVD is the nearest of all factorisations of that width (Eckart and Young 1936).
    """
    _, _, basis = torch.linalg.svd(weights["embedding.weight"], full_matrices=False)
    basis = basis[:size].T
    first = ("embedding.weight", "lstm.weight_ih_l0", "lstm.weight_ih_l0_reverse")
    return {name: weight @ basis if name in first else weight for name, weight in weights.items()}


def keep_units(weights, size, layers, directions, pooled):
    """Take out whole units of every layer and direction: those that the rest listens to least.

    A unit's importance is the norm of the weights that leave it, to the next step, the next layer
    and the output (after Li et al. 2017, "Pruning Filters for Efficient ConvNets").

    Args:
        weights: dict by name.
        size: units to keep.
        layers, directions: of the LSTM.
        pooled: number of ways of pooling, each of which has a block of columns in the output.
    """
    weights = dict(weights)
    suffixes = ["", "_reverse"][:directions]
    width = weights["lstm.weight_hh_l0"].shape[1]
    for layer in range(layers):
        above = [f"lstm.weight_ih_l{layer + 1}{suffix}" for suffix in suffixes]
        blocks = directions
        if layer == layers - 1:
            above, blocks = ["linear.weight"], directions * pooled
        # Columns are in blocks of `width`; block b comes from direction b modulo `directions`.
        leaving = torch.cat([weights[name] for name in above])
        leaving = leaving.reshape(len(leaving), blocks, width).square().sum(dim=0)
        kept = []
        for direction, suffix in enumerate(suffixes):
            end = f"_l{layer}{suffix}"
            recurrent = weights[f"lstm.weight_hh{end}"]
            importance = leaving[direction::directions].sum(dim=0) + recurrent.square().sum(dim=0)
            units = importance.topk(size).indices.sort().values
            kept.append(units)
            rows = torch.cat([gate * width + units for gate in range(4)])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
                weights[f"lstm.{name}{end}"] = weights[f"lstm.{name}{end}"][rows]
            recurrent = weights[f"lstm.weight_hh{end}"]
            weights[f"lstm.weight_hh{end}"] = recurrent[:, units]
        columns = torch.cat([block * width + kept[block % directions] for block in range(blocks)])
        for name in above:
            weights[name] = weights[name][:, columns]
    return weights
