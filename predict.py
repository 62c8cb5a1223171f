"""Tell the emotion of texts: of a few, of a stream, of files of any length.

python predict.py "i can't stop smiling" "leave me alone"
python predict.py                                            # asks for one text after the other
tail -f tweets.log | python predict.py | ...                 # one line out for every line in
python predict.py --input tweets.csv --output labelled.parquet
python predict.py --input folder --output labelled           # all files in it
python predict.py --input folder --output labelled --engine ray          # several at once

A file's columns are kept; `label`, `score` (the label's probability) and the probability of every
class, under its name, come behind them. Of a text the first 10,000 characters are read, and of
these the first 128 words; of a line from a pipe the first megabyte. What is null, blank or no text
has an empty label. Fields of CSV and TSV stay text, also in Parquet.
"""

import argparse
import json
import os
import shutil
import sys
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

from checkpoint import SHIPPED
from classifier import BACKENDS, DEVICES, PRECISIONS, load_classifier
from errors import InputError, count, one_line_errors

BLOCK_BYTES = 2**16  # of a pipe read at once
LONGEST_LINE = 2**20  # bytes of a line from a pipe that are read


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("texts", nargs="*", metavar="TEXT", help="(default: the lines of standard input)")
    add("--top", type=count, help="most probable classes to show (default: all)")
    add("--json", action="store_true", help="show each text as a line of JSON")
    add("--strict", action="store_true", help="stop at a row or line without text")

    add = parser.add_argument_group("model").add_argument
    add("--checkpoint", default=SHIPPED, help="folder or Hub id (default: checkpoints/lstm)")
    add(
        "--backend",
        choices=BACKENDS,
        default="auto",
        help="(default: auto, ONNX Runtime on the CPU in fp32 and PyTorch for all else)",
    )
    add("--device", choices=DEVICES, default="auto", help="(default: auto)")
    add("--precision", choices=PRECISIONS, default="fp32", help="(default: fp32)")
    add("--batch-size", type=count, default=64, help="texts a step (default: 64)")
    add("--threads", type=count, help="CPU threads (default: one a core; 1 a worker on Ray)")

    add = parser.add_argument_group("files").add_argument
    add(
        "--input",
        type=Path,
        help="file or folder of files: .csv, .tsv, .jsonl, .txt (a text a line), also with .gz, "
        "and .parquet",
    )
    add("--output", type=Path, help="file or folder to write; .txt cannot hold labels")
    add("--text-column", default="text", help="(default: text)")
    add("--input-format", help="csv, tsv, jsonl, txt or parquet (default: by the name)")
    add("--output-format", help="(default: by the name; in a folder the input's, csv for txt)")
    add("--prefix", default="", help="put before the names of the new columns")
    add("--overwrite", action="store_true", help="replace files that are there")
    add("--resume", action="store_true", help="go on with a run that was stopped or killed")
    add("--engine", choices=("local", "ray"), default="local", help="(default: local)")
    add(
        "--workers",
        type=count,
        help="Ray's processes, each at one file at a time (default: as many as there is room for)",
    )
    add("--ray-address", help="a cluster's, as ray.init takes it (default: this machine alone)")
    args = parser.parse_args()
    if bool(args.input) != bool(args.output):
        raise InputError("--input and --output: the one needs the other")
    if args.input and args.texts:
        raise InputError(f"--input: takes no texts beside it: {args.texts[0]}")
    if not args.input and (args.resume or args.overwrite or args.engine == "ray"):
        raise InputError("--resume, --overwrite, --engine ray: are for files, so for --input")
    if args.engine == "local" and (args.workers or args.ray_address):
        raise InputError("--workers and --ray-address: are for --engine ray")
    if args.input and args.input.is_dir() and args.input_format != "txt":
        args.output_format = args.output_format or args.input_format
    return args


def find_files(args):
    """Return [(file to read, file to write)], without those that a run to resume has finished.

    Raises:
        InputError: no file, or one that must not be written.
    """
    from formats import FORMATS, file_format, name_in_format
    from labelling import check_target, is_finished

    targets = {}
    if args.input.is_dir():
        for source in sorted(args.input.iterdir()):
            kind = args.input_format or file_format(source)
            if not kind or source.name.startswith((".", "_")) or source.is_dir():
                continue
            wanted = args.output_format or ("csv" if kind == "txt" else kind)
            name = source.name if kind == wanted else name_in_format(source, wanted)
            if first := targets.get(args.output / name):
                raise InputError(f"{first} and {source} would both become {args.output / name}")
            targets[args.output / name] = source
        if not targets:
            raise InputError(f"{args.input}: no file in it ends in .{', .'.join(FORMATS)}")
        if args.output.exists() and args.output.samefile(args.input):
            raise InputError(f"--output {args.output}: is the input itself")
    else:
        targets[args.output] = args.input
    pairs = []
    for target, source in targets.items():
        if not (args.resume and is_finished(target)):
            check_target(source, target, args.overwrite or args.resume)
            pairs.append((source, target))
    return pairs


