"""What the LSTM takes from other models: their answers, also on unlabelled text; word vectors."""

import json
import random
from functools import partial
from itertools import chain
from pathlib import Path

import torch
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError
from tqdm import tqdm

from batches import Batches
from cache import cached
from data import HELD_OUT, load_texts
from errors import InputError
from hub import hub_answers
from metrics import predict
from model import load_checkpoint
from text import normalise
from transformer import Transformer, load_transformer, match_outputs, transformer_batches


def load_teacher(name, classes):
    """Load a model of either kind.

    Args:
        name: folder or Hub id of an LSTM checkpoint or of a transformer.
        classes: names of the data set's classes.

    Returns:
        (model, function of (texts, batch_size=, device=) that makes its batches, list of int: the
        output that belongs to each class).

    Raises:
        InputError: no such model, or it tells other classes apart.
    """
    if _is_transformer(name):
        model, tokenizer = load_transformer(name)
        order = match_outputs(model, classes)
        model = Transformer(model.float(), order).eval()
        return model, transformer_batches(tokenizer), range(len(order))
    model, tokenizer = load_checkpoint(name)
    if sorted(model.classes) != sorted(classes):
        raise InputError(
            f"{name}: it tells {', '.join(model.classes)} apart, the data set has "
            f"{', '.join(classes)}"
        )
    return model, partial(Batches, tokenizer), [model.classes.index(name) for name in classes]


def _is_transformer(name):
    """Both kinds have a config.json; that of a transformer says which architecture it is."""
    path = Path(name) / "config.json"
    if not Path(name).is_dir():
        reachable = hub_answers()
        try:
            path = Path(hf_hub_download(name, "config.json"))
        except (LocalEntryNotFoundError, HfHubHTTPError, HFValidationError) as error:
            why = str(error).splitlines()[0] if reachable else "the Hub cannot be reached"
            raise InputError(f"no folder {name}, and no model on the Hub: {why}") from None
    try:
        return "model_type" in json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise InputError(f"{name} is no checkpoint: it has no config.json") from None
    except ValueError as error:
        raise InputError(f"{path} is broken: {error}") from None


def teacher_logits(names, texts, classes, device="cpu"):
    """Return the mean of the teachers' logits, (texts, classes) float32.

    Every teacher's logits on these texts are computed once and kept in `.cache`, under a name that
    depends on the teacher's weights and on every text: what is found there is never stale.

    Args:
        names: folders or Hub ids, see `load_teacher`.
        texts: list of str.
        classes: names of the classes, in the order wanted of the logits.
        device: where the teachers compute.
    """
    return torch.stack([_cached_logits(name, texts, classes, device) for name in names]).mean(0)


def _cached_logits(name, texts, classes, device):
    model, make_batches, order = load_teacher(name, classes)

    def compute():
        batches = make_batches(texts, batch_size=64, device=device)
        label = f"{Path(name).name} labels {len(texts):,} texts"
        bar = tqdm(batches, desc=label, total=len(batches), disable=None, leave=False)
        return predict(model.to(device), bar)[:, order].contiguous()

    return _cached(model, (*classes, *texts), compute)


def _cached(model, texts, compute):
    """Return the tensor that `compute()` returns, kept for the next time with `model` and texts."""
    weights = (weights.numpy().tobytes() for weights in model.state_dict().values())
    arrays = cached(chain(weights, texts), lambda: {"tensor": compute().numpy()})
    return torch.from_numpy(arrays["tensor"])


def distance_to_teacher(logits, teacher, temperature):
    """Kullback-Leibler divergence of softened answers (Hinton et al. 2015).

    The square of the temperature makes up for the smaller gradients of softer answers, so that
    the distance weighs the same beside the cross-entropy at any temperature.

    Args:
        logits, teacher: (batch, classes).
        temperature: float, what both are divided by.

    Returns:
        () mean over the batch.
    """
    student = (logits / temperature).log_softmax(dim=1)
    target = (teacher / temperature).log_softmax(dim=1)
    distance = torch.nn.functional.kl_div(student, target, reduction="batchmean", log_target=True)
    return temperature**2 * distance


