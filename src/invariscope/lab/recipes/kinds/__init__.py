"""The kinds of cells, one file each: a new kind is a new file."""

from __future__ import annotations

from invariscope.lab.recipes.kinds.base import KINDS, CellContext, Kind

__all__ = ["KINDS", "CellContext", "Kind"]
