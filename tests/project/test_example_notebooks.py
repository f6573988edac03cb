"""The notebooks in examples/ run as they are, and are committed without outputs."""

from __future__ import annotations

import pytest
from marked_pages import ROOT

nbformat = pytest.importorskip("nbformat")
pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

from notebook_runs import execute  # noqa: E402

NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
# What a run must show, to notice cells that run but no longer find anything.
FOUND = {
    "images": ["equivariant (10 layers): holds", "layer 'conv2' (TurnedConv) is the first"],
    "text": ["bag of words"],
    "points": ["invariant (1 layer): holds"],
}


def test_every_notebook_is_listed():
    assert [path.stem for path in NOTEBOOKS] == sorted(FOUND)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_is_committed_without_outputs(path):
    for cell in nbformat.read(path, 4).cells:
        assert cell.get("outputs", []) == []
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_and_draws_figures_without_warnings(path, tmp_path):
    notebook = nbformat.read(path, 4)
    execute(notebook, tmp_path)
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    assert [output["text"] for output in outputs if output.get("name") == "stderr"] == []
    assert any("image/png" in output.get("data", {}) for output in outputs)
    texts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in outputs]
    for said in FOUND[path.stem]:
        assert any(said in text for text in texts)
