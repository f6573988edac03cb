"""The code blocks that a page marks for the tests."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

_MARKED = re.compile(
    r"^<!-- (?:run(?:: (?P<where>\S+))?|file: (?P<path>\S+)) -->\n+```python\n(?P<code>.*?)^```$", re.M | re.S
)
_MARK = re.compile(r"^<!-- (?:run|file:).*-->$", re.M)


def files_of(page: Path) -> dict[str, str]:
    """Path and content of every file that a page holds in full."""
    return {found["path"]: found["code"] for found in _found(page) if found["path"]}


def script_of(page: Path, where: str | None = None) -> str:
    """The page's blocks that must run everywhere or in one of the other environments, one after the other."""
    blocks = [found for found in _found(page) if not found["path"]]
    return "\n".join(found["code"] for found in blocks if found["where"] in (None, where))


def _found(page: Path) -> list[re.Match[str]]:
    text = page.read_text()
    found = list(_MARKED.finditer(text))
    assert len(found) == len(_MARK.findall(text)), f"{page.name}: a mark stands before no python block"
    elsewhere = {f"tests_{block['where']}" for block in found if block["where"]}
    assert all((ROOT / name).is_dir() for name in elsewhere), f"{page.name}: not all of {elsewhere} exist"
    return found
