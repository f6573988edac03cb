"""The code blocks that a page marks for the tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_MARKED = re.compile(
    r"^<!-- (?P<kind>run|file: (?P<path>\S+)) -->\n+```python\n(?P<code>.*?)^```$", re.M | re.S
)
_MARK = re.compile(r"^<!-- (?:run|file:).*-->$", re.M)


def files_of(page: Path) -> dict[str, str]:
    """Path and content of every file that a page holds in full."""
    return {found["path"]: found["code"] for found in _found(page) if found["path"]}


def script_of(page: Path) -> str:
    """The page's blocks that must run, one after the other."""
    return "\n".join(found["code"] for found in _found(page) if found["kind"] == "run")


def _found(page: Path) -> list[re.Match[str]]:
    text = page.read_text()
    found = list(_MARKED.finditer(text))
    assert len(found) == len(_MARK.findall(text)), f"{page.name}: a mark stands before no python block"
    return found
