"""Curves over epochs in the terminal: a row for each layer, a column for each of some epochs."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from invariscope.cli.tables import Fixed, plain_table
from invariscope.plots.shared.labels import headline_first, layer_label, measure_title

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

    from invariscope.monitor.history import History

MOST_COLUMNS = 8


def curve_tables(history: History) -> Iterator[Table]:
    """One table for each measure, of the values over all samples."""
    rows = history.table.query("stratum == 'all'")
    for measure in headline_first(rows["measure"]):
        yield _curves(rows.query("measure == @measure"), measure)


def _curves(rows: pd.DataFrame, measure: str) -> Table:
    epochs = spread(sorted(set(rows["epoch"])))
    places = zip(rows["layer"], rows["call"], rows["epoch"], strict=True)
    values = dict(zip(places, rows["value"], strict=True))
    layers = list(dict.fromkeys((layer, call) for layer, call, _ in values))
    fixed = Fixed.of(rows["value"])
    cells = [
        [layer_label(*layer), *(fixed(values.get((*layer, epoch), math.nan)) for epoch in epochs)]
        for layer in layers
    ]
    return plain_table(f"{measure_title(measure)} over epochs", ["layer", *map(str, epochs)], cells)


def spread(epochs: Sequence[int], *, most: int = MOST_COLUMNS) -> list[int]:
    """All epochs, or so many of them, evenly from the first to the last.

    >>> spread(range(100), most=4)
    [0, 33, 66, 99]
    """
    if len(epochs) <= most:
        return list(epochs)
    return [epochs[place] for place in np.linspace(0, len(epochs) - 1, most).round().astype(int)]


def overhead_text(history: History) -> str:
    """How much longer the training took."""
    times = history.times
    measured = times["measured"].sum()
    seconds = f"{times['measuring_seconds'].sum():.1f} s for {measured} measurements"
    if not math.isfinite(history.overhead):
        return f"measuring took {seconds}"
    return f"measuring took {history.overhead:.1%} of the training's time ({seconds})"
