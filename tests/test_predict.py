"""predict.py as its users meet it: arguments, pipes and a terminal."""

import json
import os
import pty
import random
import re
import subprocess
import sys
from contextlib import contextmanager

import pytest
from conftest import CORPUS, ROOT, launch, needs_corpus

from classifier import MAX_CHARACTERS, load_classifier
from test_raw import retype

HEAVY = {"torch", "transformers", "datasets", "sklearn", "pandas", "pyarrow", "ray"}
IMPORTS = f"""
import re, runpy, sys
from pathlib import Path
sys.argv = ["predict.py", "i feel happy", "--checkpoint", sys.argv[1]]
runpy.run_path("predict.py", run_name="__main__")
peak = re.search(r"VmHWM:\\s+(\\d+)", Path("/proc/self/status").read_text())
print({HEAVY} & set(sys.modules) or "", int(peak[1]) // 1024)
"""


@contextmanager
def running(trained, *flags, **streams):
    command = [sys.executable, ROOT / "predict.py", "--checkpoint", trained, *flags]
    process = subprocess.Popen(list(map(str, command)), **streams)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_one_text_loads_little(trained):
    command = [sys.executable, "-c", IMPORTS, str(trained)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True)
    answer, megabytes = done.stdout.splitlines()
    assert answer.startswith("joy\t") and int(megabytes) < 150


def test_plain_lines_and_json(run, trained):
    flags = ["--checkpoint", trained]
    classify = load_classifier(trained)
    labels, probabilities = classify(["i feel SAD!", "so happy\tand glad"])
    code, printed, _ = run("predict.py", "i feel SAD!", "so happy\tand glad", *flags)
    assert code == 0
    for line, label, shares in zip(printed.splitlines(), labels, probabilities, strict=True):
        found, listed, text = line.split("\t")
        assert found == label == listed.split("=")[0]
        listed = dict(pair.split("=") for pair in listed.split())
        assert {name: float(share) for name, share in listed.items()} == pytest.approx(
            dict(zip(classify.classes, shares, strict=True)), abs=1e-4
        )
    assert text == "so happy and glad"  # a tab would be another column
    rows = run("predict.py", "i feel SAD!", "so happy\tand glad", "--json", "--top", 1, *flags)[1]
    rows = [json.loads(line) for line in rows.splitlines()]
    assert [row["text"] for row in rows] == ["i feel SAD!", "so happy\tand glad"]
    for row, label, shares in zip(rows, labels, probabilities, strict=True):
        assert row["label"] == label and row["score"] == pytest.approx(shares.max(), abs=1e-5)
        assert row["probabilities"] == {label: row["score"]}


def test_mistakes_are_named(fails, trained, tmp_path):
    for flags, message in (
        (["--input", "a.csv"], "--output"),
        (["--output", "a.csv"], "--input"),
        (["text", "--input", "a.csv", "--output", "b.csv"], "text"),
        (["text", "--resume"], "--resume"),
        (["text", "--engine", "ray"], "--engine ray"),
        (["text", "--workers", 2], "--workers"),
        (["text", "--checkpoint", tmp_path], "config.json"),
        (["text", "--backend", "onnx", "--precision", "fp16"], "--backend onnx"),
        (["fine", " ", "--strict", "--checkpoint", trained], "text 2 is blank"),
        (["--input", "a.csv", "--output", "b.csv"], "a.csv"),
        (["--input", trained / "history.csv", "--output", "b", "--output-format", "xls"], "'xls'"),
    ):
        assert message in fails("predict.py", *flags)


