"""What normalisation makes of characters that vanish between letters."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data import normalise

VANISHING = ["'", "’", "\u0301", "\u200b", "&#39;"]
PIECES = ["a", "aa", "w", "ww.", "www.", "@", "&amp;", "#", " ", "1", ";", "é", "ﬀ", "😀", "´"]


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(PIECES + VANISHING)).map("".join))
def test_normalising_twice_changes_nothing_whatever_stands_between_letters(text):
    assert normalise(normalise(text)) == normalise(text)


@pytest.mark.parametrize("between", VANISHING)
def test_lengthened_words_are_shortened_across_what_vanishes(between):
    assert normalise(f"so{between}o{between}o") == normalise("sooo")


@pytest.mark.parametrize(
    "entity",
    ["&#39;", "&#039;", "&#x27;", "&apos;", "&rsquo;", "&#8217;", "&#x2019;", "&amp;#8217;"],
)
def test_apostrophes_vanish_however_they_are_encoded(entity):
    assert normalise(f"don{entity}t") == "dont"
