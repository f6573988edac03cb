"""The numbers that tables and claims name: each a value with its interval, from measured cells.

A quantity is a function under `@quantity` in any file of this package; a new file is found by itself.
"""

from __future__ import annotations

import importlib
import pkgutil

from invariscope.lab.recipes.quantities.base import (
    QUANTITIES,
    Estimate,
    NotFinishedError,
    NoValueError,
    Results,
    check,
    quantity,
    worked_out,
)
from invariscope.lab.recipes.quantities.nesting import nested

__all__ = [
    "QUANTITIES",
    "Estimate",
    "NoValueError",
    "NotFinishedError",
    "Results",
    "check",
    "nested",
    "quantity",
    "worked_out",
]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
