"""How long unfinished cells will take, from rehearsals of a few seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

from invariscope.lab.recipes.cells import Cell
from invariscope.lab.recipes.store import Store

# Starting Python, loading torch and the data, compiling, writing.
START_SECONDS = 5.0


def estimated(
    store: Store, cells: Sequence[Cell], *, threads: int, log: Callable[[str], None]
) -> dict[str, float]:
    """Seconds by cell, with that many threads each; a rehearsal stands for all cells that are alike.

    NaN for cells whose rehearsal fails.
    """
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    options, known, found = store.plan.options(), dict[Any, float](), {}
    try:
        for cell in cells:
            alike, pieces = cell.options.cost_units(options)
            if alike not in known:
                log(f"rehearsing {' '.join(part for part in alike if part)[:90]}")
                known[alike] = _rehearsed(cell, store, log)
            found[cell.name] = START_SECONDS + known[alike] * pieces
    finally:
        torch.set_num_threads(before)
    return found


def _rehearsed(cell: Cell, store: Store, log: Callable[[str], None]) -> float:
    """Seconds a piece; NaN where the rehearsal fails, as the cell itself then would."""
    try:
        return cell.options.time_one_unit(store.plan.options(), store.data_dir)
    except ValueError as error:
        log(f"{cell.name} cannot be rehearsed: {error}")
        return math.nan
