"""Results on disk, and the Markdown tables that are printed from them."""

import itertools
import json
import math
import re
import statistics
from pathlib import Path

import numpy as np
from tabulate import tabulate

from errors import InputError, replacing
from metrics import SCORES, mcnemar, paired_bootstrap

RESULTS = Path(__file__).parent / "results"
PUBLISHED = "published.json"  # what others report of their models


def start_result(name, kind, parameters, trained_on, corpus, split):
    """What a result says of the model and the data, before its `runs` are measured."""
    return {
        "name": name,
        "kind": kind,
        "parameters": parameters,
        "trained_on": trained_on,
        "data": describe_data(corpus, split),
        "classes": corpus.classes,
        "labels": " ".join(map(str, corpus.splits[split].labels)),
        "runs": [],
    }


def describe_data(corpus, split):
    """What a result says of the texts that it was measured on."""
    return {"name": corpus.name, "split": split, **corpus.provenance["splits"][split]}


def save_result(result, folder=RESULTS):
    """Write `<name>.json`, from which every table can be printed again; return its path."""
    path = Path(folder) / f"{result['name']}.json"
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return path


def load_result(path):
    """Read what `save_result` wrote. Raises InputError if it is something else."""
    try:
        result = json.loads(Path(path).read_text("utf-8"))
        report(result)  # what cannot be printed is none
    except (ValueError, TypeError, LookupError) as error:
        raise InputError(f"{path}: not a result that test.py wrote: {error!r}") from None
    return result


def load_results(folder=RESULTS):
    """Read all results in a folder, in the order of their names."""
    paths = [path for path in sorted(Path(folder).glob("*.json")) if path.name != PUBLISHED]
    if not paths:
        raise InputError(f"{folder}: no results; python test.py writes them")
    return [load_result(path) for path in paths]


def load_published(folder=RESULTS):
    """Read what others published of their models, and on which data; None if nothing is there."""
    path = Path(folder) / PUBLISHED
    try:
        return json.loads(path.read_text("utf-8")) if path.exists() else None
    except ValueError as error:
        raise InputError(f"{path}: {error}") from None


def markdown(rows, headers, numbers_from=1):
    """A Markdown table; columns from `numbers_from` on are aligned right."""
    align = ["left" if i < numbers_from else "right" for i in range(len(headers))]
    return tabulate(rows, headers, tablefmt="pipe", colalign=align, disable_numparse=True)


def run_name(run):
    """ "CPU fp32", "CPU int8, ONNX Runtime" and the like."""
    backend = f", {run['backend']}" if "backend" in run else ""
    return f"{run['device'].upper()} {run['precision']}{backend}"


def class_table(run):
    """Precision, recall, F1 and support by class."""
    rows = [
        [name, f"{c['precision']:.3f}", f"{c['recall']:.3f}", f"{c['f1']:.3f}", c["support"]]
        for name, c in run["quality"]["per_class"].items()
    ]
    return markdown(rows, ["class", "Precision", "Recall", "F1-score", "Support"])


def confusion_table(run):
    """Counts, one row a true class, one column a predicted class."""
    classes = list(run["quality"]["per_class"])
    rows = [[name, *row] for name, row in zip(classes, run["quality"]["confusion"], strict=True)]
    return markdown(rows, ["true \\ predicted", *classes])


def quality_table(runs):
    """Scores with their 95 % bootstrap intervals, one row a device and precision."""
    rows = []
    for run in runs:
        row = [run_name(run)]
        for score in SCORES:
            low, high = run["quality"]["interval"][score]
            row.append(f"{run['quality'][score]:.4f} [{low:.3f}, {high:.3f}]")
        rows.append(row)
    return markdown(rows, ["", *SCORES.values()])


def speed_headers(runs):
    """Headers above `speed_rows`."""
    batch = f"ms / batch of {runs[0]['speed']['batch_size']}"
    return ["", batch, f"{batch}, with tokenization", "tweets / s", "Size on disk"]


def speed_rows(runs):
    """Time and size, one row a device and precision."""
    return [
        [
            run_name(run),
            f"{run['speed']['model_ms']:.2f}",
            f"{run['speed']['end_to_end_ms']:.2f}",
            f"{run['speed']['texts_per_second']:,.0f}",
            f"{run['bytes'] / 1e6:.2f} MB",
        ]
        for run in runs
    ]


def beside_table(result):
    """A model's times against those of a small one, taken in the same process on the same texts."""
    beside = result["beside"]
    fast = {run["device"]: run for run in beside["runs"]}
    rows = []
    for run in result["runs"]:
        slow_ms = run["speed"]["model_ms"]
        fast_ms = fast[run["device"]]["speed"]["model_ms"]
        ratio = f"{slow_ms / fast_ms:.1f}"
        rows.append([run_name(run), f"{slow_ms:.2f}", f"{fast_ms:.2f}", ratio])
    return markdown(rows, ["", result["name"], f"{beside['name']}, fp32", "ratio"])


