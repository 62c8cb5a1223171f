"""What is learnt from other models: answers, unlabelled text, word vectors."""

import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from conftest import SMALL, WORDS, data_arguments, rows_of
from test_transformers import save_bert
from torch import nn

import teachers
from batches import Batches
from data import load_corpus, load_texts
from errors import InputError
from metrics import predict
from model import load_checkpoint
from teachers import distance_to_teacher, teacher_logits, unlabelled_texts, word_vectors
from text import normalise
from train import balance

CLASSES = sorted(WORDS)


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    monkeypatch.setattr("cache.CACHE", tmp_path / "cache")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    return save_bert(tmp_path_factory.mktemp("models") / "bert", labels=["Joy", "SADNESS", "anger"])


@pytest.fixture
def tweets(tmp_path):
    """Sixty raw tweets, one of them twice, one empty, one a validation text."""
    validation = next(rows_of("validation", 1))[0]
    lines = [f"SO {word}!!! {chr(97 + n)}" for n in range(20) for word in ("sad", "mad", "glad")]
    path = tmp_path / "tweets.txt"
    path.write_text("\n".join([*lines, lines[0].lower(), "", validation.upper()]) + "\n")
    return path


def test_distance_is_hintons(texts=8, classes=3):
    student, teacher = torch.randn(2, texts, classes, generator=torch.Generator().manual_seed(0))
    p = (teacher / 3).softmax(dim=1)
    expected = 9 * (p * (p.log() - (student / 3).softmax(dim=1).log())).sum(dim=1).mean()
    torch.testing.assert_close(distance_to_teacher(student, teacher, 3.0), expected)
    assert distance_to_teacher(teacher, teacher + 5, 2.0).abs() < 1e-6


def test_balance_makes_every_class_weigh_the_same():
    labels = [0] * 6 + [1] * 3 + [2] + [-100] * 5
    weights, rows, bonus = balance(labels, 3, "loss")
    assert rows is None and not bonus.any()
    counts = torch.tensor([6, 3, 1])
    torch.testing.assert_close(weights * counts, torch.full((3,), 10 / 3))
    weights, rows, bonus = balance(labels, 3, "sampler")
    assert weights is None and rows[-5:].tolist() == [1] * 5
    torch.testing.assert_close(rows[:6].sum(), rows[9])
    _, _, bonus = balance(labels, 3, "logits")
    torch.testing.assert_close(bonus.exp(), torch.tensor([0.6, 0.3, 0.1]))
    assert balance(labels, 4, "loss")[0].isfinite().all()  # a class without a row


def test_rows_are_drawn_in_proportion_to_their_weights(trained):
    _, tokenizer = load_checkpoint(trained)
    weights = torch.tensor([1.0] * 50 + [9.0] * 50)
    generator = torch.Generator().manual_seed(0)
    batches = Batches(tokenizer, ["sad"] * 100, generator=generator, weights=weights)
    drawn = torch.cat([rows for _ in range(50) for *_, rows in batches])
    assert len(drawn) == 5000
    assert (drawn >= 50).float().mean() == pytest.approx(0.9, abs=0.02)


def test_logits_are_the_mean_of_all_teachers_in_the_order_of_the_classes(trained, bert, dataset):
    texts = load_corpus(data_arguments("--dataset", dataset), ("test",)).splits["test"].texts
    both = teacher_logits([trained, bert], texts, CLASSES)
    one, other = (teacher_logits([name], texts, CLASSES) for name in (trained, bert))
    torch.testing.assert_close(both, (one + other) / 2)
    model, tokenizer = load_checkpoint(trained)
    torch.testing.assert_close(one, predict(model, Batches(tokenizer, texts)))
    turned = teacher_logits([trained], texts, CLASSES[::-1])
    torch.testing.assert_close(turned, one.flip(1))


