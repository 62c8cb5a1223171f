"""Draw macro-F1 against size on disk, of everything in results/, as results/size.png.

python plot.py
"""

import argparse
import json
import statistics

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

from errors import one_line_errors, replacing
from tables import RESULTS, by_recipe, load_compressed, load_published, load_results

COLOURS = {
    "trained here": "#0072B2",
    "compressed": "#D55E00",
    "published": "#666666",
    "fastText": "#009E73",
}
MARKERS = dict(zip(COLOURS, "osD^", strict=True))


def points():
    """Yield (kind, name, megabytes, macro-F1) of every model measured on the same test rows."""
    published = load_published()
    for name, group in by_recipe(load_results()).items():
        same = group[0]["data"]["fingerprint"] == published["fingerprint"]
        if same and not name.startswith("shipped") and "quality" in group[0]["runs"][0]:
            f1 = statistics.fmean(one["runs"][0]["quality"]["macro_f1"] for one in group)
            yield "trained here", name, group[0]["runs"][0]["bytes"] / 1e6, f1
    for result in load_compressed():
        for row in result["rows"][1:]:
            # Formats that change nothing but the file; the tiny model is there as a mean of seeds.
            if not row["name"].endswith(("-fp32", "-onnx", "-onnx-int8", "-tiny")):
                yield "compressed", row["name"], row["bytes"] / 1e6, row["macro_f1"]
    for model in published["models"]:
        if "bytes" in model:
            yield "published", model["name"].split(",")[0], model["bytes"] / 1e6, model["macro_f1"]
    benchmark = RESULTS / "benchmark" / "inference.json"
    if benchmark.exists():
        for row in json.loads(benchmark.read_text("utf-8"))["runs"][0]["rows"]:
            for small in row.get("quantised", []):
                yield "fastText", "fastText, quantised", small["bytes"] / 1e6, small["macro_f1"]


def main():
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    figure, axes = plt.subplots(figsize=(9, 4.5))
    drawn = {}
    for kind, name, megabytes, f1 in points():
        style = {"c": COLOURS[kind], "marker": MARKERS[kind], "zorder": 3}
        drawn[kind] = axes.scatter(megabytes, f1, 45, **style)
        # What is near each other is of different kinds, and has its name on different sides.
        place = {"xytext": (7, 0), "va": "center"}
        if kind == "compressed":
            place = {"xytext": (0, -13), "ha": "center"}
        elif kind == "trained here" and megabytes < 1:
            place = {"xytext": (-7, 0), "va": "center", "ha": "right"}
        axes.annotate(name, (megabytes, f1), textcoords="offset points", fontsize=8, **place)
    axes.set_xscale("log")
    axes.set_xlabel("size on disk, MB (log): everything that inference needs")
    axes.set_ylabel("macro-F1 on the test split")
    axes.grid(alpha=0.3)
    axes.margins(x=0.12, y=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(drawn.values(), drawn, loc="lower right", frameon=False)
    figure.tight_layout()
    with replacing(RESULTS / "size.png") as temporary:
        figure.savefig(temporary, dpi=110)


if __name__ == "__main__":
    with one_line_errors():
        main()
