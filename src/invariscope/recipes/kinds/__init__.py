"""The kinds of cells, one file each: a new one is a new file."""

from __future__ import annotations

from invariscope.recipes.kinds.base import KINDS, Kind, Workshop

__all__ = ["KINDS", "Kind", "Workshop"]
