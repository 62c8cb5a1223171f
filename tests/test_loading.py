"""Labelled data from every source, and what is said of data that is wrong."""

import csv
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import data_arguments, rows_of
from huggingface_hub import constants

from data import load_corpus
from errors import InputError
from hub import hub_answers
from text import normalise

SPLITS = ("train", "validation", "test")
GOOD = [("i feel glad", "joy"), ("i feel low", "sadness"), ("so glad; so glad", "joy")]
CLASS_LABEL = {
    "text": {"dtype": "string", "_type": "Value"},
    "label": {"names": ["sadness", "joy"], "_type": "ClassLabel"},
}


def load(folder, *flags, **options):
    return load_corpus(data_arguments("--dataset", folder, *flags), **options)


def write_parquet(path, rows, named=False):
    path.parent.mkdir(parents=True, exist_ok=True)
    texts, labels = zip(*rows, strict=True)
    table = pa.table({"text": list(texts), "label": list(labels)})
    if named:
        features = {"huggingface": json.dumps({"info": {"features": CLASS_LABEL}})}
        table = table.replace_schema_metadata(features)
    pq.write_table(table, path)


def write(path, rows):
    """Write rows of (text, label) in the format that the path's suffix names."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        write_parquet(path, rows)
    elif path.suffix == ".jsonl":
        lines = [json.dumps({"text": text, "label": label}) for text, label in rows]
        path.write_text("\n".join(lines))
    elif path.suffix == ".txt":
        path.write_text("".join(f"{text};{label}\n" for text, label in rows))
    else:
        with open(path, "w", newline="") as file:
            writer = csv.writer(file, delimiter="," if path.suffix == ".csv" else "\t")
            writer.writerows([("text", "label"), *rows])


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".txt", ".parquet"])
def test_files_of_every_format(tmp_path, suffix):
    for split in SPLITS:
        write(tmp_path / f"{split}{suffix}", GOOD)
    corpus = load(tmp_path)
    assert corpus.classes == ["joy", "sadness"]
    for split in SPLITS:
        assert corpus.splits[split].texts == [text for text, _ in GOOD]
        assert corpus.splits[split].labels == [0, 1, 0]


def test_the_hubs_layout_without_its_readme(tmp_path):
    for split in SPLITS:
        for shard in range(2):
            path = tmp_path / "split" / f"{split}-0000{shard}-of-00002.parquet"
            write_parquet(path, [(f"{split} {shard}", shard)], named=True)
    corpus = load(tmp_path)
    assert corpus.classes == ["sadness", "joy"]  # ClassLabel's order, not the alphabet's
    assert corpus.splits["test"].texts == ["test 0", "test 1"]
    assert corpus.splits["test"].labels == [0, 1]


def write_configurations(folder, splits):
    """Write a folder in the Hub's layout: {configuration: {split: rows}}, named in its README."""
    features = "- name: text\n    dtype: string\n  - name: label\n    dtype:\n      class_label:\n"
    features += "        names:\n          '0': sadness\n          '1': joy\n"
    configs, infos = "", ""
    for config, parts in splits.items():
        configs += f"- config_name: {config}\n  data_files:\n"
        infos += f"- config_name: {config}\n  features:\n  {features}"
        for split, rows in parts.items():
            configs += f"  - split: {split}\n    path: {config}/{split}-*\n"
            write_parquet(folder / config / f"{split}-00000-of-00001.parquet", rows)
    configs = configs.replace("split\n", "split\n  default: true\n", 1)
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}dataset_info:\n{infos}---\n")


def test_configurations_and_class_names_from_the_readme(tmp_path):
    rows = {
        config: {split: [(f"{config} text", 1), ("another", 0)] for split in SPLITS}
        for config in ("split", "other")
    }
    write_configurations(tmp_path, rows)
    corpus = load(tmp_path)
    assert corpus.classes == ["sadness", "joy"]
    assert corpus.splits["train"].texts[0] == "split text"
    assert load(tmp_path, "--dataset-config", "other").splits["train"].texts[0] == "other text"


@pytest.fixture
def both(tmp_path):
    """The default data set's two configurations: all rows, and splits of some of them."""
    rows = [(f"i feel {'glad' if n % 2 else 'low'} {chr(97 + n)}", n % 2) for n in range(20)]
    split = {"train": rows[:10], "validation": rows[10:13], "test": rows[13:16]}
    typed = [("I feel LOW!!! k", 0), ("i   feel glad n 😀", 1), ("@bob I feel gladdd r", 1)]
    write_configurations(tmp_path, {"split": split, "unsplit": {"train": rows + typed}})
    return tmp_path


def test_no_text_leaks_from_the_evaluation_splits_into_the_full_data_set(both, capsys):
    corpus = load(both, "--dataset-config", "unsplit")
    assert list(corpus.splits) == list(SPLITS)
    assert corpus.splits["test"].texts == load(both).splits["test"].texts
    train = {normalise(text) for text in corpus.splits["train"].texts}
    assert "8 of 23 training texts" in capsys.readouterr().err
    assert len(corpus.splits["train"].texts) == len(corpus.splits["train"].labels) == 15
    assert "i feel low a" in train and "i feel gladd r" in train
    for split in ("validation", "test"):
        assert not train & {normalise(text) for text in corpus.splits[split].texts}


def test_what_a_script_asks_of_the_full_data_set_makes_no_difference(both):
    whole = load(both, "--dataset-config", "unsplit")
    for splits in (("train", "validation"), ("test",)):
        part = load(both, "--dataset-config", "unsplit", splits=splits)
        assert list(part.splits) == list(splits)
        for split in splits:
            assert part.splits[split] == whole.splits[split]


