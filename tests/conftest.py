import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
from argparse import ArgumentParser
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CORPUS = ROOT.parent / "shared" / "data" / "emotion"
WORDS = {
    "sadness": ["sad", "lonely", "empty"],
    "joy": ["happy", "glad", "cheerful"],
    "anger": ["angry", "furious", "mad"],
}
# Small enough that an epoch takes a blink.
SMALL = ["--embedding-size", 8, "--hidden-size", 8, "--layers", 1, "--epochs", 4, "--lr", 0.03]
SMALL += ["--batch-size", 4, "--embedding-dropout", 0]

needs_corpus = pytest.mark.skipif(not CORPUS.exists(), reason="the real corpus is not here")


def pytest_configure(config):
    """On a machine that reaches the Hub, the tests see what one sees that does not.

    This comes before any test module imports huggingface_hub, which copies these settings.
    """
    cache = tempfile.TemporaryDirectory(prefix="hub-cache-")
    config.add_cleanup(cache.cleanup)
    os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
    os.environ["HF_HOME"] = cache.name
    # A shell that starts the tests in the background leaves Ctrl-C ignored, also in the scripts.
    signal.signal(signal.SIGINT, signal.default_int_handler)


def rows_of(split, count):
    """`count` texts, none twice, whose one feeling word decides the label."""
    for number in range(count):
        label = list(WORDS)[number % 3]
        word = WORDS[label][number // 3 % 3]
        yield f"i feel {word} {split} {'very ' * (number % 7)}{chr(97 + number % 26)}", label


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """A folder with train, validation and test as CSV; three classes, easily told apart."""
    folder = tmp_path_factory.mktemp("dataset")
    for split, count in (("train", 120), ("validation", 39), ("test", 42)):
        lines = [f"{text},{label}" for text, label in rows_of(split, count)]
        (folder / f"{split}.csv").write_text("\n".join(["text,label", *lines]) + "\n")
    return folder


def launch(script, *arguments, **options):
    """Run a script as its users do, from another folder."""
    command = [sys.executable, str(ROOT / script), *map(str, arguments)]
    options = {"capture_output": True, "text": True, "timeout": 300, **options}
    return subprocess.run(command, **options)


@pytest.fixture
def run(monkeypatch, capsys, tmp_path):
    """Run a script inside this process, which saves seconds of imports.

    Returns a function of (script, *arguments) that returns (exit code, stdout, stderr).
    """

    def run(script, *arguments):
        monkeypatch.setattr(sys, "argv", [script, *map(str, arguments)])
        monkeypatch.chdir(tmp_path)
        capsys.readouterr()
        try:
            runpy.run_path(str(ROOT / script), run_name="__main__")
            code = 0
        except SystemExit as stop:
            code = stop.code
        return code, *capsys.readouterr()

    return run


@pytest.fixture
def fails(run):
    """Run a script that must stop with one line on stderr and exit code 2; return that line."""

    def fails(script, *arguments):
        code, _, stderr = run(script, *arguments)
        assert code == 2, stderr
        assert stderr.startswith("error: ") and len(stderr.splitlines()) == 1, stderr
        return stderr

    return fails


@pytest.fixture(scope="session")
def trained(dataset, tmp_path_factory):
    """The folder of a finished run on `dataset`."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    done = launch("train.py", "--dataset", dataset, "--output", folder, *SMALL)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def result(trained, dataset, run, tmp_path):
    """A result that test.py wrote, and what it printed."""
    folder = tmp_path / "results"
    code, printed, stderr = run(
        "test.py", "--checkpoint", trained, "--dataset", dataset, "--results", folder
    )
    assert code == 0, stderr
    return json.loads((folder / "run.json").read_text()), printed, folder


def data_arguments(*flags):
    """What `load_corpus` takes."""
    from data import add_data_arguments

    parser = ArgumentParser()
    add_data_arguments(parser)
    return parser.parse_args([str(flag) for flag in flags])
