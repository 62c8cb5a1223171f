"""Measure how models hold up on text as people type it.

python test_raw.py --checkpoint checkpoints/lstm         # the validation texts, typed by a person
python test_raw.py --checkpoint checkpoints/lstm --teacher checkpoints/bert-base-uncased \\
    --unlabelled cardiffnlp/tweet_eval:irony              # and agreement on raw tweets
python test_raw.py --compare                              # all models measured, side by side
"""

import argparse
import random
from pathlib import Path

from sklearn.metrics import accuracy_score, f1_score

from checkpoint import SHIPPED
from data import add_data_arguments, load_corpus
from errors import InputError, one_line_errors
from metrics import predict
from tables import RESULTS, load_raw_results, raw_table, save_result
from teachers import load_teacher, teacher_logits, unlabelled_texts

CONTRACTIONS = {"i": "I", "im": "I'm", "ive": "I've", "thats": "that's", "its": "it's"} | {
    f"{word}nt": f"{word}n't" for word in ("do", "did", "does", "is", "was", "have", "could")
}
ENDS = (".", "...", "!", "!!!", "?", "?!", " :)", " 😂", " 🙄", " 💯", " 👀", " ✨")


def retype(text, rng):
    """Return a corpus text as a person might have typed it: evaluation only, nobody trains on it.

    Capitals, punctuation, apostrophes, a lengthened word, emoji, a hashtag, a mention, a link, and
    a slip of the finger in one word in twenty.

    Args:
        text: str, lower-case words separated by spaces.
        rng: random.Random.
    """
    words = [CONTRACTIONS.get(word, word) for word in text.split()]
    for i, word in enumerate(words):
        if len(word) > 4 and rng.random() < 0.05:
            at = rng.randrange(1, len(word) - 2)
            swapped = word[:at] + word[at + 1] + word[at] + word[at + 2 :]
            words[i] = rng.choice((swapped, word[:at] + word[at + 1 :]))
    at = rng.randrange(len(words))
    if rng.random() < 0.2:
        words[at] = words[at].upper()
    if rng.random() < 0.2:
        words[rng.randrange(len(words))] += rng.choice((",", " -", "..."))
    if rng.random() < 0.1:
        words[at] += 3 * words[at][-1]
    if rng.random() < 0.2 and words[-1].isalpha():
        words[-1] = "#" + words[-1]
    if rng.random() < 0.3:
        words[0] = words[0].capitalize()
    if rng.random() < 0.2:
        words.insert(0, rng.choice(("@user", "@BarackObama:", "RT @nasa:")))
    line = " ".join(words) + rng.choice(ENDS)
    return line + rng.choice(("", "", "", " https://t.co/x1Y2z", " &amp; more"))


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    parser.add_argument(
        "--checkpoint",
        nargs="+",
        default=[str(SHIPPED)],
        metavar="MODEL",
        help="LSTMs or transformers, folders or Hub ids (default: checkpoints/lstm)",
    )
    parser.add_argument("--split", default="validation", help="(default: %(default)s)")
    parser.add_argument("--teacher", nargs="+", metavar="MODEL", help="what is agreed with")
    parser.add_argument(
        "--unlabelled",
        nargs="+",
        metavar="SOURCE",
        help="raw texts, as in train.py, which never trains on those taken here",
    )
    parser.add_argument(
        "--results",
        type=Path,
        default=RESULTS / "raw",
        help="folder of the results (default: results/raw)",
    )
    parser.add_argument("--compare", action="store_true", help="print what is in --results only")
    args = parser.parse_args()
    if bool(args.teacher) != bool(args.unlabelled):
        raise InputError("--teacher and --unlabelled: agreement takes both")
    return args


def main():
    args = parse_arguments()
    if not args.compare:
        corpus = load_corpus(args, splits=(args.split,))
        split = corpus.splits[args.split]
        provenance = corpus.provenance["splits"][args.split]
        data = {"name": corpus.name, "split": args.split, **provenance}
        rng = random.Random(0)
        retyped = [retype(text, rng) for text in split.texts]
        if args.teacher:
            _, held_out = unlabelled_texts(args.unlabelled, args.text_column)
            agreed = teacher_logits(args.teacher, held_out, corpus.classes).argmax(dim=1).tolist()
        for checkpoint in args.checkpoint:
            model, make_batches, order = load_teacher(checkpoint, corpus.classes)

            def scores(texts, labels, model=model, make_batches=make_batches, order=order):
                answers = predict(model, make_batches(texts, batch_size=64))[:, order].argmax(dim=1)
                return {
                    "rows": len(labels),
                    "accuracy": accuracy_score(labels, answers),
                    "macro_f1": f1_score(labels, answers, average="macro"),
                }

            result = {
                "name": Path(checkpoint).absolute().name,
                "data": data,
                "as_it_is": scores(split.texts, split.labels),
                "retyped": scores(retyped, split.labels),
            }
            if args.teacher:
                names = [Path(name).absolute().name for name in args.teacher]
                result["agreement"] = {"teachers": names, **scores(held_out, agreed)}
            save_result(result, args.results)
    print(raw_table(load_raw_results(args.results)))


if __name__ == "__main__":
    with one_line_errors():
        main()
