"""The bundled synthetic data."""

import hashlib
import shutil
from collections import Counter

from conftest import ROOT, data_arguments, launch

from data import load_corpus
from text import normalise

SAMPLE = ROOT / "sample"
FILES = [SAMPLE / f"{split}.csv" for split in ("train", "validation", "test")]


def test_size_and_classes():
    corpus = load_corpus(data_arguments("--dataset", "sample"))
    assert [len(split.texts) for split in corpus.splits.values()] == [2400, 300, 300]
    assert sorted(corpus.classes) == ["anger", "fear", "joy", "love", "sadness", "surprise"]
    counts = Counter(corpus.splits["train"].labels)
    assert max(counts.values()) > 6 * min(counts.values()), "as uneven as the real corpus"
    assert sum(file.stat().st_size for file in FILES) < 400_000


def test_no_text_comes_twice():
    corpus = load_corpus(data_arguments("--dataset", "sample"))
    texts = [normalise(text) for split in corpus.splits.values() for text in split.texts]
    assert len(set(texts)) == len(texts)


def test_it_is_made_again_byte_for_byte(tmp_path):
    for name in ("make.py", "phrases.py"):
        shutil.copy(SAMPLE / name, tmp_path)
    done = launch(tmp_path / "make.py")
    assert done.returncode == 0, done.stderr
    for file in FILES:
        made = (tmp_path / file.name).read_bytes()
        assert hashlib.sha256(made).digest() == hashlib.sha256(file.read_bytes()).digest()
