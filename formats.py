"""Rows of text files, read and written a chunk at a time: CSV, TSV, JSONL, Parquet, plain lines.

Whatever a file's length, a chunk is what is in memory. Imports neither PyTorch nor pandas.
"""

import csv
import gzip
import io
import json
import re
import zlib
from contextlib import ExitStack, contextmanager
from itertools import chain
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import pyarrow as pa
from pyarrow import parquet
from pyarrow.types import is_temporal

from errors import InputError

WRITABLE = ("csv", "tsv", "jsonl", "parquet")
FORMATS = (*WRITABLE, "txt")
CHUNK_BYTES = 2**20  # of the file: some 10,000 tweets
LONGEST_LINE = 2**26  # bytes
DIALECTS = {
    "csv": {"strict": True},
    # Tabs need no quotation marks around a field, so a mark is part of the tweet there.
    "tsv": {"delimiter": "\t", "quoting": csv.QUOTE_NONE, "quotechar": None},
}
TEXT_TYPES = (pa.string(), pa.large_string(), pa.string_view(), pa.null())


class Chunk(NamedTuple):
    """Rows of a file that follow each other."""

    rows: object  # pyarrow.Table, or list of dict from JSONL, whose rows need not be alike
    texts: list  # what is in each row's text column: str, None, or in JSONL anything
    done: float  # share of the file read so far


def file_format(path):
    """Return the one of FORMATS that a file's name tells, with or without .gz, or None."""
    suffixes = [suffix.lower() for suffix in Path(path).suffixes[-2:]]
    if suffixes[-1:] == [".gz"]:
        suffixes.pop()
    kind = suffixes[-1][1:] if suffixes else None
    return kind if kind in FORMATS else None


def name_in_format(path, kind):
    """Return a file's name with the ending of another format."""
    stem = re.sub(rf"\.({'|'.join(FORMATS)})(\.gz)?$", "", Path(path).name, flags=re.IGNORECASE)
    return f"{stem}.{kind}"


def read_chunks(path, kind, text_column="text"):
    """Yield a file's rows as `Chunk`s, at least one, though it may be empty.

    Args:
        path: file; one whose name ends in .gz is decompressed.
        kind: one of FORMATS.
        text_column: column that holds the texts. Plain lines have this column alone.

    Raises:
        InputError: a file that is broken or has no such column; names the file and the row.
    """
    path = Path(path)
    size = path.stat().st_size
    if not size:
        raise InputError(f"{path}: empty file")
    if kind == "parquet":
        yield from _read_parquet(path, text_column)
        return
    with open(path, "rb") as file:
        stream = file
        if path.suffix.lower() == ".gz":
            stream = io.BufferedReader(gzip.GzipFile(fileobj=file))
        lines = _lines(path, stream)
        if kind in DIALECTS:
            chunks = _read_delimited(path, lines, kind, text_column)
        elif kind == "jsonl":
            chunks = _read_jsonl(path, lines, text_column)
        else:
            chunks = _read_plain(lines, text_column)
        for rows, texts in chunks:
            yield Chunk(rows, texts, file.tell() / size)


def _lines(path, stream):
    """Yield lines of UTF-8 with their line breaks."""
    number = 0
    try:
        while line := stream.readline(LONGEST_LINE):
            number += 1
            if len(line) == LONGEST_LINE:
                raise InputError(f"{path}: line {number} has more than {LONGEST_LINE:,} bytes")
            yield line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError:
        raise InputError(f"{path}: line {number} is not UTF-8") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(f"{path}: {error}") from None


def _cut(items, length):
    """Yield lists of items whose lengths add up to CHUNK_BYTES, at least one list."""
    chunk, size, count = [], 0, 0
    for item in items:
        chunk.append(item)
        size += length(item)
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size, count = [], 0, count + 1
    if chunk or not count:
        yield chunk


def _read_plain(lines, text_column):
    for chunk in _cut(lines, len):
        texts = [line.removesuffix("\n").removesuffix("\r") for line in chunk]
        yield pa.table({text_column: pa.array(texts, pa.string())}), texts


