"""Files in, labelled files out: every format, broken ones, and runs that were killed."""

import csv
import gzip
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, launch

import formats
from classifier import load_classifier
from errors import InputError
from labelling import label_file

# What a reader may trip over: quotes, line breaks, words for null, numbers that are not, blanks.
TEXTS = [
    'i feel "happy", really',
    "i feel\nsad",
    "NA",
    "null",
    "007",
    "i FEEL mad!!! 😡",
    "  ",
    "#happy",
    "i feel glad\r\nand mad",
    "i feel sad\rand mad",
]
IDS = ["01", "2.50", "", "nan", "1e5", "true", "x", "#", "2020-01-01", "a"]


@pytest.fixture(scope="module")
def classify(trained):
    return load_classifier(trained, threads=1)


@pytest.fixture(autouse=True)
def small_chunks(monkeypatch):
    monkeypatch.setattr(formats, "CHUNK_BYTES", 40)


class Counting:
    """A classifier that counts what it is asked, and is interrupted when it was asked too much."""

    def __init__(self, classify, limit=np.inf):
        self.classify, self.classes, self.limit = classify, classify.classes, limit
        self.texts = 0

    def probabilities(self, texts):
        self.texts += len(texts)
        if self.texts > self.limit:
            raise KeyboardInterrupt
        return self.classify.probabilities(texts)


def write(path, columns):
    """Write {name: list} with writers that are not those under test."""
    rows = list(zip(*columns.values(), strict=True))
    opened = gzip.open if path.suffix == ".gz" else open
    kind = formats.file_format(path)
    if kind == "parquet":
        pq.write_table(pa.table(columns), path)
        return
    with opened(path, "wt", encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            for row in rows:
                file.write(json.dumps(dict(zip(columns, row, strict=True))) + "\n")
        elif kind == "txt":
            file.writelines(f"{text}\n" for text in columns["text"])
        elif kind == "tsv":
            file.writelines("\t".join(row) + "\n" for row in [list(columns), *rows])
        else:
            csv.writer(file).writerows([list(columns), *rows])


def read(path):
    """Return {name: list} of a written file, numbers as numbers where the format has them."""
    opened = gzip.open if path.suffix == ".gz" else open
    kind = formats.file_format(path)
    if kind == "parquet":
        return pq.read_table(path).to_pydict()
    with opened(path, "rt", encoding="utf-8", newline="") as file:
        if kind == "jsonl":
            rows = [json.loads(line) for line in file]
            return {name: [row[name] for row in rows] for name in rows[0]}
        if kind == "tsv":
            header, *rows = [line.rstrip("\n").split("\t") for line in file]
        else:
            header, *rows = csv.reader(file)
    return dict(zip(header, map(list, zip(*rows, strict=True)), strict=True))


def check(found, texts, classify):
    """The labels and probabilities are those that the classifier gives the texts one by one."""
    assert list(found)[-5:] == ["label", "score", *classify.classes]
    for row, text in enumerate(texts):
        values = [found[name][row] for name in ("score", *classify.classes)]
        if text is None or not text.strip():
            assert found["label"][row] == "" and set(values) <= {None, ""}
        else:
            (label,), probabilities = classify([text])
            assert found["label"][row] == label
            values = np.array(values, dtype=np.float32)
            assert values[0] == probabilities.max() and (values[1:] == probabilities[0]).all()


FILES = ["in.csv", "in.csv.gz", "in.tsv", "in.tsv.gz", "in.jsonl", "in.jsonl.gz", "in.parquet"]


@pytest.mark.parametrize("target", ["out.csv", "out.csv.gz", "out.jsonl", "out.parquet"])
@pytest.mark.parametrize("source", FILES)
def test_every_format_into_every_other(source, target, classify, tmp_path):
    texts = [" ".join(text.split()) for text in TEXTS] if "tsv" in source else TEXTS
    write(tmp_path / source, {"id": IDS, "text": texts})
    summary = label_file(classify, tmp_path / source, tmp_path / target)
    assert summary[:2] == (len(texts), 1)
    found = read(tmp_path / target)
    assert found["id"] == IDS and found["text"] == texts  # as they went in
    check(found, texts, classify)
    assert len(list(tmp_path.iterdir())) == 2  # nothing is left behind


@pytest.mark.parametrize("source", ["in.txt", "in.txt.gz"])
def test_lines_of_text(source, classify, tmp_path):
    texts = ["i feel sad", "", "a,b\x0bc\u2028d", 'say "happy"']
    write(tmp_path / source, {"text": texts})
    label_file(classify, tmp_path / source, tmp_path / "out.tsv")
    found = read(tmp_path / "out.tsv")
    assert found["text"] == texts
    check(found, texts, classify)


def test_types_of_parquet_are_kept(classify, tmp_path):
    table = pa.table(
        {
            "when": pa.array([1, None], pa.timestamp("ns", "UTC")),
            "tags": [["a"], []],
            "text": pa.array(["i feel sad", None]).dictionary_encode(),
            "count": pa.array([2**40, 1]),
        }
    ).replace_schema_metadata({"origin": "here"})
    pq.write_table(table, tmp_path / "in.parquet")
    label_file(classify, tmp_path / "in.parquet", tmp_path / "out.parquet")
    found = pq.read_table(tmp_path / "out.parquet")
    kept = pq.read_table(tmp_path / "in.parquet")
    assert found.select(table.column_names).equals(kept, check_metadata=True)
    check(found.to_pydict(), ["i feel sad", None], classify)
    label_file(classify, tmp_path / "in.parquet", tmp_path / "out.jsonl")
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[0])
    assert row["tags"] == ["a"] and row["count"] == 2**40 and row["when"].startswith("1970-01-01")
    with pytest.raises(InputError, match=r"out.csv: CSV cannot hold column 'tags'"):
        label_file(classify, tmp_path / "in.parquet", tmp_path / "out.csv")


