"""The page's own scripts and styles, which are files in folders of this package."""

from __future__ import annotations

from functools import cache
from importlib import resources


@cache
def script() -> str:
    """Return the parts of the page's script, in the order of their names, as one strict function."""
    return f'"use strict";\n(() => {{\n{_joined("script", ".js")}}})();\n'


@cache
def style() -> str:
    """Return the styles of charts, tools and panels, which complement `style.css`."""
    return _joined("style", ".css")


def _joined(folder: str, suffix: str) -> str:
    files = (resources.files("invariscope.report") / folder).iterdir()
    parts = sorted((file for file in files if file.name.endswith(suffix)), key=lambda file: file.name)
    return "\n".join(part.read_text(encoding="utf-8") for part in parts)
