"""What a network has to beat: TF-IDF and a linear SVM, trained in seconds.

python classical.py        # trains, prints the tables that test.py prints, writes results/
"""

import argparse
import functools
import pickle
import sys
import time

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.pipeline import make_pipeline
from sklearn.svm import LinearSVC

from data import add_data_arguments, load_corpus
from errors import InputError, one_line_errors
from metrics import add_measuring_arguments, check_measuring_arguments, measure
from tables import report, save_result, start_result
from text import normalise, word_counts


def tfidf_svm(train):
    """Return a scikit-learn pipeline of TF-IDF and a linear SVM, fitted to a data.Split."""
    vectorizer = TfidfVectorizer(preprocessor=normalise, ngram_range=(1, 2), sublinear_tf=True)
    pipeline = make_pipeline(vectorizer, LinearSVC(class_weight="balanced"))
    return pipeline.fit(train.texts, train.labels)


def class_scores(svm, features):
    """Return (texts, classes) float64: of two classes, scikit-learn scores the second one only."""
    scores = svm.decision_function(features)
    return np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores


def text_batches(vectorizer, texts, batch_size, device):
    """Batches of TF-IDF rows, with the same texts as the LSTM's batches; see batches.Batches."""
    order = torch.tensor(word_counts(texts)).argsort(stable=True)
    return [
        (vectorizer.transform([texts[row] for row in rows]), None, None, rows)
        for rows in order.split(batch_size)
    ]


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_data_arguments(parser)
    add_measuring_arguments(parser, ["fp32"])
    parser.set_defaults(device=["cpu"])
    args = parser.parse_args()
    if args.device != ["cpu"] or args.precision != ["fp32"]:
        raise InputError("scikit-learn computes on the CPU and in one precision: --device cpu")
    check_measuring_arguments(args)
    corpus = load_corpus(args, splits=("train", args.split))
    train = corpus.splits["train"]

    start = time.perf_counter()
    pipeline = tfidf_svm(train)
    print(f"trained in {time.perf_counter() - start:.1f} s", file=sys.stderr)

    vectorizer, svm = pipeline

    def decide(features, _):
        return torch.from_numpy(class_scores(svm, features))

    name = args.name or "tfidf-svm"
    result = start_result(
        name, "TF-IDF + LinearSVC", svm.coef_.size, corpus.provenance, corpus, args.split
    )
    run = measure(decide, functools.partial(text_batches, vectorizer), corpus, args, "cpu", "fp32")
    result["runs"].append({**run, "bytes": len(pickle.dumps(pipeline))})
    save_result(result, args.results)
    print(report(result))


if __name__ == "__main__":
    with one_line_errors():
        main()
