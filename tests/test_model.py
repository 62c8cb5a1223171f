"""The LSTM, and its checkpoints."""

import json
import shutil

import pytest
import torch
from conftest import ROOT
from hypothesis import given, settings
from hypothesis import strategies as st

from batches import Batches
from checkpoint import FILES, WEIGHTS, size_on_disk
from errors import InputError
from metrics import predict
from model import EmotionLSTM, load_checkpoint, save_checkpoint
from text import UNKNOWN_ID, train_tokenizer

TOKENIZER = train_tokenizer(["a b c d e f g h"], min_frequency=1)
TEXTS = ["a", "b c", "d e f", "a b c d e f g h", "h g f e d c b a h g", "", "nothing known"]


def small_model(**settings):
    torch.manual_seed(0)
    sizes = {"embedding_size": 8, "hidden_size": 6, "layers": 2, **settings}
    return EmotionLSTM(["x", "y", "z"], TOKENIZER.get_vocab_size(), **sizes).eval()


@pytest.mark.parametrize("pooling", ["last", "max", "last+max"])
@pytest.mark.parametrize("layers", [1, 3])
def test_logits_do_not_depend_on_the_batch(pooling, layers):
    model = small_model(pooling=pooling, layers=layers)
    alone = predict(model, Batches(TOKENIZER, TEXTS, batch_size=1))
    for batch_size in (2, 3, len(TEXTS)):
        together = predict(model, Batches(TOKENIZER, TEXTS, batch_size=batch_size))
        torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_weights_that_are_views_of_one_buffer_are_saved(tmp_path):
    """As those of an LSTM on a GPU are."""
    model = small_model()
    weights = list(model.lstm.parameters())
    buffer = torch.cat([weight.detach().flatten() for weight in weights])
    for weight, part in zip(weights, buffer.split([w.numel() for w in weights]), strict=True):
        weight.data = part.view_as(weight)
    save_checkpoint(tmp_path, model, TOKENIZER, "")
    loaded, _ = load_checkpoint(tmp_path)
    for name, weight in model.state_dict().items():
        assert torch.equal(weight, loaded.state_dict()[name])


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 15), min_size=1, max_size=20))
def test_padding_changes_nothing_for_any_lengths(lengths):
    model = small_model()
    texts = [" ".join("abcdefgh"[(i * n) % 8] for i in range(n)) for n in lengths]
    alone = predict(model, Batches(TOKENIZER, texts, batch_size=1))
    together = predict(model, Batches(TOKENIZER, texts, batch_size=len(texts)))
    torch.testing.assert_close(together, alone, atol=1e-5, rtol=0)


def test_logits_come_in_the_order_of_the_texts():
    model = small_model()
    logits = predict(model, Batches(TOKENIZER, TEXTS, batch_size=2))
    for text, expected in zip(TEXTS, logits, strict=True):
        ids = torch.tensor([TOKENIZER.encode(text).ids or [UNKNOWN_ID]])
        torch.testing.assert_close(model(ids)[0], expected)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_lower_precision_agrees(dtype):
    model = small_model()
    full = predict(model, Batches(TOKENIZER, TEXTS))
    low = predict(model.to(dtype), Batches(TOKENIZER, TEXTS))
    torch.testing.assert_close(low, full, atol=0.02, rtol=0.02)


def test_words_are_dropped_in_training_only():
    model = small_model(word_dropout=0.99, dropout=0.0, embedding_dropout=0.0)
    tokens = torch.randint(2, 10, (50, 20))
    unknown = model(torch.full((50, 20), UNKNOWN_ID))
    assert not torch.allclose(model(tokens), unknown)
    torch.manual_seed(0)
    close = (model.train()(tokens) - unknown).abs().amax(dim=1) < 1e-6
    assert close.float().mean() > 0.5


def test_parameter_count_is_what_the_architecture_says():
    # Embedding; per direction and layer, four gates of input, state and two biases; linear.
    lstm = 2 * 4 * 64 * (256 + 64 + 2) + 2 * 2 * 4 * 64 * (128 + 64 + 2)
    assert EmotionLSTM(["a"] * 6, 7000).parameter_count == 7000 * 256 + lstm + 256 * 6 + 6