def report(result):
    """All tables of one model as Markdown."""
    data, runs = result["data"], result["runs"]
    first = runs[0]
    speed = first["speed"]
    parts = [f"## {result['name']}: {result['parameters']:,} parameters, on {data_title(data)}"]
    if "quality" in first:
        parts += [
            f"By class ({run_name(first)}):",
            class_table(first),
            f"Confusion matrix ({run_name(first)}):",
            confusion_table(first),
            "Quality, with 95 % bootstrap intervals:",
            quality_table(runs),
        ]
    if "calibration" in first:
        calibration = first["calibration"]
        parts.append(
            f"Expected calibration error ({run_name(first)}): {calibration['before']:.4f}, and "
            f"{calibration['after']:.4f} with the temperature of {calibration['temperature']:.2f} "
            "that was fitted on validation."
        )
    parts += [
        f"Speed (median of {speed['repeats']} batches; texts of {speed['words'][0]} to "
        f"{speed['words'][2]} words, median {speed['words'][1]}; tweets / s with tokenization; "
        f"{'; '.join(dict.fromkeys(run['hardware'] for run in runs))}) and size:",
        markdown(speed_rows(runs), speed_headers(runs)),
    ]
    if "beside" in result:
        batch = f"a batch of {speed['batch_size']}"
        parts += [
            f"Milliseconds for {batch}, the model alone, beside {result['beside']['name']} in the "
            "same process:",
            beside_table(result),
        ]
    return "\n\n".join(parts)


def data_title(data):
    """ "emotion (test, 2,000 rows, 3b04e186c55e437b)" and the like."""
    return f"{data['name']} ({data['split']}, {data['rows']:,} rows, {data['fingerprint']})"


def by_recipe(results):
    """Group results whose names are equal but for `-seed<number>`: {name: [result]}."""
    recipes = {}
    for result in results:
        recipes.setdefault(re.sub(r"-seed\d+$", "", result["name"]), []).append(result)
    return recipes


def summary_table(results, published=()):
    """One row a recipe: mean ± standard deviation over the runs that differ in seed only.

    Args:
        results: list of results on the same data.
        published: list of dicts, others' figures for the same data, marked as such.
    """
    rows = []
    for model in published:
        values = [f"{model[score]:.4f}" if score in model else "–" for score in SCORES]
        size = f"{model['bytes'] / 1e6:.1f} MB" if "bytes" in model else "–"
        rows.append([model["name"], "published", *values, size])
    for name, members in by_recipe(results).items():
        if "quality" not in members[0]["runs"][0]:
            continue
        row = [name, len(members)]
        for score in SCORES:
            values = [member["runs"][0]["quality"][score] for member in members]
            spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
            row.append(f"{statistics.fmean(values):.4f}{spread}")
        size = statistics.fmean(member["runs"][0]["bytes"] for member in members)
        rows.append([*row, f"{size / 1e6:.1f} MB"])
    return markdown(rows, ["Model", "Seeds", *SCORES.values(), "Size"])


def speeds_table(measured):
    """One row a (recipe's name, result, run), all timed on the same hardware."""
    rows = []
    for name, result, run in measured:
        row = speed_rows([run])[0]
        rows.append([f"{name}, {row[0]}", f"{result['parameters']:,}", *row[1:]])
    headers = speed_headers([measured[0][2]])
    return markdown(rows, ["Model", "Parameters", *headers[1:]])


def paired_table(results):
    """One row a pair of models: is one better than the other on the same rows, or is it noise?

    Args:
        results: {name: result with quality}, on the same data.
    """
    rows = []
    for (name, first), (other_name, second) in itertools.combinations(results.items(), 2):
        labels, answers, other_answers = (
            np.array(numbers.split(), dtype=int)
            for numbers in (
                first["labels"],
                first["runs"][0]["predictions"],
                second["runs"][0]["predictions"],
            )
        )
        accuracy, f1 = (
            first["runs"][0]["quality"][score] - second["runs"][0]["quality"][score]
            for score in ("accuracy", "macro_f1")
        )
        classes = len(first["classes"])
        low, high, p = paired_bootstrap(labels, answers, other_answers, classes)
        rows.append(
            [
                f"{name} less {other_name}",
                f"{accuracy:+.4f}",
                f"{mcnemar(labels, answers, other_answers):.3g}",
                f"{f1:+.4f} [{low:+.3f}, {high:+.3f}]",
                f"{p:.3g}",
            ]
        )
    return markdown(rows, ["", "Accuracy", "McNemar's p", "macro-F1", "bootstrap p"])


