"""Raw text to token ids."""

import string
from itertools import chain

import pytest
from conftest import CORPUS, data_arguments, needs_corpus
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, normalizers, pre_tokenizers

from batches import Batches
from data import load_corpus, load_texts
from text import PADDING, UNKNOWN, UNKNOWN_ID, Encoder, normalise, train_tokenizer, word_counts

TYPED = "I'm SO happy!!! 😀 @bob http://t.co/x #blessed"
PIECES = (
    "I'm soooo HAPPY @bob #joy https://t.co/x1 &amp; &#39; café 😀 don’t www.x.com <3 é & a № ﬁ ´"
)
VANISHING = ["'", "’", "\u0301", "\u200b", "&#39;"]
BETWEEN = ["a", "aa", "w", "ww.", "www.", "@", "&amp;", "#", " ", "1", ";", "é", "ﬀ", "😀", "´"]
tweets = st.text() | st.lists(st.sampled_from([*PIECES.split(), "\u200b", "\n"])).map(" ".join)


@pytest.fixture(scope="module")
def tokenizer():
    return train_tokenizer(["i am happy happy", "i am sad", "i am so sad blessed"], min_frequency=1)


@pytest.mark.parametrize(
    ("typed", "plain"),
    [
        (TYPED, "im so happy blessed"),
        ("I’m, I‘m, I´m and Iʼm", "im im im and im"),
        ("you&#39;re you&rsquo;re you&amp;#39;re", "youre youre youre"),
        ("this &amp; that &lt;3 &amp;amp; &quot;more&quot;", "this that more"),
        ("crème brûlée in Zürich", "creme brulee in zurich"),
        ("cre\u0301me", "creme"),
        ("soooooo HAPPYYYY", "soo happyy"),
        ("hap\u200bpy so\u00adft \ufeffword", "happy soft word"),
        ("👨\u200d👩\u200d👧 family ❤️", "family"),
        ("ｆｕｌｌ 𝐛𝐨𝐥𝐝 𝓈𝒸𝓇𝒾𝓅𝓉 ﬁne", "full bold script fine"),
        ("Привет мир 你好 سلام", ""),
        ("2 cool 4 school", "cool school"),
        ("well-known,no space.after", "well known no space after"),
        ("see http://a.b/c?d=E#f and www.x.com/Y or pic.twitter.com/Zz", "see and or"),
        ("@a_b1 hi @you: bye@", "hi bye"),
        ("R&B and AT&T", "r b and at t"),
        ("tabs\tand\nlines\r\nand\u00a0spaces", "tabs and lines and spaces"),
        ("", ""),
        ("😀😀 !!! 123", ""),
    ],
)
def test_typed_text_takes_the_form_of_the_corpus(typed, plain):
    assert normalise(typed) == plain


@given(tweets)
def test_only_words_of_letters_remain(text):
    plain = normalise(text)
    assert set(plain) <= set(string.ascii_lowercase + " ")
    assert plain == " ".join(plain.split())


@given(tweets)
def test_normalising_twice_changes_nothing(text):
    assert normalise(normalise(text)) == normalise(text)


@given(st.text(string.ascii_lowercase + " '.,!?#", max_size=60))
def test_capitals_change_nothing(text):
    assert normalise(text.upper()) == normalise(text)


@given(tweets)
def test_tokenizer_and_normalise_see_the_same_words(text):
    plain = normalise(text).split()
    tokenizer = train_tokenizer([text], min_frequency=1, max_length=1000)
    assert tokenizer.encode(text).tokens == plain
    assert word_counts([text]) == [max(1, len(plain))]


def test_saved_tokenizer_reads_raw_text_by_itself(tokenizer, tmp_path):
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    loaded = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert loaded.encode(TYPED).ids == tokenizer.encode(TYPED).ids
    assert loaded.encode(TYPED).tokens == ["[UNK]", "so", "happy", "blessed"]


