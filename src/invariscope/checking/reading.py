"""From a measured result to a verdict."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from invariscope.actions.feature_actions import ActionByLayer
from invariscope.block import NotApplicableError
from invariscope.checking.tolerances import Rounding
from invariscope.checking.verdict import LayerVerdict, Verdict, Worst
from invariscope.measures.equivariance_error import EquivarianceError
from invariscope.readers.base import LayerKey
from invariscope.results.result import Result
from invariscope.results.rows import Point
from invariscope.transforms.base import Transform


def verdict_of(
    what: str,
    result: Result,
    wanted: EquivarianceError,
    transform: Transform,
    rounding: Mapping[LayerKey, Rounding],
    below: float | None,
    options: Mapping[str, Any],
    kinds: Mapping[LayerKey, str],
    *,
    keys: np.ndarray | None,
) -> Verdict:
    """Every layer's decisive pair beside its tolerance.

    Args:
        result: with the rows and curves of `wanted`, and floors where elements interpolate.
        rounding: of every layer, in the order in which they run.
        below: the tolerance, if it was given.
        options: with the seed and the number of samples.
        kinds: of the layers that are modules, their classes.
        keys: (sample,) by which elements were drawn, if they were.
    """
    rows = {(row.output, row.key): row for row in result.rows}
    order, curves, last = tuple(rounding), _curves(result), list(rounding.values())[-1]
    if wanted.of == "output":  # a module may bear its name
        rounding, kinds = {}, {}
    found = []
    for row in (row for row in result.rows if not row.output):
        own = {output: curves.get((output, row.key), {}) for output in _CURVES}
        worst = _worst(own, transform, rounding.get(row.key, last), below)
        chosen = rows.get(("action", row.key))
        action = _action(wanted, 0 if chosen is None else int(chosen.value), row.layer)
        about = {"kind": kinds.get(row.key, ""), "tried": tried_actions(wanted, row.layer)}
        found.append(LayerVerdict(*row.key, action, row.value, row.null, worst, row.grid, **about))
    return Verdict(what, tuple(found), order, options["seed"], options["samples"], result, keys)


_CURVES = ("largest_by_element", "action_by_element", "sample_by_element")


def _curves(result: Result) -> dict[tuple[str, LayerKey], dict[int, Point]]:
    """Points by output, layer and call, and element."""
    found: dict[tuple[str, LayerKey], dict[int, Point]] = {}
    for point in result.curve_rows:
        found.setdefault((point.output, point.key), {})[point.element] = point
    return found


def _action(wanted: EquivarianceError, position: int, layer: str) -> str:
    action = wanted.actions[position]
    return (action.at(layer) if isinstance(action, ActionByLayer) else action).called


def tried_actions(wanted: EquivarianceError, layer: str) -> tuple[str, ...]:
    """What the actions are called any one of which will do on the layer."""
    return tuple(dict.fromkeys(_tried(wanted, layer)))


def _tried(wanted: EquivarianceError, layer: str) -> Iterator[str]:
    """What the actions are called that are given for the layer."""
    for position in range(len(wanted.actions)):
        with suppress(NotApplicableError):
            yield _action(wanted, position, layer)


def _worst(
    curves: Mapping[str, dict[int, Point]],
    transform: Transform,
    rounding: Rounding,
    below: float | None,
) -> Worst | None:
    """The element that comes closest to its tolerance, or exceeds it the most; None if none has an error."""
    errors, lost, samples = (curves[name] for name in _CURVES)
    found = []
    for j, point in errors.items():
        error = point.value
        if math.isnan(error):
            continue
        input_floor = 0.0 if transform.exact[j] else point.get("floor", 0.0)
        action_floor = float(np.nan_to_num(lost[j].value))
        allowed, reason = _allowed(rounding, input_floor, action_floor, below)
        found.append(Worst(error, allowed, j, _label(transform, j), int(samples[j].value), reason))
    return max(found, key=lambda worst: worst.share) if found else None


def _allowed(
    rounding: Rounding, input_floor: float, action_floor: float, below: float | None
) -> tuple[float, str]:
    """The tolerance, and the same in words with what it consists of."""
    if below is not None:
        return float(below), f"{below:.6g}, as given"
    parts = [str(rounding)]
    parts += [f"{input_floor:.2g} for interpolating the input"] if input_floor else []
    parts += [f"{action_floor:.2g} for interpolating the response"] if action_floor else []
    whole = rounding.value + input_floor + action_floor
    return whole, f"{whole:.2g}: {' + '.join(parts)}" if len(parts) > 1 else parts[0]


def _label(transform: Transform, element: int) -> str:
    """The element's name and parameters: '90°' (angle_deg=90)."""
    parameters = ", ".join(f"{name}={values[element]:g}" for name, values in transform.parameters.items())
    return f"{transform.labels[element]!r}" + (f" ({parameters})" if parameters else "")