def _read_delimited(path, lines, kind, text_column):
    csv.field_size_limit(LONGEST_LINE)
    reader = csv.reader(lines, **DIALECTS[kind])
    fields = filter(None, reader)  # an empty line is no row
    count = 0
    try:
        header = next(fields, [])
        _check_columns(path, header, text_column)
        for chunk in _cut(fields, lambda row: len(row) + sum(map(len, row))):
            for number, row in enumerate(chunk, start=count + 1):
                if len(row) != len(header):
                    raise InputError(
                        f"{path}: row {number} has {len(row)} fields, the header {len(header)}"
                    )
            count += len(chunk)
            columns = list(zip(*chunk, strict=True)) or [()] * len(header)
            arrays = [pa.array(column, pa.string()) for column in columns]
            yield pa.Table.from_arrays(arrays, header), columns[header.index(text_column)]
    except csv.Error as error:
        raise InputError(f"{path}: line {reader.line_num}: {error}") from None


def _read_jsonl(path, lines, text_column):
    def parsed():
        for number, line in enumerate(lines, start=1):
            if line.isspace():
                continue
            try:
                row = json.loads(line)
            except (ValueError, RecursionError) as error:
                raise InputError(f"{path}: line {number} is not JSON: {error}") from None
            if not isinstance(row, dict):
                raise InputError(f"{path}: line {number} is not a JSON object")
            yield row, len(line)

    seen = False
    for chunk in _cut(parsed(), lambda pair: pair[1]):
        rows = [row for row, _ in chunk]
        if not seen:
            seen = True
            _check_columns(path, dict.fromkeys(chain.from_iterable(rows)), text_column)
        yield rows, [row.get(text_column) for row in rows]


def _read_parquet(path, text_column):
    try:
        with parquet.ParquetFile(path, pre_buffer=False) as file:
            schema, metadata = file.schema_arrow, file.metadata
            _check_columns(path, schema.names, text_column)
            kind = schema.field(text_column).type
            if getattr(kind, "value_type", kind) not in TEXT_TYPES:
                raise InputError(f"{path}: column '{text_column}' holds {kind}, not text")
            groups = [metadata.row_group(i) for i in range(metadata.num_row_groups)]
            size = sum(group.total_byte_size for group in groups)
            few = max(1, CHUNK_BYTES * metadata.num_rows // max(size, 1))
            done = 0
            for batch in file.iter_batches(batch_size=few):
                done += len(batch)
                texts = batch.column(text_column).cast(pa.string()).to_pylist()
                yield Chunk(pa.Table.from_batches([batch]), texts, done / metadata.num_rows)
            if not done:
                yield Chunk(schema.empty_table(), [], 1.0)
    except (pa.ArrowException, UnicodeDecodeError, OSError) as error:
        raise InputError(f"{path}: {error}") from None


def _check_columns(path, names, text_column):
    """Raise InputError unless all names are different and the text column is one of them."""
    names = list(names)
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}: two columns are called '{name}'")
    if text_column not in names:
        raise InputError(
            f"{path}: no column '{text_column}', it has {', '.join(map(str, names))}; name the "
            "right one with --text-column"
        )


@contextmanager
def open_writer(path, kind, name):
    """Yield a function that appends rows to a new file.

    Its arguments: `rows`, as in `Chunk`, and `answers`, a pyarrow.Table of as many, whose columns
    are set behind the others.

    Args:
        path: file to write.
        kind: one of WRITABLE.
        name: what errors call the file; one that ends in .gz is compressed.

    Raises:
        InputError: rows that this format cannot hold.
    """
    if kind == "parquet":
        if str(name).lower().endswith(".gz"):
            raise InputError(f"{name}: Parquet is compressed within; leave out .gz")
        with _parquet_writer(path, name) as write:
            yield write
        return
    with open(path, "wb") as file:
        stream = file
        if str(name).lower().endswith(".gz"):
            # Without name and time, so that the same rows make the same file.
            stream = gzip.GzipFile("", "wb", compresslevel=6, fileobj=file, mtime=0)
        with io.TextIOWrapper(stream, "utf-8", "backslashreplace", newline="") as text:
            writer = (
                _jsonl_writer(text, name)
                if kind == "jsonl"
                else _delimited_writer(text, kind, name)
            )
            yield writer


