"""The notebook runs on the sample, and is committed as it ran on the corpus."""

from base64 import b64decode

import nbformat
from conftest import ROOT
from nbclient import NotebookClient

NOTEBOOK = ROOT / "EmotionsClassification_EDA.ipynb"


def test_the_whole_notebook_runs_on_the_sample(monkeypatch):
    monkeypatch.setenv("DATASET", "sample")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(ROOT)}}).execute()


def test_it_is_committed_with_its_outputs_in_order():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    assert all(output.output_type != "error" for cell in code for output in cell.outputs)
    assert "16,000" in str(code[0].outputs), "it was not run on the real corpus"
    assert NOTEBOOK.stat().st_size < 2_000_000
    assert "shared/data" not in NOTEBOOK.read_text()


def test_the_readmes_pictures_are_the_notebooks():
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    pictures = {b64decode(output.data["image/png"]) for output in outputs
                if "image/png" in output.get("data", {})}  # fmt: skip
    for name in ("tsne.png", "errors.png"):
        assert (ROOT / "results" / name).read_bytes() in pictures
