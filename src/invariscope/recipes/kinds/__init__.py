"""The kinds of cells, one file each."""

from __future__ import annotations

from invariscope.recipes.kinds.base import Kind, Workshop
from invariscope.recipes.kinds.measure import Measure
from invariscope.recipes.kinds.train import Train

KINDS: dict[str, type[Kind]] = {"train": Train, "measure": Measure}

__all__ = ["KINDS", "Kind", "Workshop"]
