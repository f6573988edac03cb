"""What pages are made of: their own scripts and styles, colours, and templates that escape all names."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from dataclasses import asdict
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from invariscope.plots.shared.theme import Theme


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


def sources(scripts: Iterable[str]) -> str:
    """Return the digests of scripts, in the form that a content security policy takes."""
    digests = (hashlib.sha256(text.encode()).digest() for text in scripts)
    return " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)


def variables(theme: Theme) -> str:
    """Return the colours of a theme as CSS custom properties."""
    colours = {
        name: value for name, value in asdict(theme).items() if isinstance(value, str) and name != "name"
    }
    colours |= {f"series-{i}": value for i, value in enumerate(theme.series)}
    return " ".join(f"--{name}: {value};" for name, value in colours.items())


def environment() -> Any:
    """Return an environment for templates, in which all values are escaped and none may be missing."""
    from jinja2 import Environment, StrictUndefined

    return Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