def test_every_line_of_a_pipe_has_its_line(trained):
    lines = [b"i feel sad", b"", b"caf\xe9 happy\r", b"i feel mad \x1b[31m" + "\u202e".encode()]
    done = launch("predict.py", "--checkpoint", trained, input=b"\n".join(lines), text=False)
    assert done.returncode == 0, done.stderr
    found = done.stdout.decode().splitlines()
    assert [line.split("\t")[0] for line in found] == ["sadness", "", "joy", "anger"]
    assert found[1] == "\t\t" and found[2].endswith("\tcaf\ufffd happy")
    assert "\x1b" not in done.stdout.decode() and "\u202e" not in done.stdout.decode()
    done = launch("predict.py", "--checkpoint", trained, "--strict", input="a\n\nb\n")
    assert done.returncode == 2 and done.stderr == "error: text 2 is blank\n"


def test_a_line_is_answered_before_the_next_comes(trained):
    with running(trained, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        for text, label in ((b"i feel sad", b"sadness"), (b"i feel happy", b"joy")):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert process.stdout.readline().startswith(label + b"\t")
        process.stdin.write(b"i feel mad")  # without a line break
        process.stdin.close()
        assert process.stdout.read().startswith(b"anger\t")


def test_head_ends_it_quietly(trained):
    with running(
        trained, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        process.stdin.write(b"i feel sad\n")
        process.stdin.flush()
        process.stdout.readline()
        process.stdout.close()
        with process.stdin as stdin:
            stdin.write(b"i feel sad\n" * 100)
        assert process.wait(60) == 0 and process.stderr.read() == b""


def test_long_texts(trained):
    book = "i feel sad " + "".join(f"w{chr(97 + n % 26) * (n % 7)} " for n in range(300_000))
    done = launch("predict.py", "--checkpoint", trained, "--json", input=f"{book}\ni feel happy\n")
    assert done.returncode == 0, done.stderr
    long, short = map(json.loads, done.stdout.splitlines())
    assert len(long["text"]) == 2**20 and short["label"] == "joy"
    classify = load_classifier(trained)
    assert (classify.probabilities([book]) == classify.probabilities([book[:MAX_CHARACTERS]])).all()


def read_until(terminal, wanted):
    """Return what a terminal shows until `wanted` is there."""
    shown = ""
    while wanted not in shown:
        shown += os.read(terminal, 4096).decode()
    return shown


def test_in_a_terminal_it_asks_and_draws(trained):
    ours, theirs = pty.openpty()
    streams = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
    with running(trained, "--top", 2, **streams) as process:
        assert "text> " in read_until(ours, "text> ")
        os.write(ours, b"i feel sad\n")
        shown = read_until(ours, "\ntext> ")
        names = re.findall(r"^  (\w+) +[\d.]+ %  ", shown, flags=re.MULTILINE)
        assert len(names) == 2 and names[0] == "sadness" and "█████" in shown
        os.write(ours, b"\x04")  # Ctrl-D
        assert process.wait(60) == 0
    os.close(ours)
    os.close(theirs)


def test_as_typed_and_as_cleaned():
    """The label is that of the clean form, whatever was around the words."""
    classify = load_classifier(ROOT / "checkpoints" / "lstm")
    pairs = {
        "i can't STOP smiling!!! 😀 https://t.co/x1 @friend": "i cant stop smiling",
        "I’m so   scared… #terrified &amp; alone": "im so scared terrified alone",
        "WHY do they ALWAYS lie?! 😡😡": "why do they always lie",
    }
    typed, clean = (classify(list(texts)) for texts in (pairs, pairs.values()))
    assert typed[0] == clean[0] and (typed[1] == clean[1]).all()


@needs_corpus
def test_corpus_texts_typed_by_a_person():
    from conftest import data_arguments

    from data import load_corpus

    corpus = load_corpus(data_arguments("--dataset", CORPUS), splits=("validation",))
    texts = corpus.splits["validation"].texts
    classify = load_classifier(ROOT / "checkpoints" / "lstm")
    rng = random.Random(0)
    labels, typed = classify(texts)[0], classify([retype(text, rng) for text in texts])[0]
    same = sum(a == b for a, b in zip(labels, typed, strict=True)) / len(texts)
    assert same > 0.93  # a slip of the finger in one word of twenty may change it