def comparison(results, published=None):
    """Results side by side as Markdown, one section a data set: rows of two never mix.

    Where a recipe has several seeds, the first stands for it in the timings and paired tests.
    """
    sections = {}
    for result in results:
        sections.setdefault(data_title(result["data"]), []).append(result)
    parts = []
    for title, members in sections.items():
        same = published and published["fingerprint"] == members[0]["data"]["fingerprint"]
        firsts = {name: group[0] for name, group in by_recipe(members).items()}
        judged = {name: first for name, first in firsts.items() if "quality" in first["runs"][0]}
        parts += [
            f"## {title}",
            "Quality, mean ± standard deviation over seeds:",
            summary_table(members, published["models"] if same else ()),
        ]
        machines = {}
        for name, first in firsts.items():
            for run in first["runs"]:
                machines.setdefault(run["hardware"], []).append((name, first, run))
        for machine, measured in machines.items():
            parts += [f"Speed and size, {machine}:", speeds_table(measured)]
        if len(judged) > 1:
            parts += [
                "Differences on the same rows (McNemar's exact test of the accuracy, paired "
                "bootstrap of the macro-F1 with its 95 % interval):",
                paired_table(judged),
            ]
    return "\n\n".join(parts)


def load_raw_results(folder):
    """Read all that test_raw.py wrote into a folder, in the order of the names."""
    paths = sorted(Path(folder).glob("*.json"))
    if not paths:
        raise InputError(f"{folder}: no results; python test_raw.py writes them")
    results = []
    for path in paths:
        try:
            results.append(json.loads(path.read_text("utf-8")))
            raw_table(results[-1:])
        except (ValueError, TypeError, LookupError) as error:
            raise InputError(f"{path}: not a result of test_raw.py: {error!r}") from None
    return results


def raw_table(results):
    """One row a recipe: quality on texts as they are and re-typed, and agreement with teachers."""
    columns = {"as_it_is": "as it is", "retyped": "re-typed", "agreement": "agreement"}
    parts = {}
    for result in results:
        teachers = " and ".join(result.get("agreement", {}).get("teachers", ["nobody"]))
        title = f"{data_title(result['data'])}; agreement is with {teachers}"
        parts.setdefault(title, []).append(result)
    texts = []
    for title, members in parts.items():
        rows = []
        for name, group in by_recipe(members).items():
            row = [name, len(group)]
            for key, score in itertools.product(columns, ("accuracy", "macro_f1")):
                values = [result[key][score] for result in group if key in result]
                spread = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
                row.append(f"{statistics.fmean(values):.3f}{spread}" if values else "–")
            rows.append(row)
        headers = [f"{SCORES[s]}, {c}" for c in columns.values() for s in ("accuracy", "macro_f1")]
        texts += [title, markdown(rows, ["Model", "Seeds", *headers])]
    return "\n\n".join(texts)


def load_compressed(folder=RESULTS / "compressed"):
    """Read all that compress.py wrote into a folder, in the order of the names."""
    return [json.loads(path.read_text("utf-8")) for path in sorted(folder.glob("*.json"))]


def compressed_table(result):
    """One row a variant of a model that compress.py measured, all in one run on the same texts."""
    rows = [
        [
            row["name"],
            f"{row['bytes'] / 1e6:.2f} MB",
            f"{row['accuracy']:.4f}",
            f"{row['macro_f1']:.4f}",
            f"{100 * row['agreement']:.2f} %",
            f"{row['ms_32']:.2f}",
            f"{row['ms_1']:.3f}",
        ]
        for row in result["rows"]
    ]
    headers = [
        "",
        "Size on disk",
        "Accuracy",
        "macro-F1",
        "Agreement",
        "ms / batch of 32",
        "ms / text",
    ]
    title = f"{data_title(result['data'])}; {result['hardware']}"
    return f"{title}\n\n{markdown(rows, headers)}"


def benchmark_tables(result):
    """The tables of any result of benchmark.py."""
    kinds = {"memory": files_tables, "loops": training_table, "scaling": scaling_table}
    printed = next((kind for key, kind in kinds.items() if key in result), inference_tables)
    return printed(result)


