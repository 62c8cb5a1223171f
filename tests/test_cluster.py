"""predict.py on Ray: the same files as without it, whatever happens to a worker."""

import csv
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT, launch

pytest.importorskip("ray", reason="requirements-ray.txt is not installed")

FILES, ROWS = 5, 12_000


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of CSV files."""
    folder = tmp_path_factory.mktemp("in")
    for number in range(FILES):
        with open(folder / f"{number}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["id", "text"])
            writer.writerows(
                (f"{number}-{row}", f"i feel {'sad' if row % 3 else 'happy, very'} {row % 50}")
                for row in range(ROWS)
            )
    return folder


@pytest.fixture(scope="module")
def expected(folder):
    """{name: bytes} of the files labelled without Ray."""
    output = folder.with_name("local")
    done = launch("predict.py", "--input", folder, "--output", output)
    assert done.returncode == 0, done.stderr
    return contents(output)


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_worker_is_killed_and_nothing_is_missing_or_twice(folder, expected, tmp_path):
    output = tmp_path / "out"
    for left in (".0.csv.unfinished", ".1.csv.attempt-0"):  # by killed runs, one without Ray
        (output / left).mkdir(parents=True)
        (output / left / "probabilities").touch()
    command = [sys.executable, ROOT / "predict.py", "--engine", "ray", "--workers", 2]
    command += ["--input", folder, "--output", output]
    running = subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    while not (found := list(output.glob(".*.attempt-*-*"))):
        assert running.poll() is None, running.communicate()
        time.sleep(0.002)
    os.kill(int(found[0].name.split("-")[1]), signal.SIGKILL)  # whose file is half done
    printed, errors = running.communicate(timeout=240)
    assert running.returncode == 0, errors
    assert contents(output) == expected
    assert f"{FILES * ROWS:,} rows" in printed


def test_mistakes_are_named(folder, tmp_path):
    flags = ["--engine", "ray", "--input", folder, "--output", tmp_path / "out"]
    done = launch("predict.py", *flags, "--text-column", "tweet")
    assert done.returncode == 2
    assert ".csv: no column 'tweet'" in done.stderr and len(done.stderr.splitlines()) == 1
    assert list((tmp_path / "out").iterdir()) == []
    done = launch("predict.py", *flags, "--ray-address", "127.0.0.1:9")
    assert done.returncode == 2 and "--ray-address 127.0.0.1:9" in done.stderr
