"""Files of texts in, the same files with labels out.

    from classifier import load_classifier
    from labelling import label_file

    classify = load_classifier("checkpoints/lstm", threads=1)
    label_file(classify, "tweets.csv", "labelled.parquet")

A file of any length takes the same memory: it is read, labelled and written a chunk at a time.
"""

import hashlib
import os
import shutil
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from errors import InputError
from formats import FORMATS, WRITABLE, file_format, open_writer, read_chunks

JOURNAL = "probabilities"
DIGEST_BYTES = 16


class Summary(NamedTuple):
    """What `label_file` did."""

    rows: int
    unlabelled: int  # rows without text
    seconds: float


def label_file(
    classify,
    source,
    target,
    text_column="text",
    source_format=None,
    target_format=None,
    prefix="",
    strict=False,
    overwrite=False,
    resume=False,
    workers=None,
    progress=None,
):
    """Label every row of a file.

    The new file has all columns of the old one and, behind them, `label`, `score` (the label's
    probability) and the probability of every class under its name. A row without text has an
    empty label and no probabilities. Fields of CSV and TSV are text, in Parquet too.

    Until the new file is complete it is in a hidden folder beside it, with the probabilities of
    the chunks that are done. Only these cost time: to go on with a killed run is to read the old
    file again, and to write the new one again, with what is known already.

    Args:
        classify: classifier.Classifier. Chunks are labelled side by side: let it have one thread.
        source, target: files; those whose names end in .gz are compressed.
        text_column: column that holds the texts; plain lines get a column of this name.
        source_format, target_format: of formats.FORMATS; None for what the file's name says.
        prefix: put before the new columns' names.
        strict: whether a row without text is an error.
        overwrite: whether to replace a target that exists.
        resume: whether to go on with a killed run. What comes out is the same, byte for byte. An
            error keeps what is known.
        workers: chunks labelled at once, None for one a core.
        progress: function of (rows done, share of the file that is done), called often.

    Returns:
        Summary.

    Raises:
        InputError: a file that is broken or has no such column, a target that exists or cannot
            hold the rows, a row without text if `strict`. Names the file and the row.
    """
    start = time.perf_counter()
    source, target = Path(source), Path(target)
    source_format = _known_format(source_format, source, FORMATS)
    target_format = _known_format(target_format, target, WRITABLE)
    check_target(source, target, overwrite)
    names = [prefix + name for name in ("label", "score", *classify.classes)]
    workers = workers or len(os.sched_getaffinity(0))
    rows = unlabelled = 0

    def finish(chunk, has_text, texts, probabilities):
        nonlocal rows, unlabelled
        if isinstance(probabilities, Future):
            probabilities = probabilities.result()
            journal.add(texts, probabilities)
        write(chunk.rows, _answers(names, classify.classes, has_text, probabilities))
        rows += len(has_text)
        unlabelled += len(has_text) - len(texts)
        if progress:
            progress(rows, chunk.done)

    with ExitStack() as stack:
        temporary, journal = stack.enter_context(_unfinished(target, resume))
        write = stack.enter_context(open_writer(temporary, target_format, target))
        pool = ThreadPoolExecutor(workers)
        stack.callback(pool.shutdown, cancel_futures=True)
        pending, rows_read = deque(), 0
        for chunk in read_chunks(source, source_format, text_column):
            _check_names(source, chunk.rows, names)
            has_text = [isinstance(text, str) and bool(text.strip()) for text in chunk.texts]
            if strict and not all(has_text):
                row = rows_read + has_text.index(False) + 1
                raise InputError(f"{source}: row {row} has no text")
            rows_read += len(has_text)
            texts = [text for text, has in zip(chunk.texts, has_text, strict=True) if has]
            probabilities = journal.find(texts, classify)
            if probabilities is None:
                probabilities = pool.submit(classify.probabilities, texts)
            pending.append((chunk, has_text, texts, probabilities))
            if len(pending) > workers + 1:
                finish(*pending.popleft())
        while pending:
            finish(*pending.popleft())
    return Summary(rows, unlabelled, time.perf_counter() - start)


def _known_format(given, path, known):
    kind = given or file_format(path)
    if kind not in known:
        what = f"'{given}' is none of {', '.join(known)}" if given else f"not .{', .'.join(known)}"
        raise InputError(f"{path}: {what}")
    return kind