def test_rows_of_jsonl_need_not_be_alike(classify, tmp_path):
    source = tmp_path / "in.jsonl"
    lines = [
        {"text": "i feel sad", "deep": {"a": [1, None]}},
        {"text": 7, "other": 2.5},
        {"other": "text"},
        {"text": None},
        {"text": "half a smile \ud83d"},
    ]
    source.write_text("\n".join(map(json.dumps, lines)))
    summary = label_file(classify, source, tmp_path / "out.jsonl")
    assert summary[:2] == (5, 3)
    found = [json.loads(row) for row in (tmp_path / "out.jsonl").read_text("utf-8").splitlines()]
    for line, row in zip(lines, found, strict=True):
        assert line.items() <= row.items() and set(row) - set(line) >= {"label", "score"}
    assert [bool(row["label"]) for row in found] == [True, False, False, False, True]
    with pytest.raises(InputError, match="columns cannot hold"):
        label_file(classify, source, tmp_path / "out.parquet")
    with pytest.raises(InputError, match="row 2 has no text"):
        label_file(classify, source, tmp_path / "strict.jsonl", strict=True)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.jsonl", "out.jsonl"]


def test_files_without_rows(classify, tmp_path):
    write(tmp_path / "in.csv", {"text": [], "id": []})
    label_file(classify, tmp_path / "in.csv", tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text() == "text,id,label,score,anger,joy,sadness\n"
    write(tmp_path / "in.parquet", {"text": pa.array([], pa.string())})
    assert label_file(classify, tmp_path / "in.parquet", tmp_path / "out.parquet").rows == 0
    assert pq.read_schema(tmp_path / "out.parquet").field("score").type == pa.float32()


BROKEN = {
    "ragged.csv": (b"text,id\na,1\nb,2,3\n", "row 2 has 3 fields, the header 2"),
    "short.csv": (b"text,id\na,1\nb\n", "row 2 has 1 fields"),
    "latin.csv": (b"text\na\n\xe9\n", "line 3 is not UTF-8"),
    "latin.txt": (b"a\n\xe9\n", "line 2 is not UTF-8"),
    "unclosed.csv": (b'text,id\n"a,1\nb,2\n', "unexpected end of data"),
    "other.csv": (b"tweet,id\na,1\n", "no column 'text', it has tweet, id"),
    "twice.csv": (b"text,id,id\na,1,2\n", "two columns are called 'id'"),
    "taken.csv": (b"text,label\na,1\n", "column 'label' already"),
    "empty.csv": (b"", "empty file"),
    "empty.parquet": (b"", "empty file"),
    "empty.txt": (b"", "empty file"),
    "no.parquet": (b"text\na\n", "no.parquet"),
    "cut.parquet": ("parquet", "cut.parquet"),
    "number.parquet": ("number", "holds int64, not text"),
    "broken.jsonl": (b'{"text": "a"}\n{"text"\n', "line 2 is not JSON"),
    "list.jsonl": (b'["a"]\n', "line 1 is not a JSON object"),
    "other.jsonl": (b'{"tweet": "a"}\n', "no column 'text', it has tweet"),
    "taken.jsonl": (b'{"text": "a"}\n' * 9 + b'{"text": "a", "joy": 1}\n', "column 'joy' already"),
    "deep.jsonl": (b'{"text": ' + b"[" * 100_000, "line 1 is not JSON"),
    "large.jsonl": (b'{"text": "a", "id": 1180591620717411303424}\n', "columns cannot hold"),
    "latin.parquet": ("latin", "can't decode byte 0xe9"),
    "plain.csv.gz": (b"text\na\n", "plain.csv.gz"),
    "cut.csv.gz": (gzip.compress(b"text\na\n" * 99)[:-12], "cut.csv.gz"),
    "text.pdf": (b"text\na\n", "not .csv"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_file_is_named(name, fails, trained, tmp_path):
    content, message = BROKEN[name]
    source = tmp_path / "in" / name
    source.parent.mkdir()
    if content in ("parquet", "number", "latin"):
        latin = pa.array([b"\xe9"]).view(pa.string())
        texts = {"parquet": ["a"] * 2000, "number": [1], "latin": latin}[content]
        pq.write_table(pa.table({"text": texts}), source)
        content = source.read_bytes()[: -100 if content == "parquet" else None]
    source.write_bytes(content)
    target = tmp_path / "out" / "out.parquet"
    error = fails("predict.py", "--checkpoint", trained, "--input", source, "--output", target)
    assert (name in error or "out.parquet" in error) and message in error
    assert not target.exists() and not list(tmp_path.glob("out/.*"))


def test_columns_that_are_there_already_get_company(classify, tmp_path):
    write(tmp_path / "in.csv", {"text": ["i feel sad"], "label": ["mine"]})
    label_file(classify, tmp_path / "in.csv", tmp_path / "out.csv", prefix="predicted_")
    found = read(tmp_path / "out.csv")
    assert found["label"] == ["mine"] and found["predicted_label"] == classify(["i feel sad"])[0]


def test_nothing_is_overwritten_unasked(fails, run, trained, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    source.write_text("text\ni feel sad\n")
    target.write_text("precious")
    flags = ["--checkpoint", trained, "--input", source, "--output"]
    assert "--overwrite" in fails("predict.py", *flags, target)
    assert "is the input itself" in fails("predict.py", *flags, source, "--overwrite")
    assert "is a folder" in fails("predict.py", *flags, tmp_path, "--overwrite")
    device = [os.devnull, "--output-format", "csv", "--overwrite"]
    assert "is no regular file" in fails("predict.py", *flags, *device)
    assert "leave out .gz" in fails("predict.py", *flags, tmp_path / "out.parquet.gz")
    assert target.read_text() == "precious" and source.read_text() == "text\ni feel sad\n"
    assert "out.txt: not .csv" in fails("predict.py", *flags, tmp_path / "out.txt")
    assert "in.csv" in fails("predict.py", *flags, source / "out.csv")  # a file is no folder
    assert "none.csv" in fails(
        "predict.py", "--input", tmp_path / "none.csv", "--output", tmp_path / "new.csv"
    )
    assert run("predict.py", *flags, target, "--overwrite")[0] == 0
    assert read(target)["text"] == ["i feel sad"]
    assert len(list(tmp_path.iterdir())) == 2


def test_a_folder_of_files(run, fails, trained, classify, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    names = ["a.csv", "b.jsonl.gz", "c.parquet", "d.txt"]
    for name in names:
        write(folder / name, {"text": ["i feel sad", "i feel " + name]})
    (folder / "README.md").write_text("not a file of texts")
    (folder / "_SUCCESS").touch()
    flags = ["--checkpoint", trained, "--input", folder, "--output"]
    code, printed, stderr = run("predict.py", *flags, tmp_path / "out")
    assert code == 0, stderr
    assert "8 rows" in printed
    found = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert found == ["a.csv", "b.jsonl.gz", "c.parquet", "d.csv"]
    check(read(tmp_path / "out" / "b.jsonl.gz"), ["i feel sad", "i feel b.jsonl.gz"], classify)
    run("predict.py", *flags, tmp_path / "parquet", "--output-format", "parquet")
    assert len(list((tmp_path / "parquet").glob("*.parquet"))) == 4
    assert "a.csv exists" in fails("predict.py", *flags, tmp_path / "out")
    (tmp_path / "out" / "a.csv").unlink()
    code, printed, _ = run("predict.py", *flags, tmp_path / "out", "--resume")
    assert code == 0 and "2 rows" in printed  # the others are there
    assert "complete already" in run("predict.py", *flags, tmp_path / "out", "--resume")[1]
    write(folder / "a.parquet", {"text": ["i feel sad"]})
    error = fails("predict.py", *flags, tmp_path / "new", "--output-format", "csv")
    assert "a.csv and" in error and "would both become" in error
    (tmp_path / "bare").mkdir()
    bare = ["--input", tmp_path / "bare", "--output", tmp_path / "new"]
    assert "no file in it" in fails("predict.py", *bare)


def test_names_of_files_in_a_folder(run, trained, tmp_path):
    def names(kind, *flags):
        out = tmp_path / f"out-{kind}"
        code, _, stderr = run(
            "predict.py",
            "--checkpoint",
            trained,
            "--input",
            tmp_path / kind,
            "--output",
            out,
            *flags,
        )
        assert code == 0, stderr
        return sorted(path.name for path in out.iterdir())

    content = {"json": '{"text": "i feel sad"}\n', "csv": "text\ni feel sad\n"}
    for folder, name, kind in (
        ("json", "a.json", "json"),
        ("csv", "part-00000", "csv"),
        ("dots", "2024.01.05.csv", "csv"),
        ("dots", "2024.01.06.csv", "csv"),
        ("dots", "tweets.en.txt", "csv"),
    ):
        (tmp_path / folder).mkdir(exist_ok=True)
        (tmp_path / folder / name).write_text(content[kind])
    assert names("json", "--input-format", "jsonl") == ["a.json"]
    assert names("csv", "--input-format", "csv") == ["part-00000"]
    days = ["2024.01.05.parquet", "2024.01.06.parquet"]
    assert names("dots", "--output-format", "parquet") == [*days, "tweets.en.parquet"]


def test_what_a_format_cannot_hold_is_named(classify, tmp_path):
    source = tmp_path / "in.jsonl"
    write(source, {"text": ["i feel\rsad"]})
    with pytest.raises(InputError, match="TSV cannot hold a field"):
        label_file(classify, source, tmp_path / "out.tsv")
    latin = pa.array([b"\xe9"])
    for column in (latin, latin.view(pa.string())):
        pq.write_table(pa.table({"text": ["i feel sad"], "id": column}), tmp_path / "in.parquet")
        for kind, message in (("jsonl", "JSON cannot hold"), ("csv", "CSV cannot hold")):
            with pytest.raises(InputError, match=message):
                label_file(classify, tmp_path / "in.parquet", tmp_path / f"out.{kind}")


def test_an_overwriting_run_goes_on(run, trained, classify, tmp_path, monkeypatch):
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    for name in ("a.csv", "b.csv", "c.csv"):
        write(tmp_path / "in" / name, {"text": ["i feel sad", "i feel mad"]})
        (tmp_path / "out" / name).write_text("old")
    flags = ["--checkpoint", trained, "--input", tmp_path / "in", "--output", tmp_path / "out"]
    with monkeypatch.context() as patch:
        patch.setattr("classifier.load_classifier", lambda **_: Counting(classify, limit=3))
        assert run("predict.py", *flags, "--overwrite", "--threads", 1)[0] == 130
    assert (tmp_path / "out" / "b.csv").read_text() == "old"
    code, printed, stderr = run("predict.py", *flags, "--resume", "--overwrite")
    assert code == 0 and "4 rows" in printed, stderr  # a.csv is done
    for name in ("a.csv", "b.csv", "c.csv"):
        check(read(tmp_path / "out" / name), ["i feel sad", "i feel mad"], classify)
    assert len(list((tmp_path / "out").iterdir())) == 3


@pytest.mark.parametrize("suffix", ["csv", "csv.gz", "jsonl", "parquet"])
def test_an_interrupted_run_goes_on(suffix, classify, tmp_path):
    source, target = tmp_path / f"in.{suffix}", tmp_path / f"out.{suffix}"
    texts = [f"i feel {'sad' if n % 3 else 'happy'} {chr(97 + n % 26)}" for n in range(60)]
    texts[11] = ""
    write(source, {"text": texts})
    label_file(classify, source, tmp_path / f"whole.{suffix}")
    whole = (tmp_path / f"whole.{suffix}").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        label_file(Counting(classify, limit=40), source, target, workers=1)
    assert not target.exists()
    journal = tmp_path / f".out.{suffix}.unfinished" / "probabilities"
    with open(journal, "ab") as file:
        file.write(b"a chunk that was cut short")
    rest = Counting(classify)
    label_file(rest, source, target, resume=True)
    assert target.read_bytes() == whole
    assert rest.texts < 45  # those that were not done, and the first chunk again
    assert not journal.parent.exists()


def test_resuming_finds_out_what_has_changed(classify, tmp_path):
    source, target = tmp_path / "in.csv", tmp_path / "out.csv"
    texts = [f"i feel sad {chr(97 + n % 26)}" for n in range(60)]
    write(source, {"text": texts, "id": [str(n) for n in range(60)]})

    def interrupt():
        with pytest.raises(KeyboardInterrupt):
            label_file(Counting(classify, limit=40), source, target, workers=1)

    interrupt()
    changed = source.read_text().replace("sad f", "mad f")
    source.write_text(changed)
    label_file(classify, source, target, resume=True)
    check(read(target), read(source)["text"], classify)
    target.unlink()
    interrupt()

    class Other(Counting):
        def probabilities(self, texts):
            return np.nextafter(super().probabilities(texts), np.float32(0))

    journal = tmp_path / ".out.csv.unfinished" / "probabilities"
    kept = journal.read_bytes()
    with pytest.raises(InputError, match="begun with another model"):
        label_file(Other(classify), source, target, resume=True)
    with pytest.raises(InputError, match="no column 'tweet'"):
        label_file(classify, source, target, text_column="tweet", resume=True)
    with pytest.raises(InputError, match="begun with other texts"):
        label_file(classify, source, target, text_column="id", resume=True)
    assert journal.read_bytes() == kept
    label_file(classify, source, target)  # without: from the start
    check(read(target), read(source)["text"], classify)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_killed_run_goes_on(suffix, trained, tmp_path):
    texts = [f"i feel {'sad' if n % 3 else 'happy'} {n % 1000}" for n in range(250_000)]
    write(tmp_path / "in.csv", {"text": texts})
    target = tmp_path / f"out.{suffix}"
    flags = ["--checkpoint", trained, "--input", tmp_path / "in.csv", "--output"]
    done = launch("predict.py", *flags, tmp_path / f"whole.{suffix}")
    assert done.returncode == 0, done.stderr
    command = [sys.executable, ROOT / "predict.py", *flags, target]
    journal = tmp_path / f".out.{suffix}.unfinished" / "probabilities"
    running = subprocess.Popen(list(map(str, command)))
    while not (journal.exists() and journal.stat().st_size):
        assert running.poll() is None
        time.sleep(0.002)
    running.kill()
    running.wait()
    assert not target.exists()
    done = launch("predict.py", *flags, target, "--resume")
    assert done.returncode == 0, done.stderr
    assert target.read_bytes() == (tmp_path / f"whole.{suffix}").read_bytes()
    assert len(list(tmp_path.iterdir())) == 3


def test_ctrl_c_leaves_no_half_file(trained, tmp_path):
    write(tmp_path / "in.csv", {"text": ["i feel sad", "i feel happy today"] * 200_000})
    command = [sys.executable, ROOT / "predict.py", "--checkpoint", trained]
    command += ["--input", tmp_path / "in.csv", "--output", tmp_path / "out.csv"]
    running = subprocess.Popen(list(map(str, command)), stderr=subprocess.PIPE, text=True)
    journal = tmp_path / ".out.csv.unfinished" / "probabilities"
    while not (journal.exists() and journal.stat().st_size):
        assert running.poll() is None
        time.sleep(0.002)
    os.kill(running.pid, signal.SIGINT)
    assert running.communicate()[1] == "interrupted\n" and running.returncode == 130
    assert not (tmp_path / "out.csv").exists()
    assert [path.name for path in journal.parent.iterdir()] == ["probabilities"]
