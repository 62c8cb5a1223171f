"""Which words pushed a decision, and how hard."""

import numpy as np

WORDS = 128  # beyond these nothing is attributed, which bounds the cost of a long text
VARIANTS = 256  # of a text that are looked at, or for a long one twice its words
SEED = 0  # of the orders: the same text has the same answer


def word_attributions(classify, text):
    """Share out a text's answer among its words, by erasing them.

    To erase one word at a time (occlusion, Zeiler and Fergus 2014; for text Li et al. 2016) says
    nothing where words agree: without "happy", a text that also says "joyful" is as joyful as
    before. So all words are erased, one after the other, in random orders, and a word's share is
    by how much the probability of the answer falls when its turn comes, on average over the
    orders: its Shapley value, estimated by sampling (Štrumbelj and Kononenko 2010). Each order is
    also gone through backwards, where what came early comes late. The shares add up to the
    probability of the whole text less that of one without words.

    Args:
        classify: classifier.Classifier.
        text: str, as typed.

    Returns:
        list of (start, end, share), a word each: where it is in `text`, in characters, and by how
        much it raised (or lowered, below 0) the probability of the answer.
    """
    spans = classify.encode.tokenizer.encode(text).offsets[:WORDS]
    if not spans:
        return []
    count = len(spans)
    answer = classify.probabilities([text])[0].argmax()

    pairs = max(1, VARIANTS // 2 // (count + 1))
    rng = np.random.default_rng(SEED)
    orders = rng.permuted(np.tile(np.arange(count), (pairs, 1)), axis=1)
    turns = np.concatenate([orders, orders[:, ::-1]]).argsort(axis=1)  # (orders, words)

    starts, ends = zip(*spans, strict=True)
    words = [text[start:end] for start, end in spans]
    gaps = [text[end:start] for end, start in zip((0, *ends[:-1]), starts, strict=True)]

    def without(erased):
        kept = (" " if gone else word for word, gone in zip(words, erased, strict=True))
        return "".join(part for pair in zip(gaps, kept, strict=True) for part in pair)

    erased = turns[:, None] < np.arange(count + 1)[:, None]  # (orders, steps, words)
    variants = [without(row) for row in erased.reshape(-1, count).tolist()]
    probabilities = classify.probabilities(variants)[:, answer].reshape(-1, count + 1)
    falls = probabilities[:, :-1] - probabilities[:, 1:]
    shares = np.take_along_axis(falls, turns, axis=1).mean(axis=0)
    return [(start, end, share) for (start, end), share in zip(spans, shares.tolist(), strict=True)]