def inference_tables(result):
    """One table a thread count, of what benchmark.py timed; ratios are for batches of 32."""
    low, middle, high = result["words"]
    texts = [
        f"{data_title(result['data'])}; median of {result['rounds']} batches; texts of {low} to "
        f"{high} words, median {middle}"
    ]
    for run in result["runs"]:
        by_name = {row["name"]: row["ms"].get("32") for row in run["rows"]}
        reference = next((ms for name, ms in by_name.items() if "reference" in name), None)
        slowest = max((ms for ms in by_name.values() if ms), default=None)
        rows = []
        for row in run["rows"]:
            ms = row["ms"].get("32")
            cells = [f"{row['ms'][size]:.2f}" if row["ms"] else "–" for size in ("1", "32", "256")]
            cells += [f"{other / ms:,.1f}" if ms else "–" for other in (reference, slowest)]
            share, rate = row.get("share_of_peak"), row.get("texts_per_second")
            cells.append(f"{100 * share:.0f} %" if share else "–")
            cells.append(f"{rate:,.0f}" if rate else "–")
            rows.append([row["name"], *cells])
        headers = ["", "ms / text", "ms / 32", "ms / 256", "× reference", "× slowest", "of peak"]
        texts += [
            f"{run['hardware']}; peak of the matrix product {run['peak_gflops']:.0f} GFLOP/s:",
            markdown(rows, [*headers, "tweets / s from raw text"]),
        ]
    return "\n\n".join(texts)


def files_tables(result):
    """What benchmark.py --files measured: rows a second, peak memory, and Ray's scaling."""
    texts = [
        f"{data_title(result['data'])}, resampled; a CSV file of {result['bytes'] / 1e6:.1f} MB to "
        f"Parquet; median of {result['rounds']} runs"
    ]
    for run in result["runs"]:
        rows = []
        for row in run["rows"]:
            rate, bare = row["rows_per_second"], row["model_rows_per_second"]
            alone = [f"{bare:,.0f}", f"{100 * rate / bare:.0f} %"] if bare else ["–", "–"]
            rows.append([row["name"], f"{row['rows']:,}", f"{rate:,.0f}", *alone])
        headers = ["", "Rows", "rows / s, end to end", "rows / s, the model alone", "share"]
        texts += [f"{run['hardware']}:", markdown(rows, headers)]
    rows = [
        [f"{row['rows']:,}", f"{row['seconds']:.1f}", f"{row['peak_bytes'] / 1e6:,.0f} MB"]
        for row in result["memory"]
    ]
    texts += [
        f"python predict.py with {result['checkpoint']}, one process from start to end:",
        markdown(rows, ["Rows", "seconds", "peak memory"], numbers_from=0),
    ]
    if "ray" in result:
        alone = result["ray"][0]["rows_per_second"]
        rows = [
            [
                str(row["workers"]),
                f"{row['rows_per_second']:,.0f}",
                f"{row['rows_per_second'] / alone:.2f}",
                f"{row['seconds']:.1f}",
            ]
            for row in result["ray"]
        ]
        headers = ["Ray's workers", "rows / s at work", "× one", "seconds with Ray's start"]
        texts.append(markdown(rows, headers, numbers_from=0))
    return "\n\n".join(texts)


def training_table(result):
    """What benchmark.py --train timed: the loops side by side."""
    rates, times = {}, {}
    for loop in result["loops"]:
        seconds = [second for run in loop["runs"] for second in run["epochs"]]
        rates[loop["name"]] = loop["rows"] / statistics.median(seconds)
        # A run that never got there took longer than any that did.
        reached = [run["seconds"] or math.inf for run in loop["runs"]]
        times[loop["name"]] = statistics.median(reached)
    rows = []
    for loop in result["loops"]:
        name, runs = loop["name"], loop["runs"]
        got_there = math.isfinite(times[name])
        ratio = times["reference"] / times[name] if got_there else math.nan
        rows.append(
            [
                name,
                f"{rates[name]:,.0f}",
                f"{rates[name] / rates['reference']:.1f}",
                f"{times[name]:.1f}" if got_there else "not reached",
                f"{ratio:.1f}" if math.isfinite(ratio) else "–",
                " ".join(str(run["reached"] or "–") for run in runs),
            ]
        )
    headers = ["", "tweets / s", "× reference", f"s to {result['target']}", "× reference"]
    return (
        f"{data_title(result['data'])}; {result['hardware']}; medians over "
        f"{len(result['loops'][0]['runs'])} seeds, epochs with their validation, seconds to a "
        f"validation macro-F1 of {result['target']}. A GPU was not measured: none was at hand.\n\n"
        + markdown(rows, [*headers, "epochs to it, by seed"])
    )


def scaling_table(result):
    """What benchmark.py --scale timed: an epoch of each size."""
    rows = [
        [
            f"{row['rows']:,}",
            f"{row['seconds']:.1f}",
            f"{row['rows'] / row['seconds']:,.0f}",
            f"{row['process_seconds']:.1f}",
            f"{row['peak_bytes'] / 1e6:,.0f} MB",
        ]
        for row in result["scaling"]
    ]
    return (
        f"{data_title(result['data'])}; {result['hardware']}; one epoch of train.py on texts drawn "
        "with replacement, in a process of its own:\n\n"
        + markdown(rows, ["rows", "s / epoch", "tweets / s", "s in all", "peak memory"])
    )