def check_target(source, target, overwrite):
    """Raise InputError if the target is the source, or exists."""
    if target.exists() and source.exists() and source.samefile(target):
        raise InputError(f"{target}: is the input itself")
    if target.exists() and not target.is_file():
        raise InputError(f"{target}: is {'a folder' if target.is_dir() else 'no regular file'}")
    if target.exists() and not overwrite:
        raise InputError(f"{target} exists: --overwrite replaces it")


def is_finished(target):
    """Whether a file is there, and no killed run that was to replace it."""
    return target.exists() and not (unfinished_folder(target) / JOURNAL).exists()


def mark_unfinished(target):
    """Tell a later run that what is there under this name is old."""
    unfinished_folder(target).mkdir(exist_ok=True)
    (unfinished_folder(target) / JOURNAL).touch()


def unfinished_folder(target):
    """Where a file is until it is complete, with its journal."""
    return target.with_name(f".{target.name}.unfinished")


def _check_names(source, rows, names):
    """Raise InputError if the rows have a column with the name of a new one."""
    found = rows.column_names if isinstance(rows, pa.Table) else set().union(*rows)
    for name in names:
        if name in found:
            raise InputError(
                f"{source}: it has a column '{name}' already: with --prefix predicted_ the new "
                f"one is called 'predicted_{name}'"
            )


def _answers(names, classes, has_text, probabilities):
    """Return the new columns as a pyarrow.Table.

    Args:
        names: of the columns.
        classes: names of the classes.
        has_text: (rows,) list of bool.
        probabilities: (rows with text, classes) float32.
    """
    has_text = np.array(has_text, dtype=bool)
    best = np.full(len(has_text), len(classes))
    best[has_text] = probabilities.argmax(axis=1)
    values = np.zeros((len(has_text), 1 + len(classes)), dtype=np.float32)
    values[has_text] = np.column_stack([probabilities.max(axis=1), probabilities])
    labels = pa.array([*classes, ""]).take(pa.array(best))
    columns = [pa.array(column, mask=~has_text) for column in values.T]
    return pa.table([labels, *columns], names)


@contextmanager
def _unfinished(target, resume):
    """Yield a path for the new file, which is renamed to `target` at the end, and its journal."""
    folder = unfinished_folder(target)
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / target.name
    try:
        with open(folder / JOURNAL, "ab+" if resume else "wb+") as file:
            yield temporary, _Journal(file, target)
        with open(temporary, "rb+") as file:
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        temporary.unlink(missing_ok=True)
        # Nothing is lost with a run that failed at once, unless it was to replace something.
        if isinstance(error, InputError) and not resume and not target.exists():
            shutil.rmtree(folder)
        raise
    shutil.rmtree(folder)


class _Journal:
    """The probabilities of all chunks that are done, each behind a hash of them and the texts.

    Args:
        file: opened for reading and appending; it may be a killed run's.
        target: what the run is to write.
    """

    def __init__(self, file, target):
        self.file, self.target = file, target
        self.file.seek(0)
        self.is_first = self.is_old = True

    def find(self, texts, classify):
        """Return what the killed run made of the next chunk, or None. Raises InputError."""
        if not self.is_old:
            return None
        place = self.file.tell()
        digest = self.file.read(DIGEST_BYTES)
        size = 4 * len(texts) * len(classify.classes)
        saved = self.file.read(size)
        if digest != _digest(texts, saved):
            if self.is_first and len(digest + saved) == DIGEST_BYTES + size:
                raise InputError(f"--resume: {self.target} was begun with other texts")
            # Here it was killed, or the input has changed.
            self.is_old = False
            self.file.truncate(place)
            return None
        found = np.frombuffer(saved, dtype=np.float32).reshape(len(texts), -1)
        if self.is_first and texts:
            self.is_first = False
            if not np.array_equal(found, classify.probabilities(texts)):
                raise InputError(f"--resume: {self.target} was begun with another model")
        return found

    def add(self, texts, probabilities):
        """Append a chunk that is done, so that it outlives this process."""
        self.file.write(_digest(texts, probabilities.tobytes()) + probabilities.tobytes())
        self.file.flush()


def _digest(texts, probabilities):
    content = "\0".join(texts).encode("utf-8", "surrogatepass") + probabilities
    return hashlib.blake2b(content, digest_size=DIGEST_BYTES).digest()
