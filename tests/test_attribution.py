import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from attribution import WORDS, word_attributions
from checkpoint import SHIPPED
from classifier import load_classifier
from text import Encoder, normalise, train_tokenizer


class Judge:
    """A classifier of two classes whose first has the probability that a function says."""

    def __init__(self, probability):
        self.probability = probability
        self.encode = Encoder(train_tokenizer(["so happy and glad"], min_frequency=1))
        self.asked = 0

    def probabilities(self, texts):
        self.asked += len(texts)
        first = np.array([self.probability(set(normalise(text).split())) for text in texts])
        return np.stack([first, 1 - first], axis=1)


def shares_by_word(classify, text):
    return {text[start:end]: share for start, end, share in word_attributions(classify, text)}


@pytest.fixture(scope="module")
def shipped():
    return load_classifier(SHIPPED, threads=1)


def test_words_that_count_by_themselves_have_their_own_effect():
    weights = {"happy": 0.5, "glad": 0.1, "and": -0.2}
    judge = Judge(lambda words: 0.3 + sum(weights.get(word, 0) for word in words))
    shares = shares_by_word(judge, "SO happy, and GLAD!")
    assert shares == pytest.approx({"SO": 0, "happy": 0.5, "and": -0.2, "GLAD": 0.1})


def test_words_that_agree_share_what_each_alone_would_have():
    judge = Judge(lambda words: 0.9 if words & {"happy", "glad"} else 0.3)
    shares = shares_by_word(judge, "so happy and glad")
    assert shares == pytest.approx({"so": 0, "happy": 0.3, "and": 0, "glad": 0.3}, abs=1e-9)


@pytest.mark.parametrize(
    "text", ["happy", "I'm SO sad... but I can't stop smiling 😀 #hope", "i feel so lonely " * 40]
)
def test_shares_add_up_to_what_the_words_did(shipped, text):
    whole, nothing = shipped.probabilities([text, ""])
    answer = whole.argmax()
    total = sum(share for *_, share in word_attributions(shipped, text))
    assert total == pytest.approx(whole[answer] - nothing[answer], abs=1e-4)


@settings(deadline=None, max_examples=150)
@given(
    st.text(
        st.one_of(
            st.sampled_from("abiIS '’´é\u0301\u200d@#&;!😀ﬁ3"),
            st.characters(exclude_categories=["Cs"]),
        ),
        max_size=12,
    )
)
def test_spans_are_the_words_as_typed(shipped, text):
    spans = [text[start:end] for start, end, _ in word_attributions(shipped, text)]
    assert [normalise(span) for span in spans] == normalise(text).split()


def test_the_same_text_has_the_same_shares(shipped):
    text = "I was afraid of flying, but the view is so beautiful"
    assert word_attributions(shipped, text) == word_attributions(shipped, text)


@pytest.mark.parametrize("text", ["", "😀 !!!", "@user https://t.co/x"])
def test_nothing_to_attribute(shipped, text):
    assert word_attributions(shipped, text) == []


def test_a_long_text_costs_no_more_than_its_first_words():
    judge = Judge(lambda words: 0.5)
    assert len(word_attributions(judge, "so happy " * 5000)) == WORDS
    assert judge.asked <= 2 * (WORDS + 1) + 1
