"""Text as people type it: how it is made, and how models are measured on it."""

import json
import random
from string import ascii_lowercase

import pytest
from hypothesis import given
from hypothesis import strategies as st

from test_raw import retype
from text import normalise

WORDS = st.lists(st.text(ascii_lowercase, min_size=1, max_size=9), min_size=1, max_size=12)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr("cache.CACHE", tmp_path / "cache")


@given(WORDS, st.integers(0, 1000))
def test_a_seed_decides_what_is_typed(words, seed):
    text = " ".join(words)
    assert retype(text, random.Random(seed)) == retype(text, random.Random(seed))


def test_most_of_what_is_typed_is_brought_back_by_the_tokenizer():
    text = "i didnt feel so sad about the rain and im fine"
    rng = random.Random(0)
    typed = [retype(text, rng) for _ in range(300)]
    assert len(set(typed)) > 150 and text not in typed
    share = [word in normalise(line).split() for line in typed for word in text.split()]
    assert sum(share) / len(share) > 0.93  # all but slips of the finger
    back = [normalise(line) for line in typed]
    assert sum(line.startswith(text) for line in back) > 150


def test_it_measures_and_compares(run, fails, trained, dataset, tmp_path):
    tweets = tmp_path / "tweets.txt"
    tweets.write_text(
        "".join(f"SO {word} {c}\n" for c in ascii_lowercase for word in ("sad", "mad"))
    )
    flags = ["--dataset", dataset, "--checkpoint", trained, "--results", tmp_path / "raw"]
    code, printed, stderr = run("test_raw.py", *flags, "--teacher", trained, "--unlabelled", tweets)
    assert code == 0, stderr
    saved = json.loads((tmp_path / "raw" / f"{trained.name}.json").read_text())
    assert saved["agreement"]["accuracy"] == 1  # with itself
    assert saved["agreement"]["rows"] == 5 and saved["retyped"]["rows"] == 39
    assert saved["retyped"]["accuracy"] > 0.5
    assert run("test_raw.py", "--compare", "--results", tmp_path / "raw")[1] == printed
    assert "--unlabelled" in fails("test_raw.py", *flags, "--teacher", trained)
    assert "no results" in fails("test_raw.py", "--compare", "--results", tmp_path / "none")
