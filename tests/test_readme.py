"""No number in the documentation is typed by hand: its tables are printed from results/."""

import json
import re

import pytest
from conftest import ROOT

from metrics import quality
from tables import (
    RESULTS,
    benchmark_tables,
    comparison,
    compressed_table,
    load_compressed,
    load_published,
    load_raw_results,
    load_results,
    raw_table,
    report,
)


def tables(markdown):
    """All tables of a Markdown text, each as one string."""
    return re.findall(r"(?:^\|.*\n)+", markdown + "\n", flags=re.MULTILINE)


@pytest.fixture(scope="module")
def printed():
    """All tables that the scripts print of what is in results/."""
    results = load_results()
    texts = [comparison(results, load_published()), *map(report, results)]
    texts.append(comparison(load_results(RESULTS / "ablations")))
    texts.append(raw_table(load_raw_results(RESULTS / "raw")))
    texts += map(compressed_table, load_compressed())
    for path in (RESULTS / "benchmark").glob("*.json"):
        texts.append(benchmark_tables(json.loads(path.read_text("utf-8"))))
    return {table for text in texts for table in tables(text)}


@pytest.mark.parametrize("file", ["README.md", "results/README.md", "checkpoints/lstm/README.md"])
def test_every_table_is_printed_from_results(printed, file):
    found = tables((ROOT / file).read_text(encoding="utf-8"))
    assert found
    for table in found:
        assert table in printed, f"print it again:\n{table}"


def test_every_score_in_results_follows_from_its_predictions():
    for result in load_results():
        labels = [int(label) for label in result["labels"].split()]
        assert len(labels) == result["data"]["rows"]
        for run in result["runs"]:
            if "quality" in run:
                answers = [int(answer) for answer in run["predictions"].split()]
                found = quality(labels, answers, result["classes"])
                assert found["accuracy"] == pytest.approx(run["quality"]["accuracy"])
                assert found["macro_f1"] == pytest.approx(run["quality"]["macro_f1"])
                assert found["confusion"] == run["quality"]["confusion"]


def test_files_and_scripts_that_the_readme_names_are_there():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    scripts = re.findall(r"python (\w+\.py)", text)
    assert links and scripts
    for name in {*links, *scripts}:
        assert (ROOT / name).exists(), name
    assert len(text.splitlines()) < 250
