"""When something goes wrong: one line for the person at the keyboard, and nothing half-written."""

import argparse
import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from safetensors import SafetensorError


class InputError(Exception):
    """A mistake that the user can mend; its message names the file, row, flag or value."""


def count(text):
    """Return the whole number of at least 1 that `text` is: the type of a flag of argparse."""
    number = int(text)
    if not 1 <= number < 2**31:
        raise argparse.ArgumentTypeError(f"{text}: must be at least 1 and less than 2^31")
    return number


@contextmanager
def one_line_errors():
    """Turn what a user can mend into one line on stderr and exit code 2; a bug keeps its traceback.

    OSError counts as mendable: a missing file, a full disk, a folder without write permission.
    So does SafetensorError, which is what safetensors makes of a full disk.
    """
    try:
        yield
    except (InputError, OSError, SafetensorError) as error:
        print("error: " + " ".join(str(error).split()), file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)


@contextmanager
def replacing(path):
    """Yield a temporary path beside `path`, and rename it over `path` only once it is complete.

    A reader, or a run killed at any moment, sees the old file or the new one, never a part.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    # The suffix stays last: libraries choose a format by it.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        with suppress(FileNotFoundError):
            temporary.unlink()


@contextmanager
def replacing_files(folder):
    """Yield a temporary folder, and move its files into `folder` once all are complete.

    The largest, a model's weights, comes last: what describes it does not change within a run,
    so a reader never meets weights without their configuration.
    """
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=folder, prefix=".saving-") as temporary:
        yield Path(temporary)
        for file in sorted(Path(temporary).iterdir(), key=lambda file: file.stat().st_size):
            with open(file, "rb+") as opened:
                os.fsync(opened.fileno())
            os.replace(file, folder / file.name)
