"""Batches of nearly equal length."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from batches import Batches
from text import PADDING_ID, train_tokenizer

TOKENIZER = train_tokenizer(["a b c d e f g h"], min_frequency=1)
lengths_of_texts = st.lists(st.integers(1, 12), min_size=1, max_size=60)


def texts_of(lengths):
    return [" ".join("abcdefgh"[(i + n) % 8] for i in range(n)) for n in lengths]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@given(lengths_of_texts, st.integers(1, 9), st.booleans())
def test_every_text_comes_once_and_unchanged(lengths, batch_size, shuffled):
    texts = texts_of(lengths)
    generator = seeded() if shuffled else None
    batches = Batches(
        TOKENIZER, texts, list(range(len(texts))), batch_size=batch_size, generator=generator
    )
    seen = []
    for tokens, true_lengths, labels, rows in batches:
        assert len(rows) <= batch_size
        assert labels.tolist() == rows.tolist()
        for i, row in enumerate(rows.tolist()):
            words = tokens[i][tokens[i] != PADDING_ID]
            assert words.tolist() == TOKENIZER.encode(texts[row]).ids
            assert true_lengths is None or true_lengths[i] == len(words)
            assert (tokens[i, len(words) :] == PADDING_ID).all()
        seen += rows.tolist()
    assert sorted(seen) == list(range(len(texts)))


@given(lengths_of_texts, st.integers(1, 9))
def test_lengths_are_left_out_if_and_only_if_nothing_is_padded(lengths, batch_size):
    for tokens, true_lengths, _, _ in Batches(TOKENIZER, texts_of(lengths), batch_size=batch_size):
        assert (true_lengths is None) == bool((tokens != PADDING_ID).all())


def orders(generator, epochs=2):
    batches = Batches(TOKENIZER, texts_of([3] * 40 + [5] * 40), batch_size=8, generator=generator)
    return [[rows.tolist() for *_, rows in batches] for _ in range(epochs)]


def test_epochs_differ_and_a_seed_repeats_them():
    first, second = orders(seeded(1))
    assert first != second
    assert sorted(map(sorted, first)) != sorted(map(sorted, second)), "the same texts together"
    assert orders(seeded(1)) == [first, second]
    assert orders(seeded(2)) != [first, second]


def test_without_a_generator_the_order_is_by_length_and_stays():
    first, second = orders(None)
    assert first == second
    assert [row for rows in first for row in rows] == list(range(80))


def test_little_is_padded():
    lengths = torch.randint(4, 40, (2000,), generator=seeded()).tolist()
    padding = total = 0
    for tokens, *_ in Batches(TOKENIZER, texts_of(lengths), batch_size=32, generator=seeded()):
        padding += int((tokens == PADDING_ID).sum())
        total += tokens.numel()
    assert padding < 0.02 * total


def test_another_order_can_be_given():
    texts = texts_of([1, 2, 3, 4])
    batches = Batches(TOKENIZER, texts, batch_size=2, sort_by=[4, 3, 2, 1])
    assert [rows.tolist() for *_, rows in batches] == [[3, 2], [1, 0]]


@pytest.mark.parametrize("batch_size", [1, 7, 80, 1000])
def test_length_is_the_number_of_batches(batch_size):
    batches = Batches(TOKENIZER, texts_of([3] * 80), batch_size=batch_size)
    assert len(batches) == len(list(batches))
