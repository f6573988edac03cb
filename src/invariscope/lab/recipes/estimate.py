"""Estimates of how long cells take, from timing a small part of each."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from invariscope.lab.recipes.cells import Cell
from invariscope.lab.recipes.store import Store

# Seconds to start Python, load torch and the data, compile, and write the files.
START_SECONDS = 5.0


def estimated(
    store: Store, cells: Sequence[Cell], *, threads: int, log: Callable[[str], None]
) -> dict[str, float]:
    """Return the estimated seconds of each cell, by name; NaN for cells that cannot be timed.

    Cells with the same cost per unit of work are timed once.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    options, known, found = store.plan.options(), dict[Any, float](), {}
    try:
        for cell in cells:
            alike, units = cell.options.cost_units(options)
            if alike not in known:
                log(f"timing {' '.join(part for part in alike if part)[:90]}")
                known[alike] = _unit_seconds(cell, store, log)
            found[cell.name] = START_SECONDS + known[alike] * units
    finally:
        torch.set_num_threads(before)
    return found


def _unit_seconds(cell: Cell, store: Store, log: Callable[[str], None]) -> float:
    """Return seconds per unit of work; NaN if timing fails, since the cell itself would then fail too."""
    try:
        return cell.options.time_one_unit(store.plan.options(), store.data_dir)
    except ValueError as error:
        log(f"{cell.name} cannot be timed: {error}")
        return math.nan