def test_answers_are_computed_once_and_never_stale(trained, cache, monkeypatch, tmp_path):
    texts = ["i feel sad", "i feel glad"]
    first = teacher_logits([trained], texts, CLASSES)
    assert len(list(cache.iterdir())) == 1

    def fails(*_):
        raise AssertionError("computed again")

    with monkeypatch.context() as patched:
        patched.setattr(teachers, "predict", fails)
        assert torch.equal(teacher_logits([trained], texts, CLASSES), first)
        with pytest.raises(AssertionError):
            teacher_logits([trained], texts[::-1], CLASSES)
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    model, _ = load_checkpoint(other)
    nn.init.ones_(model.linear.bias)
    model.save_pretrained(other)
    assert not torch.equal(teacher_logits([other], texts, CLASSES), first)


def test_a_transformer_saved_in_half_precision_teaches_too(bert, tmp_path):
    from transformers import AutoModelForSequenceClassification

    half = tmp_path / "half"
    shutil.copytree(bert, half)
    AutoModelForSequenceClassification.from_pretrained(bert).bfloat16().save_pretrained(half)
    ours, theirs = (teacher_logits([name], ["i feel sad"], CLASSES) for name in (half, bert))
    torch.testing.assert_close(ours, theirs, atol=0.05, rtol=0.05)
    assert word_vectors(half, ["sad", "glad", "low"], 2).dtype == torch.float32


