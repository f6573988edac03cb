"""Figures whose files contain text as text."""

from __future__ import annotations

import io
from typing import Any

import matplotlib
from matplotlib.figure import Figure

# Text remains text in SVG files, and fonts are embedded as TrueType in PDF and PostScript files.
_FONTS: Any = {"svg.fonttype": "none", "pdf.fonttype": 42, "ps.fonttype": 42}


class ReadableFigure(Figure):
    """A matplotlib figure that notebooks display, and whose files contain text that can be searched."""

    def savefig(self, *args: Any, **kwargs: Any) -> None:
        """Save the figure like any other, with text as text."""
        with matplotlib.rc_context(_FONTS):
            super().savefig(*args, **kwargs)

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.savefig(buffer, format="png", dpi=self.dpi, facecolor=self.get_facecolor())
        return buffer.getvalue()