@contextmanager
def _parquet_writer(path, name):
    with ExitStack() as stack:
        writer, as_table = None, _tables(name)

        def write(rows, answers):
            nonlocal writer
            table = as_table(rows)
            for column, values in zip(answers.schema, answers.columns, strict=True):
                table = table.append_column(column, values)
            writer = writer or stack.enter_context(parquet.ParquetWriter(path, table.schema))
            writer.write_table(table)

        yield write


def _delimited_writer(stream, kind, name):
    # Before Python 3.13 a lone carriage return is quoted only if it is part of the line's end.
    lines = SimpleNamespace(write=lambda line: stream.write(line[:-2] + "\n"))
    writer = csv.writer(lines, lineterminator="\r\n", **DIALECTS[kind])
    as_table, has_header = _tables(name), False

    def write(rows, answers):
        nonlocal has_header
        table = as_table(rows)
        columns = {}
        for column in (*table.column_names, *answers.column_names):
            values = (table if column in table.column_names else answers)[column]
            try:
                columns[column] = values.cast(pa.string()).to_pylist()
            except (pa.ArrowException, UnicodeDecodeError):
                raise InputError(
                    f"{name}: {kind.upper()} cannot hold column '{column}' ({values.type}); "
                    ".jsonl and .parquet can"
                ) from None
        try:
            if not has_header:
                writer.writerow(columns)
            writer.writerows(zip(*columns.values(), strict=True))
        except csv.Error:
            raise InputError(
                f"{name}: TSV cannot hold a field with a tab or a line break; .csv can"
            ) from None
        has_header = True

    return write


def _jsonl_writer(stream, name):
    def write(rows, answers):
        if isinstance(rows, pa.Table):
            try:
                rows = _as_json(rows).to_pylist()
            except (pa.ArrowException, UnicodeDecodeError) as error:
                raise InputError(
                    f"{name}: JSON cannot hold a row ({error}); .parquet can"
                ) from None
        for row, answer in zip(rows, _as_json(answers).to_pylist(), strict=True):
            # A lone half of an emoji, which UTF-8 cannot hold, is escaped by the stream.
            stream.write(json.dumps(row | answer, ensure_ascii=False, default=str) + "\n")

    return write


def _as_json(table):
    """Cast what JSON cannot hold to text, and float32 to the float64 that prints as short."""
    columns = []
    for values in table.columns:
        kind = values.type
        if kind == pa.float32():
            values = values.cast(pa.string()).cast(pa.float64())
        elif not (pa.types.is_primitive(kind) or pa.types.is_nested(kind)) or is_temporal(kind):
            values = values.cast(pa.string())
        columns.append(values)
    return pa.Table.from_arrays(columns, table.column_names)


def _tables(name):
    """Return a function that makes a chunk's rows a pyarrow.Table with the columns of the first."""
    schema = None

    def as_table(rows):
        nonlocal schema
        if isinstance(rows, pa.Table):
            return rows
        found = list(dict.fromkeys(chain.from_iterable(rows)))
        try:
            if schema is None:
                table = pa.table({column: [row.get(column) for row in rows] for column in found})
                schema = table.schema
            elif new := set(found) - set(schema.names):
                raise InputError(f"no row before it has '{min(new)}'")
            return pa.Table.from_pylist(rows, schema=schema)
        except (InputError, pa.ArrowException, UnicodeEncodeError, OverflowError) as error:
            raise InputError(
                f"{name}: columns cannot hold the input's rows ({error}); .jsonl can"
            ) from None

    return as_table