def test_what_is_no_teacher(trained, tmp_path):
    with pytest.raises(InputError, match="the data set has joy, love"):
        teacher_logits([trained], ["a"], ["joy", "love"])
    with pytest.raises(InputError, match="no model on the Hub: the Hub cannot be reached"):
        teacher_logits(["nobody/nothing"], ["a"], CLASSES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no config\.json"):
        teacher_logits([tmp_path / "empty"], ["a"], CLASSES)
    (tmp_path / "empty" / "config.json").write_text("{")
    with pytest.raises(InputError, match=r"config\.json is broken"):
        teacher_logits([tmp_path / "empty"], ["a"], CLASSES)


def test_unlabelled_texts_are_kept_apart_always_in_the_same_way(tweets):
    validation = [next(rows_of("validation", 1))[0]]
    training, held_out = unlabelled_texts([tweets])
    again, held_out_again = unlabelled_texts([tweets], exclude=validation)
    assert held_out == held_out_again and len(held_out) == 6
    assert len(training) + len(held_out) == 61
    keys = [normalise(text) for text in training + held_out]
    assert len(set(keys)) == len(keys)
    assert set(training) - set(again) <= {validation[0].upper()}
    assert not {normalise(text) for text in again} & set(validation)


def test_texts_from_every_kind_of_source(tmp_path):
    texts = ["one", "two"]
    (tmp_path / "t.csv").write_text('tweet\none\ntwo\n""\n')
    pq.write_table(pa.table({"tweet": [*texts, None]}), tmp_path / "train-00000.parquet")
    (tmp_path / "t.jsonl").write_text('{"tweet": "one"}\n{"tweet": "two"}\n')
    for name in ("t.csv", "train-00000.parquet", "t.jsonl"):
        assert load_texts(tmp_path / name, "tweet") == texts
    folder = tmp_path / "folder"
    folder.mkdir()
    shutil.copy(tmp_path / "train-00000.parquet", folder)
    assert load_texts(folder, "tweet") == texts
    with pytest.raises(InputError, match="no column 'text'"):
        load_texts(folder)
    with pytest.raises(InputError, match="the Hub cannot be reached"):
        load_texts("cardiffnlp/tweet_eval:irony")
    (tmp_path / "t.txt").write_bytes(b"fine\n\xff\n")
    with pytest.raises(InputError, match=r"t\.txt: .*utf-8"):
        load_texts(tmp_path / "t.txt")


def test_word_vectors_from_a_file_keep_who_is_near_whom(tmp_path):
    words = ["[PAD]", "[UNK]", "glad", "happy", "sad", "low", "new"]
    known = {"glad": (9, 1, 0), "happy": (8, 2, 0), "sad": (-8, 1, 1), "low": (-9, 2, 1)}
    lines = [" ".join([word, *map(str, vector)]) for word, vector in known.items()]
    file = tmp_path / "vectors.txt"
    for header in ([], ["4 3"]):  # GloVe's format, fastText's
        file.write_text("\n".join([*header, "unseen 1 2 3", *lines]) + "\n")
        vectors = word_vectors(file, words, 2)
        assert vectors.shape == (7, 2)
        assert vectors[2:6].std() == pytest.approx(1)
        assert vectors[2] @ vectors[3] > 0 > vectors[2] @ vectors[4]
        assert vectors[6].any()
    for text, reason in (
        ("glad 1 x 3\n", "line 1: could not convert"),
        ("glad 1 2\nsad 1 2 3\n", "different lengths"),
        ("unseen 1 2\n", "none of the words"),
        ("glad 1 2\nsad 2 1\n", "too little for --embedding-size 3"),
    ):
        file.write_text(text)
        with pytest.raises(InputError, match=reason):
            word_vectors(file, words, 3)


def test_word_vectors_from_a_transformer_do_not_depend_on_the_batch(bert, monkeypatch):
    words = ["sad", "glad", "i", "feel", "sadness", "very"]
    states = teachers._transformer_vectors(bert, words, "cpu")
    alone = torch.cat([teachers._transformer_vectors(bert, [word], "cpu") for word in words])
    torch.testing.assert_close(states, alone, atol=1e-5, rtol=1e-5)
    assert word_vectors(bert, words, 2).shape == (6, 2)


def test_a_run_with_everything(run, fails, trained, bert, dataset, tweets, tmp_path):
    flags = ["--dataset", dataset, *SMALL, "--output", tmp_path / "r", "--teacher", trained, bert]
    flags += ["--unlabelled", tweets, "--embeddings", bert, "--balance", "sampler"]
    code, printed, stderr = run("train.py", *flags)
    assert code == 0, stderr
    assert "120 texts and 54 unlabelled" in printed
    model, tokenizer = load_checkpoint(tmp_path / "r")
    assert model.data["teachers"] == [trained.name, "bert"] and model.data["unlabelled"] == 54
    assert model.temperature != 1
    assert "glad" in tokenizer.get_vocab()  # which only the training split has in common
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    assert config["data"]["name"] == dataset.name
    code, _, stderr = run("train.py", "--resume", "--output", tmp_path / "r")
    assert code == 0, stderr
    with open(tweets, "a") as file:
        file.write("one more\n")
    assert "not the data" in fails("train.py", "--resume", "--output", tmp_path / "r")


def test_unlabelled_texts_need_a_teacher(fails, dataset, tweets):
    assert "--teacher" in fails("train.py", "--dataset", dataset, "--unlabelled", tweets)


def test_a_student_comes_to_agree_with_its_teacher(run, trained, dataset, tmp_path):
    """With all the weight on a teacher that turns every answer around, its answers are learnt."""
    model, tokenizer = load_checkpoint(trained)
    with torch.no_grad():
        model.linear.weight.copy_(model.linear.weight.roll(1, 0))
        model.linear.bias.copy_(model.linear.bias.roll(1, 0))
    wrong = tmp_path / "wrong"
    shutil.copytree(trained, wrong)
    model.save_pretrained(wrong)
    flags = ["--dataset", dataset, *SMALL, "--epochs", 12, "--output", tmp_path / "r"]
    flags += ["--teacher", wrong, "--distillation-weight", 0.999]
    assert run("train.py", *flags)[0] == 0
    texts = [text for text, _ in rows_of("train", 60)]
    # The epoch that is kept is the best by the true labels, so the last one is looked at.
    from history import read_state
    from model import EmotionLSTM

    state, _ = read_state(tmp_path / "r")
    config = json.loads((tmp_path / "r" / "config.json").read_text())
    student = EmotionLSTM(**config).eval()
    prefix = "average."
    weights = {k.removeprefix(prefix): v for k, v in state.items() if k.startswith(prefix)}
    student.load_state_dict(weights)
    answers = predict(student, Batches(tokenizer, texts)).argmax(dim=1)
    taught = teacher_logits([wrong], texts, CLASSES).argmax(dim=1)
    assert (answers == taught).float().mean() > 0.8  # the labels agree with it on a third
