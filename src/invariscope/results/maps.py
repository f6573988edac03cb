"""Per-unit values of a result, for all units of a layer or for a random draw of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.common.cards import MOST_ROWS, Card, Table
from invariscope.common.symbols import full_name
from invariscope.common.wording import listed
from invariscope.unit_draw import UnitDraw

MapKey = tuple[str, str, str, int]


@dataclass(frozen=True, eq=False)
class DrawnMap:
    """Per-unit values of a large layer, of which only some units were drawn.

    Args:
        values: (drawn,) one per drawn unit.
        draw: which units were drawn.
    """

    values: np.ndarray
    draw: UnitDraw

    def whole(self) -> np.ndarray:
        """Return the values in the shape of the layer, with NaN for units that were not drawn."""
        return self.draw.in_layer(self.values)


class Maps(Mapping[MapKey, np.ndarray]):
    """Arrays of per-unit values, each in the shape of its layer.

    Keys are `(measure, layer, stratum, call)`. The last two default to `"all"` and `0`, so the usual look-up
    is `maps["normalized_variance", "conv1"]`. NaN marks a dead unit or one that was not drawn; infinity
    marks a unit that responds to the transformation, but not to a change of sample.
    """

    def __init__(self, arrays: Mapping[MapKey, np.ndarray | DrawnMap]) -> None:
        self._arrays = dict(arrays)

    def __repr__(self) -> str:
        """Return one line with the numbers of maps, measures and layers."""
        measures, layers = {key[0] for key in self._arrays}, {(key[1], key[3]) for key in self._arrays}
        counts = f"{len(self)} maps of {len(measures)} measures in {len(layers)} layers"
        return f"<Maps: {counts}; maps[measure, layer]>"

    def _repr_html_(self) -> str:
        strata: dict[tuple[str, str, int], list[str]] = {}
        for measure, layer, stratum, call in self._arrays:
            strata.setdefault((measure, layer, call), []).append(stratum)
        rows = [
            (
                m,
                f"{layer}, call {call}" if call else layer,
                self._shape((m, layer, own[0], call)),
                listed(own),
            )
            for (m, layer, call), own in list(strata.items())[:MOST_ROWS]
        ]
        columns = [("measure", "name"), ("layer", "name"), ("shape", "name"), ("strata", "words")]
        shown = f"{len(rows)} of " if len(rows) < len(strata) else ""
        table = Table(f"{shown}{len(strata)} pairs of measure and layer", columns, rows)
        keys = "`maps[measure, layer]`, `maps[measure, layer, stratum, call]`"
        return Card(f"{len(self)} maps of single units", table=table, remarks=[f"{keys}."]).html()

    def _shape(self, key: MapKey) -> str:
        found = self._arrays[key]
        if isinstance(found, DrawnMap):
            return f"{_shaped(found.draw.shape)}, {len(found.values):,} units drawn"
        return _shaped(found.shape)

    def __getitem__(self, key: tuple) -> np.ndarray:
        full = self._full(key)
        if full not in self._arrays:
            raise KeyError(self._missing(full))
        found = self._arrays[full]
        return found.whole() if isinstance(found, DrawnMap) else found

    def __contains__(self, key: object) -> bool:
        return self._full(key) in self._arrays

    def __iter__(self) -> Iterator[MapKey]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def _full(self, key: Any) -> Any:
        if not isinstance(key, tuple) or not key or not isinstance(key[0], str):
            return key
        return (full_name(key[0]), *key[1:], *("all", 0)[len(key) - 2 :])

    def _missing(self, key: object) -> str:
        measures = sorted({name for name, *_ in self._arrays})
        layers = list(dict.fromkeys(layer for _, layer, *_ in self._arrays))
        keys = "(measure, layer[, stratum[, call]])"
        return f"no map {key!r}. Keys are {keys}; measures: {measures}; layers: {layers}"


def _shaped(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape)) or "one number"