@pytest.fixture
def checkpoint(tmp_path):
    folder = tmp_path / "checkpoint"
    save_checkpoint(folder, small_model(data={"name": "toy"}), TOKENIZER, "the card")
    return folder


def test_a_checkpoint_is_loaded_as_it_was_saved(checkpoint):
    model, tokenizer = load_checkpoint(checkpoint)
    expected = small_model().state_dict()
    assert not model.training
    assert model.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[key]) for key, value in model.state_dict().items())
    assert model.classes == ["x", "y", "z"] and model.data == {"name": "toy"}
    assert tokenizer.to_str() == TOKENIZER.to_str()
    assert (checkpoint / "README.md").read_text() == "the card"
    assert sorted(file.name for file in checkpoint.iterdir()) == sorted(
        [*FILES, WEIGHTS, "README.md"]
    )


def test_saving_again_replaces(checkpoint):
    save_checkpoint(checkpoint, small_model(pooling="max"), TOKENIZER, "another card")
    assert load_checkpoint(checkpoint)[0].pooling == "max"


def truncate(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


@pytest.mark.parametrize("name", [*FILES, WEIGHTS])
@pytest.mark.parametrize("damage", ["missing", "truncated", "empty"])
def test_damaged_file_is_named(checkpoint, name, damage):
    path = checkpoint / name
    if damage == "missing":
        path.unlink()
    elif damage == "truncated":
        truncate(path)
    else:
        path.write_bytes(b"")
    with pytest.raises(InputError, match=name):
        load_checkpoint(checkpoint)


def test_weights_of_another_architecture_are_refused(checkpoint):
    config = json.loads((checkpoint / "config.json").read_text())
    (checkpoint / "config.json").write_text(json.dumps({**config, "hidden_size": 7}))
    with pytest.raises(InputError, match=r"do not make a model.*size mismatch"):
        load_checkpoint(checkpoint)


def test_tokenizer_of_another_model_is_refused(checkpoint):
    train_tokenizer(["a b"], min_frequency=1).save(str(checkpoint / "tokenizer.json"))
    with pytest.raises(InputError, match=r"tokenizer\.json has 4 tokens, the model 10"):
        load_checkpoint(checkpoint)


def test_pickled_weights_are_never_loaded(checkpoint):
    (checkpoint / "model.safetensors").unlink()
    torch.save(small_model().state_dict(), checkpoint / "pytorch_model.bin")
    with pytest.raises(InputError, match=r"no model\.safetensors"):
        load_checkpoint(checkpoint)


@pytest.mark.parametrize("name", ["no/model", "/no/such/folder", "a bad id!"])
def test_model_that_is_not_there(name):
    with pytest.raises(InputError, match="no folder"):
        load_checkpoint(name)


def test_full_disk_leaves_the_old_checkpoint(checkpoint, monkeypatch):
    before = {file.name: file.read_bytes() for file in checkpoint.iterdir()}

    def disk_full(self, folder, **_):
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(EmotionLSTM, "save_pretrained", disk_full)
    with pytest.raises(OSError, match="No space"):
        save_checkpoint(checkpoint, small_model(), TOKENIZER, "new card")
    assert {file.name: file.read_bytes() for file in checkpoint.iterdir()} == before


def test_the_shipped_checkpoint_is_small_and_knows_feelings():
    folder = ROOT / "checkpoints" / "lstm"
    assert size_on_disk(folder, WEIGHTS) <= 10_000_000
    model, tokenizer = load_checkpoint(folder)
    texts = ["i feel so lonely and sad", "I'm SO happy!!! 😀", "i am furious", "im terrified"]
    answers = predict(model, Batches(tokenizer, texts)).argmax(dim=1)
    assert [model.classes[i] for i in answers] == ["sadness", "joy", "anger", "fear"]


def test_a_copied_checkpoint_works(checkpoint, tmp_path):
    shutil.copytree(checkpoint, tmp_path / "copy")
    assert load_checkpoint(str(tmp_path / "copy"))[0].classes == ["x", "y", "z"]
