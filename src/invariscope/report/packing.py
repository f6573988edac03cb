"""The page's data in a compact form: deflated, in base64, and unpacked by its script when needed."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from invariscope.plots.shared import labels as names
from invariscope.plots.shared.cells import cells, layer_maps, shared_range
from invariscope.plots.shared.theme import palette
from invariscope.report.figures import Charts
from invariscope.report.tables import Table
from invariscope.results.result import Result

_KINDS = {"u1": "u8", "u2": "u16", "u4": "u32", "f4": "f32"}
# Larger tables keep five significant digits of each number, as they show at most as many.
_LARGE, _DROPPED_BITS = 50_000, 7
# Cells per layer in the panel of a layer; fewer for deep networks.
_CELLS, _MOST_CELLS = 512, 32_768


def packed(charts: Charts, tables: Mapping[str, Table | None], results: Sequence[Result]) -> dict[str, Any]:
    """Return the page's payload.

    Args:
        charts: the interactive charts.
        tables: by name.
        results: the results, whose units the panel of a layer shows.
    """
    return {
        "charts": {target: packed_json(chart) for target, chart in charts.items.items()},
        "depths": {target: list(counts) for target, counts in charts.depths.items()},
        "tables": {name: table and _table(table) for name, table in tables.items()},
        "units": _units(results),
        "palette": list(palette()),
    }


def packed_bytes(content: bytes) -> str:
    """Deflate bytes and encode them in base64."""
    return base64.b64encode(zlib.compress(content, 6)).decode()


def packed_json(value: Any) -> str:
    """Return a value as packed JSON."""
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return packed_bytes(text.encode())


def packed_numbers(values: np.ndarray) -> dict[str, str]:
    """Return numbers by bytes: all first ones, then all second ones, and so on, which deflates better."""
    kind = values.dtype.str[1:]
    content = np.ascontiguousarray(values).view(np.uint8).reshape(len(values), values.dtype.itemsize)
    return {"kind": _KINDS[kind], "data": packed_bytes(content.T.tobytes())}


def _table(table: Table) -> dict[str, Any]:
    large = len(table) > _LARGE
    return {
        "columns": [column.heading for column in table.columns],
        "count": len(table),
        "cells": [
            {"texts": list(column.texts), "codes": packed_numbers(_smallest(column.codes))}
            if column.kind == "text"
            else {"parts": [packed_numbers(_single(part, large=large)) for part in column.parts]}
            for column in table.columns
        ],
        "filters": list(table.filters),
        "places": list(table.places),
    }


def _smallest(codes: np.ndarray) -> np.ndarray:
    """Return codes in the smallest type that holds them."""
    return codes.astype(np.min_scalar_type(int(codes.max(initial=0))))


def _single(values: np.ndarray, *, large: bool) -> np.ndarray:
    """Return single-precision numbers; in large tables, their last bits are rounded off."""
    single = np.where(np.isfinite(values), values, np.nan).astype("<f4")
    if not large:
        return single
    half, kept = np.uint32(1 << (_DROPPED_BITS - 1)), np.uint32(0xFFFFFFFF << _DROPPED_BITS & 0xFFFFFFFF)
    rounded = ((single.view(np.uint32) + half) & kept).view("<f4")
    return np.where(np.isfinite(rounded), rounded, np.nan).astype("<f4")


def _units(results: Sequence[Result]) -> list[dict[str, Any]]:
    """Return the values of each layer's feature maps or units, per measure and network."""
    several = len(results) > 1
    return [
        _unit_group(names.of_model(names.measure_title(measure), name, 1 + several), result, measure)
        for name, result in zip(names.model_names(results), results, strict=True)
        for measure in names.map_measures(result)
    ]


def _unit_group(title: str, result: Result, measure: str) -> dict[str, Any]:
    maps = {label: array for label, array in layer_maps(result, measure).items() if array.size}
    limit = max(16, min(_CELLS, _MOST_CELLS // max(1, len(maps))))
    layers, parts, start = {}, [], 0
    for label, array in maps.items():
        found = cells(label, array, limit=limit)
        kind = f"{found.kind.capitalize()}s"
        layers[label] = {"start": start, "count": len(found.values), "kind": kind, "step": found.step}
        parts.append(found.values)
        start += len(found.values)
    low, high = shared_range(parts)
    values = packed_numbers(np.concatenate(parts or [np.zeros(0)]).astype("<f4"))
    return {"title": title, "low": low, "high": high, "layers": layers, "values": values}
