"""The numbers of tables and claims: values with intervals, computed from measured cells.

A quantity is a function decorated with `@quantity` in any file of this package; new files are found
automatically.
"""

from __future__ import annotations

import importlib
import pkgutil

from invariscope.lab.recipes.quantities.base import (
    QUANTITIES,
    Estimate,
    LeftOutError,
    NotFinishedError,
    NoValueError,
    Results,
    check,
    evaluate,
    quantity,
)
from invariscope.lab.recipes.quantities.nesting import nested

__all__ = [
    "QUANTITIES",
    "Estimate",
    "LeftOutError",
    "NoValueError",
    "NotFinishedError",
    "Results",
    "check",
    "evaluate",
    "nested",
    "quantity",
]

for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
