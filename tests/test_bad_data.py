"""Data that cannot be trained on: one line that names the file, and nothing left behind."""

import json
import shutil

import pytest
from conftest import SMALL
from test_loading import write_parquet

HEADER = "text,label\n"
JOY, SAD = '{"text": "a", "label": "joy"}\n', '{"text": "b", "label": "sadness"}\n'


@pytest.fixture
def refuses(fails, tmp_path):
    """Train on a folder with these files; return the one line that refuses it."""

    def refuses(files, *flags, folder="data"):
        for name, content in files.items():
            content = content if isinstance(content, bytes) else content.encode()
            # Validation is wrong in the same way: a missing split would be the first to be named.
            for copy in {name, name.replace("train", "validation")}:
                path = tmp_path / folder / copy
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        output = tmp_path / "run"
        flags = ["--dataset", tmp_path / folder, "--output", output, *SMALL, *flags]
        line = fails("train.py", *flags)
        assert not output.exists()
        return line

    return refuses


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("train.csv", HEADER + "hi,joy\n  ,sadness\n", "row 2 has no text"),
        ("train.csv", HEADER + 'hi,joy\n"",sadness\n', "row 2 has no text"),
        ("train.csv", HEADER + "hi,joy\nho,sadness\nhm\n", "row 3"),
        ("train.csv", HEADER, "no rows"),
        ("train.tsv", "text\tlabel\n", "no rows"),
        ("train.jsonl", JOY + '{"text": null, "label": "sadness"}\n', "row 2 has no text"),
        ("train.jsonl", JOY + '{"text": "", "label": "sadness"}\n', "row 2 has no text"),
        ("train.jsonl", JOY + SAD + '{"text": "c", "label": null}\n', "row 3"),
        ("train.jsonl", JOY + '{"text": "b", "lab', "JSON"),
        ("train.txt", "hi;joy\nho\n", "row 2 is not text;label"),
        ("train.txt", "hi;joy\n;sadness\n", "row 2 has no text"),
        ("train.parquet", b"PAR1", ""),
    ],
)
def test_broken_file_and_row_are_named(refuses, name, content, reason):
    line = refuses({name: content})
    assert name in line and reason in line


@pytest.mark.parametrize("name", ["train.csv", "train.tsv", "train.jsonl", "train.txt"])
def test_file_of_no_bytes_has_no_rows(refuses, name):
    line = refuses({name: ""})
    assert f"{name}: no rows" in line


def test_parquet_of_no_rows_has_no_rows(refuses, tmp_path):
    import pyarrow as pa
    import pyarrow.parquet as pq

    none = pa.table({"text": pa.array([], pa.string()), "label": pa.array([], pa.string())})
    pq.write_table(none, tmp_path / "none")
    assert "train.parquet: no rows" in refuses({"train.parquet": (tmp_path / "none").read_bytes()})


@pytest.mark.parametrize("label", [-1, 2, None])
def test_number_outside_the_named_classes_is_refused(refuses, tmp_path, label):
    write_parquet(tmp_path / "made", [("a", 0), ("b", 1), ("c", label)], named=True)
    line = refuses({"train.parquet": (tmp_path / "made").read_bytes()})
    assert f"train.parquet: row 3 has label '{label}', not one of sadness, joy" in line


def test_truncated_parquet_is_named(refuses, tmp_path):
    write_parquet(tmp_path / "made", [("a", 0), ("b", 1)], named=True)
    assert "train.parquet" in refuses({"train.parquet": (tmp_path / "made").read_bytes()[:-9]})


def test_one_class_is_nothing_to_tell_apart(refuses):
    assert "fewer than two classes" in refuses({"train.csv": HEADER + "hi,joy\nho,joy\n"})


def test_unknown_configuration_is_named(refuses):
    line = refuses({"train.csv": HEADER + "hi,joy\nho,sadness\n"}, "--dataset-config", "spam")
    assert "spam" in line


def test_dataset_that_is_a_file_is_refused(fails, dataset, tmp_path):
    line = fails("train.py", "--dataset", dataset / "train.csv", "--output", tmp_path / "run")
    assert "train.csv" in line and not (tmp_path / "run").exists()


def test_folder_without_data_is_refused(refuses):
    assert "data" in refuses({"notes.md": "nothing here"})


def test_comma_outside_quotes_in_every_row_is_not_dropped_silently(refuses):
    # pandas takes the first of three fields as an index when the header has two.
    line = refuses({"train.csv": HEADER + "well, i am happy,joy\nwell, i am sad,sadness\n"})
    assert "train.csv" in line


def test_quotation_mark_in_a_tsv_does_not_swallow_rows(run, dataset, tmp_path):
    # Tab-separated tweets have no quoting: a row may begin with a mark that another row ends with.
    folder = tmp_path / "data"
    shutil.copytree(dataset, folder)
    for split in ("train", "validation", "test"):
        content = (folder / f"{split}.csv").read_text().replace(",", "\t")
        (folder / f"{split}.csv").unlink()
        if split == "train":
            content += '"so she says\tjoy\nlow\tsadness\nand then"\tjoy\n'
        (folder / f"{split}.tsv").write_text(content)
    flags = ["--dataset", folder, "--output", tmp_path / "run", *SMALL, "--epochs", 1]
    code, stdout, stderr = run("train.py", *flags)
    assert code == 0, stderr
    assert "123 texts" in stdout


@pytest.mark.parametrize(
    "labels", [[["joy", "fear"], ["joy"]], [{"a": 1}, {"a": 2}], [1, "joy"]], ids=str
)
def test_labels_that_are_no_names_or_numbers_are_refused(refuses, labels):
    lines = [json.dumps({"text": "hi", "label": label}) + "\n" for label in labels]
    assert "train.jsonl" in refuses({"train.jsonl": "".join(lines)})


def test_jsonl_that_is_not_utf8_is_refused(refuses):
    line = refuses({"train.jsonl": JOY.encode() + b'{"text": "\xff", "label": "sadness"}\n'})
    assert "train.jsonl: line 2 is not UTF-8" in line


def test_readme_with_broken_metadata_is_refused(refuses):
    files = {"README.md": "---\nconfigs: [\n---\n", "train.csv": HEADER + "a,joy\nb,sadness\n"}
    assert "data" in refuses(files)


def test_folder_with_a_loading_script_is_refused(refuses):
    # `datasets` looks for a script named like its folder, and no longer runs any.
    files = {"mine.py": "", "train.csv": HEADER + "a,joy\nb,sadness\n"}
    assert "mine" in refuses(files, folder="mine")
