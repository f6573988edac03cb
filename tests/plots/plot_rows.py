"""Small results with the few values that a test is about."""

from __future__ import annotations

import numpy as np

from invariscope.results.result import Result

NAN = float("nan")


def row(layer, value, *, measure="normalized_variance", stratum="all", call=0, **columns):
    """One row of a table; what is not given is missing."""
    base = {"measure": measure, "layer": layer, "call": call, "stratum": stratum, "value": value}
    counts = {"samples": 64, "elements": 4, "units": 10, "dead_units": 0, "sparse_units": 0}
    return base | counts | columns


def curve(element, value, *, measure="prediction.accuracy", x=None, **columns):
    """One row of a curve over rotations by 90 degrees."""
    x = 90.0 * element if x is None else x
    base = {"measure": measure, "layer": "output", "call": 0, "stratum": "all", "element": element}
    place = {"label": f"{90 * element}°", "parameter": "angle_deg", "x": x, "samples": 64}
    return base | place | {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1} | columns


def result(rows=(), *, curves=(), maps=None, examples=None, name="net", **provenance):
    """A result with these parts; maps are keyed by (measure, layer) or (measure, layer, stratum)."""
    maps = {(*key, *("all", 0)[len(key) - 2 :]): np.asarray(a) for key, a in (maps or {}).items()}
    provenance = {"model": {"name": name, "label": None}} | {
        k: v for k, v in provenance.items() if k != "model"
    }
    return Result(
        rows=tuple(rows) or tuple(row(layer, NAN, measure=m, stratum=s, call=c) for m, layer, s, c in maps),
        curve_rows=tuple(curves),
        arrays=maps,
        provenance=provenance,
        examples=examples or {},
    )
