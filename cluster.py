"""Files labelled side by side by many processes, on this machine or a cluster, with Ray Data.

A file is one worker's from its first row to its last, and appears under its name once it is
complete: a worker that dies costs the time of the files it was at, which another begins anew.
"""

import os

# Read when Ray is imported: nothing is reported to its makers, and only failures are spoken of.
os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_BACKEND_LOG_LEVEL": "fatal"}

import logging
import shutil
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

try:
    import ray
    import ray.data
except ImportError:
    ray = None

from classifier import load_classifier
from errors import InputError
from labelling import Summary, label_file, unfinished_folder

ATTEMPT = ".attempt-"  # in the hidden name of a folder of an attempt at a file, behind the file's
OBJECT_STORE_BYTES = 2**27  # what Ray keeps in shared memory: names of files, so the least it takes


class Labeller:
    """A worker: loads the model once, labels file after file.

    Args:
        model: arguments of `classifier.load_classifier`.
        options: arguments of `labelling.label_file`.
    """

    def __init__(self, model, options):
        self.options = options
        self.error = None
        try:
            self.classify = load_classifier(**model)
        except (InputError, OSError) as error:  # which Ray would take for a reason to try again
            self.error = str(error)

    def __call__(self, batch):
        """Label one file; return its summary, or an error that the user can mend."""
        summary, error = Summary(0, 0, 0.0), self.error
        if not error:
            try:
                summary = self.label(batch["source"][0], Path(batch["target"][0]))
            except (InputError, OSError) as caught:
                error = str(caught)
        row = {**summary._asdict(), "number": batch["number"][0], "error": error or ""}
        return {name: [value] for name, value in row.items()}

    def label(self, source, target):
        # A worker that was given up may still be alive: each attempt has a folder of its own.
        prefix = f".{target.name}{ATTEMPT}{os.getpid()}-"
        with TemporaryDirectory(dir=target.parent, prefix=prefix) as folder:
            summary = label_file(self.classify, source, Path(folder) / target.name, **self.options)
            os.replace(Path(folder) / target.name, target)
        shutil.rmtree(unfinished_folder(target), ignore_errors=True)  # of a run without Ray
        return summary


def label_on_ray(pairs, model, options, progress, workers=None, threads=1, address=None):
    """Label files on Ray, several at once.

    Args:
        pairs: list of (file to read, file to write), paths that mean the same on every machine.
        model: arguments of `classifier.load_classifier`.
        options: arguments of `labelling.label_file`.
        progress: function of (file read, labelling.Summary), called as files are done.
        workers: processes; None for as many as the cluster has cores for.
        threads: CPU threads a worker.
        address: of a cluster, as ray.init takes it; None starts Ray on this machine.

    Raises:
        InputError: Ray is not installed or does not answer, or what `label_file` raises.
    """
    if ray is None:
        raise InputError("--engine ray: pip install -r requirements-ray.txt")
    settings = {"address": address}
    if address:
        _check_address(address)
    else:
        cores = len(os.sched_getaffinity(0))
        settings = {
            "address": "local",
            "num_cpus": max(cores, (workers or 1) * threads),
            "object_store_memory": OBJECT_STORE_BYTES,
            "include_dashboard": False,
        }
    try:
        with _silence():
            ray.init(**settings, logging_level=logging.ERROR, log_to_driver=False)
    except (ConnectionError, ValueError) as error:
        raise InputError(f"--ray-address {address}: {error}") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    gpus = int(model["device"] == "cuda")
    if workers is None:
        resources = ray.cluster_resources()
        workers = int(resources.get("GPU", 0) if gpus else resources.get("CPU", 0) // threads)
    if Path(model["checkpoint"]).is_dir():
        model = {**model, "checkpoint": str(Path(model["checkpoint"]).absolute())}
    parent = pairs[0][1].parent.absolute()
    parent.mkdir(parents=True, exist_ok=True)
    names = {target.name for _, target in pairs}
    _remove_attempts(parent, names)  # of a run that was killed
    with ExitStack() as stack:
        stack.callback(_remove_attempts, parent, names)
        stack.callback(ray.shutdown)  # before that, since workers may still write
        files = [
            {"number": i, "source": str(source.absolute()), "target": str(target.absolute())}
            for i, (source, target) in enumerate(pairs)
        ]
        done = ray.data.from_items(files, override_num_blocks=len(files)).map_batches(
            Labeller,
            fn_constructor_args=(model, {**options, "workers": threads}),
            batch_size=1,
            num_cpus=threads,
            num_gpus=gpus,
            compute=ray.data.ActorPoolStrategy(
                size=max(1, min(workers, len(files))), max_tasks_in_flight_per_actor=1
            ),
        )
        for row in done.iter_rows():
            if row["error"]:
                raise InputError(row["error"])
            summary = Summary(*(row[name] for name in Summary._fields))
            progress(pairs[row["number"]][0], summary)


def _remove_attempts(parent, names):
    """Remove what is left of attempts at the files of these names, and of no others."""
    for folder in parent.glob(f".*{ATTEMPT}*"):
        if folder.name[1:].rpartition(ATTEMPT)[0] in names:
            shutil.rmtree(folder, ignore_errors=True)


def _check_address(address):
    """Raise InputError if nobody answers at host:port, for which Ray would wait for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host:
        try:
            socket.create_connection((host, int(port)), timeout=5).close()
        except (OSError, ValueError) as error:
            raise InputError(f"--ray-address {address}: {error}") from None


@contextmanager
def _silence():
    """Keep what Ray's C++ says of its own settings from the terminal."""
    with open(os.devnull, "wb") as nothing:
        kept = os.dup(2)
        os.dup2(nothing.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(kept, 2)
            os.close(kept)