def label_files(args, model):
    """Label the files, here or on Ray, and print how many rows that were."""
    from tqdm import tqdm

    from labelling import label_file, mark_unfinished

    pairs = find_files(args)
    if not pairs:
        print(f"{args.output}: complete already")
        return
    for _, target in pairs:
        if target.exists():
            mark_unfinished(target)
    options = {name: getattr(args, name) for name in ("text_column", "prefix", "strict")}
    options |= {"source_format": args.input_format, "target_format": args.output_format}
    options["overwrite"] = args.overwrite or args.resume
    sizes = {source: source.stat().st_size for source, _ in pairs}
    rows, sizes_done, unlabelled = {}, {}, []
    start = time.perf_counter()
    bar = tqdm(
        total=sum(sizes.values()),
        disable=None,
        leave=False,
        bar_format="{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
    )

    def progress(source, rows_done, share):
        rows[source], sizes_done[source] = rows_done, share * sizes[source]
        total = sum(rows.values())
        rate = total / (time.perf_counter() - start)
        bar.set_postfix_str(f"{total:,} rows, {rate:,.0f} rows/s", refresh=False)
        bar.update(sum(sizes_done.values()) - bar.n)

    def finish(source, summary):
        progress(source, summary.rows, 1.0)
        unlabelled.append(summary.unlabelled)

    with bar:
        if args.engine == "ray":
            from cluster import label_on_ray

            threads = args.threads or 1
            label_on_ray(pairs, model, options, finish, args.workers, threads, args.ray_address)
        else:
            classify = load_classifier(**model)
            options |= {"resume": args.resume, "workers": args.threads}
            for source, target in pairs:
                options["progress"] = partial(progress, source)
                finish(source, label_file(classify, source, target, **options))
    seconds, total = time.perf_counter() - start, sum(rows.values())
    print(f"{args.output}: {total:,} rows in {seconds:.1f} s, {total / seconds:,.0f} a second")
    if any(unlabelled):
        print(f"{sum(unlabelled):,} rows without text have no label")


def arriving_lines(file):
    """Yield lists of lines, as many as have arrived, so that none waits for the next.

    Args:
        file: descriptor of a pipe or file.
    """
    rest = b""
    while block := os.read(file, BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        rest = rest[:LONGEST_LINE]
        if lines:
            yield list(map(_decoded, lines))
    if rest:
        yield [_decoded(rest)]


def _decoded(line):
    return line[:LONGEST_LINE].decode(errors="replace").removesuffix("\r")


def typed_lines():
    """Yield lists of one line that is asked for."""
    with suppress(ImportError):
        import readline  # noqa: F401  # arrow keys work in input() from now on

    sys.stdin.reconfigure(errors="replace")
    while True:
        try:
            yield [input("text> " if sys.stdout.isatty() else "")]
        except EOFError:
            print(file=sys.stderr)
            return


def printable(text):
    """Put spaces in place of all that could move the cursor or turn the writing around."""
    joiner = "\u200d"  # of which emoji are made
    return "".join(c if c.isprintable() or c == joiner else " " for c in text)


def describe(text, label, probabilities, args):
    """Return what is shown of one text.

    Args:
        text: str.
        label: name of a class, or "" if there was nothing to classify.
        probabilities: {class: float}, the most probable first.
        args: namespace with `json`.
    """
    if args.json:
        score = probabilities.get(label)
        row = {"text": text, "label": label, "score": score, "probabilities": probabilities}
        return json.dumps(row)
    if not sys.stdout.isatty():
        shares = " ".join(f"{name}={share:.4f}" for name, share in probabilities.items())
        return "\t".join(map(printable, (label, shares, text)))
    width = shutil.get_terminal_size().columns
    lines = [printable(text[:width])]
    name_width = max(map(len, probabilities), default=0)
    for name, share in probabilities.items():
        bar = "█" * round(share * min(40, width - name_width - 12))
        lines.append(f"  {printable(name):{name_width}} {100 * share:5.1f} %  {bar}")
    return "\n".join(lines)


def show(texts, classify, args, first=1):
    """Classify texts and print what is found.

    Args:
        texts: list of str.
        classify: classifier.Classifier.
        args: namespace with `top`, `json` and `strict`.
        first: number of the first text.
    """
    blank = [not text.strip() for text in texts]
    if args.strict and any(blank):
        raise InputError(f"text {first + blank.index(True)} is blank")
    answers = zip(*classify([text for text in texts if text.strip()]), strict=True)
    for text in texts:
        label, shares = "", {}
        if text.strip():
            label, found = next(answers)
            order = (-found).argsort(kind="stable")[: args.top]
            shares = {classify.classes[i]: round(float(found[i]), 6) for i in order}
        print(describe(text, label, shares, args))
    sys.stdout.flush()


def main():
    args = parse_arguments()
    model = {
        "checkpoint": args.checkpoint,
        "backend": args.backend,
        "device": args.device,
        "precision": args.precision,
        "batch_size": args.batch_size,
        "threads": args.threads,
    }
    if args.input:
        label_files(args, model | {"threads": 1})  # several chunks at a time, with one each
        return
    classify = load_classifier(**model)
    sys.stdout.reconfigure(errors="replace")
    if args.texts:
        blocks = [args.texts]
    else:
        blocks = typed_lines() if sys.stdin.isatty() else arriving_lines(sys.stdin.fileno())
    number = 1
    try:
        for texts in blocks:
            show(texts, classify, args, number)
            number += len(texts)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    with one_line_errors():
        main()
