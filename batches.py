"""Texts to batches of word ids, for training and for evaluation."""

import numpy as np
import torch
from tokenizers import Tokenizer

from cache import cached
from text import PADDING_ID, UNKNOWN_ID, Encoder, flatten, train_tokenizer

MANY = 1_000  # texts for which it pays to read the tokenizer's vocabulary first
VERY_MANY = 100_000  # texts for which it pays to keep their words


class Batches:
    """Texts as token ids on a device, cut into batches of nearly equal length.

    Texts are sorted by length, cut into batches, and the batches are shuffled; with a generator,
    texts of equal length change places too, so every epoch has other batches. On the corpus 99 %
    of what is computed is words, and most batches need no padding at all. With weights, as many
    texts are drawn, with replacement, in their proportion.

    Args:
        tokenizer: tokenizers.Tokenizer.
        texts: list of str. A text without a known character counts as one unknown word.
        labels: list of int, or None.
        batch_size: texts a batch.
        device: where the batches are to be.
        generator: torch.Generator on the CPU that shuffles, or None to keep the sorted order.
        padding_id: id that fills up shorter texts.
        sort_by: list of int, one a text, to sort by in place of the number of tokens.
        weights: (texts,) float, how often each is drawn in relation to the others, or None.

    Iterating yields (tokens, lengths, labels, rows):
        tokens: (batch, length) int64.
        lengths: (batch,) int64 on the CPU, or None if no text in the batch is padded.
        labels: (batch,) int64 or None.
        rows: (batch,) int64 on the CPU, the texts' positions in `texts`.
    """

    def __init__(
        self,
        tokenizer,
        texts,
        labels=None,
        batch_size=32,
        device="cpu",
        generator=None,
        padding_id=PADDING_ID,
        sort_by=None,
        weights=None,
    ):
        words, lengths = encode(tokenizer, texts)
        # One flat array instead of a padded table: memory is the words that there are. What a
        # batch is gathered from lies on the device, so that no step waits for a transfer.
        self.words = torch.from_numpy(words).to(device)
        self.lengths = torch.from_numpy(lengths)
        self.lengths_there = self.lengths.to(device)
        self.starts = self.lengths_there.cumsum(0) - self.lengths_there
        self.positions = torch.arange(int(self.lengths.max()), device=device)
        self.labels = None if labels is None else torch.tensor(labels, device=device)
        self.batch_size = batch_size
        self.generator = generator
        self.padding_id = padding_id
        self.sort_by = self.lengths if sort_by is None else torch.tensor(sort_by)
        self.weights = weights

    def __len__(self):
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self):
        if self.generator is None:
            order = self.sort_by.argsort(stable=True)
            turns = range(len(self))
        else:
            count = len(self.lengths)
            if self.weights is None:
                mixed = torch.randperm(count, generator=self.generator)
            else:
                mixed = self.weights.multinomial(count, True, generator=self.generator)
            order = mixed[self.sort_by[mixed].argsort(stable=True)]
            turns = torch.randperm(len(self), generator=self.generator).tolist()
        batches = order.split(self.batch_size)
        batches_there = order.to(self.words.device).split(self.batch_size)
        for turn in turns:
            yield self._batch(batches[turn], batches_there[turn])

    def _batch(self, rows, rows_there):
        """Return (tokens, lengths, labels, rows), given (batch,) `rows` here and on the device."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        positions = self.positions[:longest]
        places = self.starts[rows_there, None] + positions
        labels = None if self.labels is None else self.labels[rows_there]
        if int(lengths.min()) == longest:
            return self.words[places], None, labels, rows
        padded = positions >= self.lengths_there[rows_there, None]
        tokens = self.words[places.masked_fill(padded, 0)]
        return tokens.masked_fill(padded, self.padding_id), lengths, labels, rows


def share(batch, index, count):
    """Return what one of several processes computes of a batch, and which share of it that is.

    A process for which no text is left gets the first one, and a share of 0: all processes take
    as many steps.

    Args:
        batch: what Batches yields.
        index, count: which process, of how many.
    """
    rows = batch[-1]
    own = len(rows[index::count])
    part = slice(index, None, count) if own else slice(1)
    return [None if column is None else column[part] for column in batch], own / len(rows)


def encode(tokenizer, texts):
    """Return the words of all texts, one after the other, and how many each text has.

    Args:
        tokenizer: tokenizers.Tokenizer.
        texts: list of str. One without a known character counts as one unknown word.

    Returns:
        (words,) int64 ids, (texts,) int64 lengths, both NumPy's.
    """
    if len(texts) < MANY:
        ids = [encoding.ids or [UNKNOWN_ID] for encoding in tokenizer.encode_batch_fast(texts)]
        return flatten(ids)
    if len(texts) < VERY_MANY:
        return Encoder(tokenizer)(texts)

    def compute():
        return dict(zip(("words", "lengths"), Encoder(tokenizer)(texts), strict=True))

    arrays = cached(["words", tokenizer.to_str(), *texts], compute)
    return arrays["words"], arrays["lengths"]


def make_tokenizer(texts, min_frequency, max_length):
    """Return `text.train_tokenizer` of the same arguments, kept if there are very many texts."""
    if len(texts) < VERY_MANY:
        return train_tokenizer(texts, min_frequency, max_length)

    def compute():
        tokenizer = train_tokenizer(texts, min_frequency, max_length)
        return {"json": np.frombuffer(tokenizer.to_str().encode(), dtype=np.uint8)}

    rules = train_tokenizer([], min_frequency, max_length).to_str()
    arrays = cached(["tokenizer", rules, str(min_frequency), *texts], compute)
    return Tokenizer.from_str(arrays["json"].tobytes().decode())
