"""Labelled and unlabelled texts in, batches out: loading splits, checking them, batching.

PyTorch is imported where batches are made, so that a script's flags need not wait for it.
"""

import csv
import hashlib
import logging
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from cache import cached
from errors import InputError
from hub import hub_answers
from text import PADDING_ID, UNKNOWN_ID, Encoder, flatten, normalise, train_tokenizer

DEFAULT_DATASET = "dair-ai/emotion"
FULL = "unsplit"  # configuration of the default data set that holds all its rows
SAMPLE = Path(__file__).parent / "sample"
HELD_OUT = 5_000  # unlabelled texts that no run trains on, to measure on
MANY = 1_000  # texts for which it pays to read the tokenizer's vocabulary first
VERY_MANY = 100_000  # texts for which it pays to keep their words


class Batches:
    """Texts as token ids on a device, cut into batches of nearly equal length.

    Texts are sorted by length, cut into batches, and the batches are shuffled; with a generator,
    texts of equal length change places too, so every epoch has other batches. On the corpus 99 %
    of what is computed is words, and most batches need no padding at all. With weights, as many
    texts are drawn, with replacement, in their proportion.

    Args:
        tokenizer: tokenizers.Tokenizer.
        texts: list of str. A text without a known character counts as one unknown word.
        labels: list of int, or None.
        batch_size: texts a batch.
        device: where the batches are to be.
        generator: torch.Generator on the CPU that shuffles, or None to keep the sorted order.
        padding_id: id that fills up shorter texts.
        sort_by: list of int, one a text, to sort by in place of the number of tokens.
        weights: (texts,) float, how often each is drawn in relation to the others, or None.

    Iterating yields (tokens, lengths, labels, rows):
        tokens: (batch, length) int64.
        lengths: (batch,) int64 on the CPU, or None if no text in the batch is padded.
        labels: (batch,) int64 or None.
        rows: (batch,) int64 on the CPU, the texts' positions in `texts`.
    """

    def __init__(
        self,
        tokenizer,
        texts,
        labels=None,
        batch_size=32,
        device="cpu",
        generator=None,
        padding_id=PADDING_ID,
        sort_by=None,
        weights=None,
    ):
        import torch

        words, lengths = encode(tokenizer, texts)
        # One flat array instead of a padded table: memory is the words that there are. What a
        # batch is gathered from lies on the device, so that no step waits for a transfer.
        self.words = torch.from_numpy(words).to(device)
        self.lengths = torch.from_numpy(lengths)
        self.lengths_there = self.lengths.to(device)
        self.starts = self.lengths_there.cumsum(0) - self.lengths_there
        self.positions = torch.arange(int(self.lengths.max()), device=device)
        self.labels = None if labels is None else torch.tensor(labels, device=device)
        self.batch_size = batch_size
        self.generator = generator
        self.padding_id = padding_id
        self.sort_by = self.lengths if sort_by is None else torch.tensor(sort_by)
        self.weights = weights

    def __len__(self):
        return -(-len(self.lengths) // self.batch_size)

    def __iter__(self):
        import torch

        if self.generator is None:
            order = self.sort_by.argsort(stable=True)
            turns = range(len(self))
        else:
            count = len(self.lengths)
            if self.weights is None:
                mixed = torch.randperm(count, generator=self.generator)
            else:
                mixed = self.weights.multinomial(count, True, generator=self.generator)
            order = mixed[self.sort_by[mixed].argsort(stable=True)]
            turns = torch.randperm(len(self), generator=self.generator).tolist()
        batches = order.split(self.batch_size)
        batches_there = order.to(self.words.device).split(self.batch_size)
        for turn in turns:
            yield self._batch(batches[turn], batches_there[turn])

    def _batch(self, rows, rows_there):
        """Return (tokens, lengths, labels, rows), given (batch,) `rows` here and on the device."""
        lengths = self.lengths[rows]
        longest = int(lengths.max())
        positions = self.positions[:longest]
        places = self.starts[rows_there, None] + positions
        labels = None if self.labels is None else self.labels[rows_there]
        if int(lengths.min()) == longest:
            return self.words[places], None, labels, rows
        padded = positions >= self.lengths_there[rows_there, None]
        tokens = self.words[places.masked_fill(padded, 0)]
        return tokens.masked_fill(padded, self.padding_id), lengths, labels, rows


def share(batch, index, count):
    """Return what one of several processes computes of a batch, and which share of it that is.

    A process for which no text is left gets the first one, and a share of 0: all processes take
    as many steps.

    Args:
        batch: what Batches yields.
        index, count: which process, of how many.
    """
    rows = batch[-1]
    own = len(rows[index::count])
    part = slice(index, None, count) if own else slice(1)
    return [None if column is None else column[part] for column in batch], own / len(rows)


def encode(tokenizer, texts):
    """Return the words of all texts, one after the other, and how many each text has.

    Args:
        tokenizer: tokenizers.Tokenizer.
        texts: list of str. One without a known character counts as one unknown word.

    Returns:
        (words,) int64 ids, (texts,) int64 lengths, both NumPy's.
    """
    if len(texts) < MANY:
        ids = [encoding.ids or [UNKNOWN_ID] for encoding in tokenizer.encode_batch_fast(texts)]
        return flatten(ids)
    if len(texts) < VERY_MANY:
        return Encoder(tokenizer)(texts)

    def compute():
        return dict(zip(("words", "lengths"), Encoder(tokenizer)(texts), strict=True))

    arrays = cached(["words", tokenizer.to_str(), *texts], compute)
    return arrays["words"], arrays["lengths"]


def make_tokenizer(texts, min_frequency, max_length):
    """Return `text.train_tokenizer` of the same arguments, kept if there are very many texts."""
    if len(texts) < VERY_MANY:
        return train_tokenizer(texts, min_frequency, max_length)

    def compute():
        tokenizer = train_tokenizer(texts, min_frequency, max_length)
        return {"json": np.frombuffer(tokenizer.to_str().encode(), dtype=np.uint8)}

    rules = train_tokenizer([], min_frequency, max_length).to_str()
    arrays = cached(["tokenizer", rules, str(min_frequency), *texts], compute)
    return Tokenizer.from_str(arrays["json"].tobytes().decode())


@dataclass
class Split:
    """Texts and their labels (indices into the corpus' classes)."""

    texts: list
    labels: list

    @property
    def fingerprint(self):
        """A short hash of all texts and labels in order: equal if and only if the rows are."""
        digest = hashlib.sha256()
        for text, label in zip(self.texts, self.labels, strict=True):
            digest.update(f"{label}\t{text}\0".encode())
        return digest.hexdigest()[:16]


@dataclass
class Corpus:
    """A labelled data set: its name, the names of its classes, its splits by name."""

    name: str
    classes: list
    splits: dict

    @property
    def provenance(self):
        """What a checkpoint or a result records of the data that it came from."""
        return {
            "name": self.name,
            "splits": {
                name: {"rows": len(split.texts), "fingerprint": split.fingerprint}
                for name, split in self.splits.items()
            },
        }


def add_data_arguments(parser):
    """Add the flags that say which data a script reads."""
    group = parser.add_argument_group("data")
    group.add_argument(
        "--dataset",
        help="a local folder (the Hub's layout, or train|validation|test files in .parquet, .csv, "
        ".tsv, .jsonl, or .txt with text;label lines), 'sample' (bundled), or a Hub id "
        f"(default: {DEFAULT_DATASET}, or the sample if the Hub cannot be reached)",
    )
    group.add_argument(
        "--dataset-config",
        help=f"the data set's configuration, if it has several; '{FULL}' trains on all that is not "
        "in the evaluation splits of 'split'",
    )
    group.add_argument("--text-column", default="text", help="(default: %(default)s)")
    group.add_argument("--label-column", default="label", help="(default: %(default)s)")


def load_corpus(args, splits=("train", "validation", "test"), classes=None):
    """Load and check the splits of the data set that the flags name.

    Args:
        args: namespace with the flags of `add_data_arguments`.
        splits: names of the splits to load.
        classes: names that the labels must have, in the order of the indices wanted; None takes
            them from the data (ClassLabel, else the sorted distinct labels of the first split).

    Returns:
        Corpus.

    Raises:
        InputError: no such data set, split or column; a file that cannot be read; a text or label
            that is missing, empty or unknown. Names the file and the row (counted from 1).
    """
    name = args.dataset or DEFAULT_DATASET
    if name == "sample" or Path(name).exists() or hub_answers():
        return _load(name, args, splits, classes)
    try:
        return _load(name, args, splits, classes)  # cached by an earlier run, perhaps
    except InputError:
        if args.dataset:
            raise InputError(
                f"--dataset {name}: no such folder, and the Hub cannot be reached"
            ) from None
    bar = "!" * 88
    print(
        f"{bar}\nWARNING: the Hub cannot be reached, so this is NOT {name}: going on with the\n"
        "bundled synthetic sample. Its numbers say nothing about real tweets. To use a copy of\n"
        f"the data that you have: --dataset FOLDER\n{bar}",
        file=sys.stderr,
    )
    return _load("sample", args, splits, classes)


def load_texts(source, column="text"):
    """Read texts that need no labels; rows without text are passed over.

    Args:
        source: a file (.txt: one text a line; .parquet, .csv, .tsv, .jsonl), a folder of such files
            or in the Hub's layout (its split `train`), or a Hub id, followed by a colon and a
            configuration if it has several.
        column: name of the column that holds the texts.

    Raises:
        InputError: no such source or column, or a file that cannot be read.
    """
    path = Path(source)
    if path.is_file() and path.suffix == ".txt":
        try:
            return [line for line in path.read_text("utf-8").splitlines() if line.strip()]
        except UnicodeDecodeError as error:
            raise InputError(f"{source}: {error}") from None
    if path.is_file():
        tables = [(source, _read_file(str(source)))]
    else:
        name, _, config = (str(source), "", "") if path.exists() else str(source).partition(":")
        if not path.exists() and not hub_answers():
            raise InputError(f"{source}: no such file or folder, and the Hub cannot be reached")
        tables = _read(name, config or None, ("train",))[0]["train"]
    for file, table in tables:
        if column not in table.column_names:
            raise InputError(
                f"{file}: no column '{column}', it has {', '.join(table.column_names)}"
            )
    return [str(text) for _, table in tables for text in table[column] if str(text or "").strip()]


def _load(name, args, splits, classes):
    path, config = SAMPLE if name == "sample" else name, args.dataset_config
    if config == FULL:
        # It has no evaluation splits of its own, and must not hold the texts of those it borrows.
        tables, features = _read(path, "split", ("validation", "test"))
        if "train" in splits:
            tables |= _read(path, FULL, ("train",))[0]
    else:
        tables, features = _read(path, config, splits)
    for source, table in (pair for pairs in tables.values() for pair in pairs):
        for flag, column in (("text", args.text_column), ("label", args.label_column)):
            if column not in table.column_names:
                raise InputError(
                    f"{source}: no column '{column}', it has {', '.join(table.column_names)}; "
                    f"name the right one with --{flag}-column"
                )
    names = getattr(features.get(args.label_column), "names", None)  # if it is a ClassLabel
    if classes is None:
        first = [label for _, table in tables[splits[0]] for label in table[args.label_column]]
        try:
            classes = names or [str(label) for label in sorted(set(first) - {None, ""})]
        except TypeError:  # lists, or names mixed with numbers
            source = tables[splits[0]][0][0]
            raise InputError(
                f"{source}: column '{args.label_column}' holds neither names nor numbers"
            ) from None
    if len(classes) < 2:
        raise InputError(f"{name}: fewer than two classes in column '{args.label_column}'")
    checked = {split: _check(pairs, args, names, classes) for split, pairs in tables.items()}
    if config == FULL and "train" in splits:
        _remove_leaks(checked["train"], checked["validation"].texts + checked["test"].texts)
    return Corpus(
        Path(name).resolve().name if Path(name).exists() else name,
        classes,
        {split: checked[split] for split in splits},
    )


def _remove_leaks(train, evaluation_texts):
    """Take every row out of `train` whose text, normalised, is one of those to evaluate on."""
    known = {normalise(text) for text in evaluation_texts}
    rows = zip(train.texts, train.labels, strict=True)
    kept = [(text, label) for text, label in rows if normalise(text) not in known]
    print(
        f"{len(train.texts) - len(kept):,} of {len(train.texts):,} training texts occur in "
        "validation or test: left out",
        file=sys.stderr,
    )
    if not kept:
        raise InputError("no training text is left that does not occur in validation or test")
    train.texts, train.labels = map(list, zip(*kept, strict=True))


def _read(path, config, splits):
    """Return ({split: [(file or Hub id, datasets.Dataset)]}, features), read by `datasets`."""
    import datasets  # here, because it takes a second that labelling text need not wait for

    datasets.disable_progress_bars()
    # What they have to say comes as an exception, or does not matter here.
    datasets.logging.set_verbosity(logging.CRITICAL)
    logging.getLogger("huggingface_hub.repocard").setLevel(logging.CRITICAL)
    local = Path(path).exists()
    if local and not Path(path).is_dir():
        raise InputError(f"{path}: not a folder, whose files are named train, validation and test")
    try:
        builder = datasets.load_dataset_builder(str(path), config)
        if not local:
            builder.download_and_prepare()
    except Exception as error:  # of many libraries: Hub, YAML in a README, old loading scripts
        raise InputError(f"{path}: {error}") from None
    features = dict(builder.info.features or {})
    tables = {}
    for split in splits:
        if local:
            files = (builder.config.data_files or {}).get(split, [])
            tables[split] = [(file, _read_file(file)) for file in files]
        elif split in builder.info.splits:
            tables[split] = [(f"{path} ({split})", builder.as_dataset(split))]
        if not tables.get(split):
            raise InputError(f"{path}: it has no split '{split}'")
        if not any(len(table) for _, table in tables[split]):
            raise InputError(f"{tables[split][0][0]}: no rows")
    for column, feature in tables[splits[0]][0][1].features.items():
        features.setdefault(column, feature)
    return tables, features


def _read_file(file):
    import datasets
    import pandas
    from pyarrow import parquet

    try:
        if not Path(file).stat().st_size:
            raise ValueError("no rows")
        if file.endswith(".parquet"):
            if not parquet.read_metadata(file).num_rows:
                raise ValueError("no rows")
            return datasets.Dataset.from_parquet(file)
        with open(file, "rb") as lines:  # readers differ in what they make of other encodings
            for number, line in enumerate(lines, start=1):
                try:
                    line.decode()
                except UnicodeDecodeError:
                    raise ValueError(f"line {number} is not UTF-8") from None
        if file.endswith((".json", ".jsonl")):
            return datasets.Dataset.from_json(file)
        if file.endswith((".csv", ".tsv")):
            # Tabs need no quotation marks around a field, so a mark is part of the tweet there.
            form = {} if file.endswith(".csv") else {"sep": "\t", "quoting": csv.QUOTE_NONE}
            with warnings.catch_warnings():
                # A comma too many: pandas would drop a column, and say so in a warning.
                warnings.simplefilter("error", pandas.errors.ParserWarning)
                # A tweet may say "null" or "NA": only an empty field is empty.
                return datasets.Dataset.from_csv(
                    file, keep_default_na=False, index_col=False, **form
                )
        if file.endswith(".txt"):
            lines = datasets.Dataset.from_text(file)["text"]
            texts, separators, labels = zip(*(line.rpartition(";") for line in lines), strict=True)
            if "" in separators:
                raise ValueError(f"row {separators.index('') + 1} is not text;label")
            return datasets.Dataset.from_dict({"text": texts, "label": labels})
    except Exception as error:  # whatever the reader of this format raises
        reason = error.__cause__ or error
        if "corresponds to no data" in str(error):
            reason = "no rows"
        raise InputError(f"{file}: {reason}") from None
    raise InputError(f"{file}: not .parquet, .csv, .tsv, .jsonl or .txt")


def _check(pairs, args, names, classes):
    index = {label: i for i, label in enumerate(classes)}
    split = Split([], [])
    for source, table in pairs:
        columns = zip(table[args.text_column], table[args.label_column], strict=True)
        for row, (text, label) in enumerate(columns, start=1):
            if text is None or not str(text).strip():
                raise InputError(f"{source}: row {row} has no text")
            if names and isinstance(label, int) and 0 <= label < len(names):
                label = names[label]
            if str(label) not in index:
                raise InputError(
                    f"{source}: row {row} has label '{label}', not one of {', '.join(classes)}"
                )
            split.texts.append(str(text))
            split.labels.append(index[str(label)])
    return split
