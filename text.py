"""Text to word ids: normalisation, the word tokenizer, and a fast way through it.

Imports no PyTorch, so that labelling a text need not wait for it.
"""

import sys
from itertools import chain
from threading import Lock
from unicodedata import normalize

import numpy as np
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

PADDING, UNKNOWN = "[PAD]", "[UNK]"
PADDING_ID, UNKNOWN_ID = 0, 1
WHOLE = -(2**31)  # in place of a word's id: its text cannot be taken word by word
# str.split() takes these for spaces, and the tokenizer does not: a link may go on after one.
SEPARATORS = "\x1c\x1d\x1e\x1f"

# What vanishes between two letters: accents and zero-width characters, apostrophes in all their
# forms, and what NFKD makes of ´, which many type as one.
VANISHING = (
    r"(?: \u0301|[\p{M}\p{Cf}'’‘ʼ`]"
    r"|&(?:amp;)*(?:#0*(?:39|821[67])|#x0*(?:27|201[89])|apos|[lr]squo);)"
)
# The corpus is lower-case letters and spaces: "I'm" became "im", links and names are mostly gone.
# What follows brings typed text there. It is part of every saved tokenizer.json.
NORMALIZER = normalizers.Sequence(
    [
        normalizers.NFKD(),  # é → e + accent; full-width and "mathematical" letters → plain ones
        normalizers.Lowercase(),
        # ... and all but two of a letter that is repeated: soooo → soo
        normalizers.Replace(Regex(rf"{VANISHING}+|([a-z])(?={VANISHING}*\1{VANISHING}*\1)"), ""),
    ]
)
PRE_TOKENIZER = pre_tokenizers.Split(
    Regex(
        r"(?:https?://|\bww\.|pic\.twitter\.com/)\S+"  # www has lost a letter above
        r"|@\w+"
        r"|&(?:amp;)*#?\w+;"  # other HTML entities
        r"|[^a-z@&]+|[@&]"  # digits, punctuation, emoji, other scripts, space
    ),
    behavior="removed",
)


def normalise(text):
    """Return a text in the corpus' form: its words in a to z, separated by one space."""
    words = PRE_TOKENIZER.pre_tokenize_str(NORMALIZER.normalize_str(text))
    return " ".join(word for word, _ in words)


def word_counts(texts):
    """Number of words of each text after normalisation, at least 1."""
    return [max(1, len(normalise(text).split())) for text in texts]


def train_tokenizer(texts, min_frequency=2, max_length=128):
    """Make the tokenizer that turns raw text into word ids all by itself.

    Args:
        texts: list of str to take the vocabulary from.
        min_frequency: rarer words become `[UNK]`.
        max_length: words after this many are cut off.

    Returns:
        tokenizers.Tokenizer, with `[PAD]` and `[UNK]` at PADDING_ID and UNKNOWN_ID.
    """
    tokenizer = Tokenizer(models.WordLevel(unk_token=UNKNOWN))
    tokenizer.normalizer = NORMALIZER
    tokenizer.pre_tokenizer = PRE_TOKENIZER
    trainer = trainers.WordLevelTrainer(
        vocab_size=2**31,
        min_frequency=min_frequency,
        special_tokens=[PADDING, UNKNOWN],  # in the order of their ids
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    tokenizer.enable_truncation(max_length)
    return tokenizer


class Encoder:
    """Texts to the word ids that their tokenizer gives, ten times as fast.

    Most texts are words that the vocabulary has, divided by spaces: a dictionary knows their ids.
    Any other word is tokenized by itself, once, and remembered, since none of the rules reaches
    over a space, but for the few that send the whole text through the tokenizer.

    Args:
        tokenizer: tokenizers.Tokenizer. The shortcut knows the rules of `train_tokenizer` only;
            one with other rules is asked every time.
    """

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        rules = (tokenizer.normalizer, tokenizer.pre_tokenizer)
        self.has_our_rules = all(
            rule is not None and rule.__getstate__() == ours.__getstate__()
            for rule, ours in zip(rules, (NORMALIZER, PRE_TOKENIZER), strict=True)
        )
        self.known = _KnownWords(tokenizer)
        self.max_length = (tokenizer.truncation or {"max_length": sys.maxsize})["max_length"]

    def __call__(self, texts):
        """Return the words of all texts, one after the other, and how many each text has.

        Args:
            texts: list of str. One without any word counts as one unknown word.

        Returns:
            (words,) int64 ids, (texts,) int64 lengths.
        """
        if not self.has_our_rules:
            encodings = self.tokenizer.encode_batch_fast(texts)
            return _flat([encoding.ids or [UNKNOWN_ID] for encoding in encodings])
        find = self.known.__getitem__
        encoded = [list(map(find, text.lower().split())) for text in texts]
        words, lengths = _flat(encoded)
        # All at once, since to look at every text would take as long as what is above.
        unusual = np.searchsorted(lengths.cumsum(), np.flatnonzero(words < 0), side="right")
        wrong = np.flatnonzero((lengths == 0) | (lengths > self.max_length))
        everything = "".join(texts)
        separated = any(character in everything for character in SEPARATORS)
        if len(unusual) or len(wrong) or separated:
            rows = range(len(texts)) if separated else {*unusual.tolist(), *wrong.tolist()}
            for row in rows:
                encoded[row] = self._encode_unusual(texts[row], encoded[row])
            words, lengths = _flat(encoded)
        return words, lengths

    def _encode_unusual(self, text, ids):
        if WHOLE in ids or any(character in text for character in SEPARATORS):
            return self.tokenizer.encode(text).ids or [UNKNOWN_ID]
        parts = (self.known.parts[~number] if number < 0 else (number,) for number in ids)
        ids = [number for part in parts for number in part]
        return ids[: self.max_length] or [UNKNOWN_ID]


def _flat(encoded):
    lengths = np.fromiter(map(len, encoded), dtype=np.int64, count=len(encoded))
    words = np.fromiter(chain.from_iterable(encoded), dtype=np.int64, count=lengths.sum())
    return words, lengths


class _KnownWords(dict):
    """Lower-case word → its id, ~its position in `parts` if it makes none or several, or WHOLE."""

    def __init__(self, tokenizer):
        super().__init__(tokenizer.get_vocab())
        self.tokenizer = tokenizer
        self.parts = []
        self.limit = len(self) + 100_000  # of memory
        self.lock = Lock()  # threads may encode at once

    def __missing__(self, word):
        # The tokenizer takes its own names for what they name, and joins an accent to what is
        # before the space before it.
        special = PADDING.lower() in word or UNKNOWN.lower() in word
        if special or normalize("NFKD", word).startswith("\u0301"):
            return WHOLE
        ids = self.tokenizer.encode(word).ids
        if len(ids) == 1:
            number = ids[0]
        elif len(self) < self.limit and len(word) < 64:
            with self.lock:
                self.parts.append(ids)
                number = ~(len(self.parts) - 1)
        else:
            return WHOLE
        if len(self) < self.limit and len(word) < 64:
            self[word] = number
        return number
