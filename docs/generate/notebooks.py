"""Create a page for each notebook in examples/, with its text and code, but without outputs."""

from __future__ import annotations

import json
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def pages() -> dict[str, str]:
    """Return the page of each notebook."""
    return {f"examples/{path.stem}.md": _page(path) for path in sorted(EXAMPLES.glob("*.ipynb"))}


def _page(path: Path) -> str:
    cells = json.loads(path.read_text())["cells"]
    title, *parts = [_cell(cell) for cell in cells]
    lead = f"This page is the notebook `examples/{path.name}` of the repository, without its outputs."
    title = title.replace("\n", f"\n\n{lead}\n", 1)
    return "\n\n".join([title, *parts, ""]).replace("](../docs/", "](../")


def _cell(cell: dict) -> str:
    text = "".join(cell["source"])
    return text if cell["cell_type"] == "markdown" else f"```python\n{text}\n```"
