"""Labelled and unlabelled texts: loading them from wherever they are, and checking them.

Imports no PyTorch, so that a script's flags need not wait for it.
"""

import csv
import hashlib
import logging
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path

from errors import InputError
from hub import hub_answers
from text import normalise

DEFAULT_DATASET = "dair-ai/emotion"
FULL = "unsplit"  # configuration of the default data set that holds all its rows
SAMPLE = Path(__file__).parent / "sample"
HELD_OUT = 5_000  # unlabelled texts that no run trains on, to measure on


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