def test_rare_words_are_unknown():
    tokenizer = train_tokenizer(["twice twice once"], min_frequency=2)
    assert tokenizer.encode("twice once").tokens == ["twice", "[UNK]"]


def test_vocabulary_does_not_depend_on_the_run():
    texts = [f"{a}{b} {b}{a}" for a in "abcdefgh" for b in "abcdefgh"]
    first, second = (train_tokenizer(texts, min_frequency=1) for _ in range(2))
    assert first.to_str() == second.to_str()


def test_long_texts_are_cut():
    tokenizer = train_tokenizer(["a b"], min_frequency=1, max_length=5)
    assert len(tokenizer.encode("a b " * 100).ids) == 5


@pytest.mark.parametrize("text", ["so happy " * 110_000, "a" * 1_000_000, "@#&'" * 250_000])
def test_a_megabyte_is_no_trouble(tokenizer, text):
    assert len(tokenizer.encode(text).ids) <= 128


def test_text_without_words_is_one_unknown_word(tokenizer):
    ((tokens, lengths, _, _),) = Batches(tokenizer, ["", "😀", "!!!"])
    assert tokens.tolist() == [[UNKNOWN_ID]] * 3
    assert lengths is None


@needs_corpus
def test_the_corpus_is_already_in_this_form():
    corpus = load_corpus(data_arguments("--dataset", CORPUS))
    assert {name: len(split.texts) for name, split in corpus.splits.items()} == {
        "train": 16_000,
        "validation": 2_000,
        "test": 2_000,
    }
    assert corpus.classes == ["sadness", "joy", "love", "anger", "fear", "surprise"]
    texts = corpus.splits["train"].texts
    changed = [text for text in texts if normalise(text) != text]
    # What changes are lengthened words.
    assert len(changed) < 0.01 * len(texts)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.sampled_from(BETWEEN + VANISHING)).map("".join))
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


def agree(tokenizer, texts, encode=None):
    words, lengths = (encode or Encoder(tokenizer))(texts)
    expected = [encoding.ids or [UNKNOWN_ID] for encoding in tokenizer.encode_batch(texts)]
    return words.tolist() == list(chain(*expected)) and lengths.tolist() == list(map(len, expected))


odd = st.sampled_from(
    [
        *PIECES.split(),
        *BETWEEN,
        *VANISHING,
        PADDING,
        UNKNOWN,
        "[pad]",
        "\x1c",
        "\x1f",
        "\x85",
        "\xa0",
    ]
)
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]


@settings(max_examples=1000, deadline=None)
@given(st.lists(tweets | st.lists(odd).map("".join)))
@example(["www.\x1fa", "so happy"])
def test_encoder_agrees_with_the_tokenizer(texts):
    tokenizer = train_tokenizer([*PIECES.split(), "i am so happy"], min_frequency=1, max_length=6)
    encode = Encoder(tokenizer)
    assert agree(tokenizer, texts, encode)
    assert agree(tokenizer, texts, encode), "and the second time, from memory"


def test_encoder_agrees_with_the_tokenizer_on_every_character(tokenizer):
    texts = [f"happy{c} {c}sad a{c}m so{c}o{c}o {c} {c}he" for c in CHARACTERS[::29]]
    assert agree(tokenizer, texts)


@needs_corpus
def test_encoder_agrees_with_the_tokenizer_on_real_tweets(tokenizer):
    texts = load_texts(CORPUS.parent / "tweets")[:20_000]
    assert agree(tokenizer, texts)


def test_encoder_leaves_other_rules_to_their_tokenizer():
    tokenizer = train_tokenizer(["I am Happy"], min_frequency=1)
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    assert agree(tokenizer, ["am happy!"])


def test_what_the_encoder_remembers_is_bounded(tokenizer):
    encode = Encoder(tokenizer)
    encode.known.limit = len(encode.known) + 10
    texts = [f"happy word{i} a{i}b @{i}" for i in range(100)]
    assert agree(tokenizer, texts, encode)
    assert len(encode.known) <= encode.known.limit
