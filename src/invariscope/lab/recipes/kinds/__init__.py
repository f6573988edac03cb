"""The kinds of cells, one per file: adding a file adds a kind."""

from __future__ import annotations

from invariscope.lab.recipes.kinds.base import KINDS, CellContext, Kind

__all__ = ["KINDS", "CellContext", "Kind"]
