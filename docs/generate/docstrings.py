"""Reads docstrings as they stand in the code and hands them to the site as Markdown."""

from __future__ import annotations

from typing import Any

import griffe
from mathematics import markdown_of


class SiteDocstrings(griffe.Extension):
    """Formulas, cross-reference roles and doctests in the notation of the site."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Rewrites the docstring of whatever was found."""
        if obj.docstring is not None:
            obj.docstring.value = markdown_of(obj.docstring.value)