def unlabelled_texts(sources, column="text", exclude=()):
    """Read texts without labels, each once, in two parts.

    Args:
        sources: files, folders or Hub ids, see `data.load_texts`.
        column: name of the column that holds them.
        exclude: texts that must not be trained on.

    Returns:
        (texts to train on, HELD_OUT texts for evaluation, or a tenth of all if that is less): the
        same two parts whenever these sources are read.
    """
    texts = {}
    for source in sources:
        for text in load_texts(source, column):
            texts.setdefault(normalise(text), text)
    texts.pop("", None)  # nothing is left of it
    keys = list(texts)
    random.Random(0).shuffle(keys)
    held_out = min(HELD_OUT, len(keys) // 10)
    unwanted = {normalise(text) for text in exclude}
    training = [texts[key] for key in keys[held_out:] if key not in unwanted]
    if not training:
        raise InputError(f"{' '.join(sources)}: no texts beyond those of the data set")
    return training, [texts[key] for key in keys[:held_out]]


def word_vectors(source, words, size, device="cpu"):
    """Return vectors for the embedding table to start from, (words, size) float32.

    They are the principal components, scaled to a variance of 1; a word that has no vector
    gets a random one.

    Args:
        source: a text file, one word and its numbers a line (GloVe's and fastText's format); or the
            folder or Hub id of an LSTM, whose table has them, or of a transformer, which reads each
            word by itself (as in model2vec, Tulkens and van Dongen 2024).
        words: list of str.
        size: numbers a vector.
        device: where the transformer computes.

    Raises:
        InputError: the file is not of that format, or its vectors are shorter than `size`.
    """
    if Path(source).is_file():
        found, vectors = _read_vectors(Path(source), set(words))
        index = {word: row for row, word in enumerate(words)}
        rows = [index[word] for word in found]
    elif _is_transformer(source):
        vectors = _transformer_vectors(source, words, device)
        rows = list(range(len(words)))
    else:
        model, tokenizer = load_checkpoint(source)
        ids = [tokenizer.token_to_id(word) for word in words]
        rows = [row for row, known in enumerate(ids) if known is not None]
        vectors = model.embedding.weight.detach()[[ids[row] for row in rows]]
    if min(vectors.shape) < size:
        raise InputError(
            f"--embeddings {source}: {vectors.shape[0]:,} of the words have vectors, of "
            f"{vectors.shape[1]} numbers; that is too little for --embedding-size {size}"
        )
    vectors = vectors - vectors.mean(dim=0)
    _, _, components = torch.linalg.svd(vectors, full_matrices=False)
    vectors = vectors @ components[:size].T
    table = torch.randn(len(words), size)
    table[rows] = vectors / vectors.std()
    return table


def _read_vectors(path, wanted):
    """Return (words of `wanted` in the file, their vectors)."""
    found = {}
    try:
        with open(path, encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                word, *numbers = line.rstrip().split(" ")
                if number == 1 and len(numbers) == 1:
                    continue  # fastText's header: how many words, of how many numbers
                if word in wanted:
                    found[word] = [float(x) for x in numbers]
    except ValueError as error:  # not a number, or not UTF-8
        raise InputError(f"--embeddings {path}: line {number}: {error}") from None
    lengths = {len(vector) for vector in found.values()}
    if len(lengths) != 1:
        what = "lines of different lengths" if lengths else "none of the words"
        raise InputError(f"--embeddings {path}: {what}")
    return list(found), torch.tensor(list(found.values()))


def _transformer_vectors(name, words, device):
    model, tokenizer = load_transformer(name, new_head=("none", "needed"))
    body = model.base_model.float()
    make_batches = transformer_batches(tokenizer)

    @torch.inference_mode()
    def compute():
        body.to(device)
        vectors, order = [], []
        for tokens, lengths, _, rows in make_batches(words, batch_size=256, device=device):
            lengths = torch.full((len(rows),), tokens.shape[1]) if lengths is None else lengths
            mask = (torch.arange(tokens.shape[1]) < lengths[:, None]).to(device)
            states = body(input_ids=tokens, attention_mask=mask).last_hidden_state
            vectors.append((states * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True))
            order.append(rows)
        return torch.cat(vectors).float().cpu()[torch.cat(order).argsort()].contiguous()

    return _cached(body, words, compute)
