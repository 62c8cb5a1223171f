"""train.py in several processes, as `accelerate launch` and `torchrun` start it."""

import csv
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from conftest import ROOT, SMALL
from hypothesis import given
from hypothesis import strategies as st

from batches import share
from model import load_checkpoint

# 120 texts in batches of 7: one is left for the last batch, and nothing for the second process.
FLAGS = [*SMALL, "--batch-size", 7, "--dropout", 0, "--word-dropout", 0, "--device", "cpu"]
LAUNCHERS = {
    # Its --cpu starts one process, whatever --num_processes says.
    "accelerate": ["accelerate.commands.launch", "--multi_gpu", "--num_processes", 2],
    "torchrun": ["torch.distributed.run", "--standalone", "--nproc-per-node", 2],
}


@pytest.fixture(autouse=True)
def one_thread():
    """What the launched processes have, too."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def start(launcher, *flags):
    command = [sys.executable, "-m", *LAUNCHERS[launcher], ROOT / "train.py", *flags]
    return subprocess.Popen(
        list(map(str, command)),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def curve(folder):
    with open(folder / "history.csv") as file:
        rows = list(csv.DictReader(file))
    columns = [column for column in rows[0] if column != "seconds"]
    return torch.tensor([[float(row[column]) for column in columns] for row in rows])


def assert_same_run(one, other):
    torch.testing.assert_close(curve(one), curve(other), rtol=1e-3, atol=1e-3)
    first, second = (load_checkpoint(folder)[0].state_dict() for folder in (one, other))
    torch.testing.assert_close(first, second, rtol=1e-3, atol=1e-3)
    assert {file.name for file in one.iterdir()} == {file.name for file in other.iterdir()}


def test_two_processes_learn_what_one_does(run, dataset, tmp_path):
    flags = ["--dataset", dataset, *FLAGS]
    process = start("accelerate", *flags, "--output", tmp_path / "two")
    printed, stderr = process.communicate(timeout=120)
    assert process.returncode == 0, stderr
    code, alone, _ = run("train.py", *flags, "--output", tmp_path / "one")
    assert code == 0
    assert_same_run(tmp_path / "two", tmp_path / "one")
    assert ", 2 processes;" in printed and " processes;" not in alone
    assert len(printed.splitlines()) == len(alone.splitlines()), "said twice"


def rank(process):
    """Which of the launched ones a process is; None if it is something else."""
    try:
        environment = Path(f"/proc/{process}/environ").read_text()
    except OSError:
        return None
    variables = dict(entry.partition("=")[::2] for entry in environment.split("\0"))
    return variables.get("RANK")


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="finds processes in /proc")
@pytest.mark.parametrize("victim", ["0", "1"])
def test_one_killed_ends_all_and_one_process_goes_on(run, dataset, tmp_path, victim):
    flags = ["--dataset", dataset, *FLAGS, "--epochs", 40]
    launcher = start("torchrun", *flags, "--output", tmp_path / "killed")
    for line in launcher.stdout:
        if line.split()[0] == "1":
            break
    children = Path(f"/proc/{launcher.pid}/task/{launcher.pid}/children").read_text().split()
    (worker,) = (child for child in children if rank(child) == victim)
    os.kill(int(worker), signal.SIGKILL)
    _, stderr = launcher.communicate(timeout=60)
    assert launcher.returncode != 0
    assert f"python train.py --resume --output {tmp_path / 'killed'}" in stderr
    assert len(curve(tmp_path / "killed")) < 40, "it was too fast to be killed"
    assert run("train.py", "--resume", "--output", tmp_path / "killed")[0] == 0
    assert run("train.py", *flags, "--output", tmp_path / "whole")[0] == 0
    assert_same_run(tmp_path / "killed", tmp_path / "whole")


@given(st.integers(1, 20), st.integers(1, 8), st.booleans())
def test_shares_make_up_the_batch(size, processes, padded):
    rows = torch.arange(size)
    tokens = rows[:, None].expand(size, 3)
    batch = (tokens, rows + 1 if padded else None, rows + 2, rows)
    seen, total = [], 0
    for index in range(processes):
        (tokens, lengths, labels, rows), weight = share(batch, index, processes)
        assert len(tokens) == len(labels) == len(rows) > 0
        assert torch.equal(labels, rows + 2) and torch.equal(tokens[:, 0], rows)
        assert torch.equal(lengths, rows + 1) if padded else lengths is None
        total += weight
        seen += rows.tolist() if weight else []
    assert sorted(seen) == list(range(size)) and total == pytest.approx(1)