def test_other_column_names(tmp_path):
    (tmp_path / "train.csv").write_text("tweet,emotion,id\nhi,joy,1\nho,sadness,2\n")
    flags = ("--text-column", "tweet", "--label-column", "emotion")
    corpus = load(tmp_path, *flags, splits=("train",))
    assert corpus.splits["train"].texts == ["hi", "ho"]


def test_labels_take_the_order_of_the_classes_wanted(tmp_path):
    write(tmp_path / "test.csv", GOOD)
    corpus = load(tmp_path, splits=("test",), classes=["sadness", "surprise", "joy"])
    assert corpus.splits["test"].labels == [2, 0, 2]


def test_words_that_other_programs_read_as_missing_are_texts(tmp_path):
    write(tmp_path / "train.csv", [("null", "joy"), ("NA", "sadness"), ("12", "joy")])
    assert load(tmp_path, splits=("train",)).splits["train"].texts == ["null", "NA", "12"]


def test_fingerprint_changes_with_any_row(tmp_path):
    fingerprints = set()
    for number, rows in enumerate([GOOD, GOOD[::-1], [*GOOD, GOOD[0]], [("i", "joy"), *GOOD[1:]]]):
        write(tmp_path / str(number) / "train.csv", rows)
        corpus = load(tmp_path / str(number), splits=("train",))
        fingerprints.add(corpus.provenance["splits"]["train"]["fingerprint"])
    assert len(fingerprints) == 4


def test_sample_by_name():
    corpus = load("sample", splits=("test",))
    assert corpus.name == "sample" and len(corpus.classes) == 6


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("train.csv", "text,label\nhi,joy\n,sadness\n", "train.csv: row 2 has no text"),
        ("test.csv", "text,label\nhi,joy\n  ,joy\n", "test.csv: row 2 has no text"),
        ("train.csv", "text,label\na,joy\nb,sadness\nc,\n", "train.csv: row 3 has label ''"),
        ("test.csv", "text,label\nhi,joy\nhi,bliss\n", "test.csv: row 2 has label 'bliss'"),
        ("train.csv", "text,label\nhi,joy\nho,joy\n", "fewer than two classes"),
        ("train.csv", "tweet,label\nhi,joy\n", "train.csv: no column 'text', it has tweet, label"),
        ("train.csv", "text,emotion\nhi,joy\n", "no column 'label'"),
        ("train.csv", "text,label\n", "train.csv: no rows"),
        ("train.csv", "", "train.csv: no rows"),
        ("train.csv", "text,label\nhi,joy\na,b,c,d\n", "line 3"),
        ("train.csv", b"text,label\nhi,joy\nh\xff,joy\n", "train.csv: line 3 is not UTF-8"),
        ("test.csv", None, "no split 'test'"),
    ],
)
def test_bad_csv_is_named_by_file_and_row(tmp_path, file, content, reason):
    for split in SPLITS:
        write(tmp_path / f"{split}.csv", GOOD)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError) as error:
        load(tmp_path)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("train.jsonl", b'{"text": "hi", "label": "joy"}\n{"text": ', "train.jsonl: JSON parse"),
        (
            "train.jsonl",
            b'{"text": "a", "label": "joy"}\n{"text": null, "label": "fear"}',
            "row 2 has no text",
        ),
        ("train.txt", b"i feel glad;joy\ni feel low\n", "train.txt: row 2 is not text;label"),
        ("train.txt", b"glad;joy\n\xff;fear\n", "train.txt: line 2 is not UTF-8"),
        ("train.parquet", b"PAR1 and not much else", "train.parquet: "),
        ("train.xyz", b"hi", "data files"),
    ],
)
def test_other_bad_files_are_named(tmp_path, file, content, reason):
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InputError) as error:
        load(tmp_path, splits=("train",))
    assert reason in str(error.value)


def test_truncated_parquet_is_named(tmp_path):
    path = tmp_path / "train.parquet"
    write_parquet(path, list(rows_of("train", 300)))
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(InputError, match=r"train\.parquet"):
        load(tmp_path, splits=("train",))


@pytest.mark.parametrize("label", [-1, 2])
def test_class_labels_out_of_range_are_named(tmp_path, label):
    write_parquet(
        tmp_path / "split" / "train-00000-of-00001.parquet", [("a", 0), ("b", label)], True
    )
    with pytest.raises(InputError, match=f"row 2 has label '{label}'"):
        load(tmp_path, splits=("train",))


@pytest.mark.parametrize(
    ("flags", "reason"),
    [
        (("--dataset", "someone/something"), "the Hub cannot be reached"),
        (("--dataset", "/no/such/folder"), "no such folder"),
        (("--dataset", __file__), "not a folder"),
        (("--dataset", "sample", "--dataset-config", "nope"), "'nope' not found"),
    ],
)
def test_data_set_that_is_not_there(flags, reason):
    with pytest.raises(InputError, match=reason):
        load_corpus(data_arguments(*flags))


def test_sample_stands_in_only_for_the_default(capsys):
    assert load_corpus(data_arguments(), splits=("test",)).name == "sample"
    assert "NOT dair-ai/emotion" in capsys.readouterr().err


def test_no_test_inside_this_process_reaches_the_hub():
    # huggingface_hub copies HF_ENDPOINT when it is first imported.
    assert constants.ENDPOINT == "http://127.0.0.1:9"
    assert not hub_answers()
