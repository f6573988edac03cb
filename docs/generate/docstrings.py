"""Convert docstrings to Markdown for the site."""

from __future__ import annotations

from typing import Any

import griffe
from mathematics import markdown_of


class SiteDocstrings(griffe.Extension):
    """Griffe extension that converts formulas, roles and doctests to the site's notation."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Convert the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown_of(obj.docstring.value)
