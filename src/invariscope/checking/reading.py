"""Verdicts of assertions, derived from measured results."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any

import numpy as np

from invariscope.actions.feature_actions import ActionByLayer
from invariscope.block import NotApplicableError
from invariscope.checking.tolerances import Rounding
from invariscope.checking.verdict import LayerVerdict, Verdict, Worst
from invariscope.common.wording import listed
from invariscope.measures.equivariance_error import EquivarianceError
from invariscope.readers.base import LayerKey
from invariscope.results.result import Result
from invariscope.results.rows import Point
from invariscope.transforms.base import Transform


def verdict_of(
    claim: str,
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
    """Return the verdict on every layer, from its decisive pair and the tolerance.

    Args:
        claim: "invariant" or "equivariant".
        result: rows and curves of `wanted`, with floors if elements are inexact.
        rounding: rounding errors of every layer, in execution order.
        below: the tolerance, if given.
        options: options of the measurement, including the seed and the number of samples.
        kinds: classes of the layers that are modules.
        keys: (sample,) keys of drawn elements; None if elements are not drawn.
    """
    rows = {(row.output, row.key): row for row in result.rows}
    order, curves, last = tuple(rounding), _curves(result), list(rounding.values())[-1]
    if wanted.of == "output":  # a module may be called "output", too
        rounding, kinds = {}, {}
    found = []
    for row in (row for row in result.rows if not row.output):
        own = {output: curves.get((output, row.key), {}) for output in (*_CURVES, _MEAN)}
        allow = partial(_allowed, rounding.get(row.key, last), below=below)
        if options.get("repeats", 1) > 1:
            pairs = _worst_beyond_chance(own[_MEAN], transform, allow, row.chance)
        else:
            pairs = _worst_by_element(own, transform, allow)
        worst = max(pairs, key=lambda pair: pair.share) if pairs else None
        chosen = rows.get(("action", row.key))
        action = _action(wanted, 0 if chosen is None else int(chosen.value), row.layer)
        about = {"kind": kinds.get(row.key, ""), "tried": tried_actions(wanted, row.layer)}
        about |= {"elements": _elements(pairs, transform)}
        found.append(LayerVerdict(*row.key, action, row.value, row.null, worst, row.grid, **about))
    return Verdict(claim, tuple(found), order, options["seed"], options["samples"], result, keys)


_CURVES = ("largest_by_element", "action_by_element", "sample_by_element")
_MEAN = "by_element"
_Allow = Callable[..., tuple[float, str]]


def _curves(result: Result) -> dict[tuple[str, LayerKey], dict[int, Point]]:
    """Return points by (output, (layer, call)) and element."""
    found: dict[tuple[str, LayerKey], dict[int, Point]] = {}
    for point in result.curve_rows:
        found.setdefault((point.output, point.key), {})[point.element] = point
    return found


def _action(wanted: EquivarianceError, position: int, layer: str) -> str:
    action = wanted.actions[position]
    return (action.at(layer) if isinstance(action, ActionByLayer) else action).called


def tried_actions(wanted: EquivarianceError, layer: str) -> tuple[str, ...]:
    """Return the names of the actions that are accepted at the layer."""
    names: dict[str, None] = {}
    for position in range(len(wanted.actions)):
        with suppress(NotApplicableError):
            names[_action(wanted, position, layer)] = None
    return tuple(names)


def _worst_by_element(
    curves: Mapping[str, dict[int, Point]], transform: Transform, allow: _Allow
) -> list[Worst]:
    """Return the largest error of each element that has one, with its tolerance."""
    errors, lost, samples = (curves[name] for name in _CURVES)
    found = []
    for j, point in errors.items():
        error = point.value
        if math.isnan(error):
            continue
        input_floor = 0.0 if transform.exact[j] else point.get("floor", 0.0)
        action_floor = float(np.nan_to_num(lost[j].value))
        allowed, reason = allow(input_floor, action_floor, error=error, exact=transform.exact[j])
        found.append(Worst(error, allowed, j, _label(transform, j), int(samples[j].value), reason))
    return found


def _worst_beyond_chance(
    errors: dict[int, Point], transform: Transform, allow: _Allow, chance: float
) -> list[Worst]:
    """Return the element with the largest mean error, from which the error due to chance is subtracted."""
    known = {j: point.value - chance for j, point in errors.items() if not math.isnan(point.value)}
    if not known or math.isnan(chance):
        return []
    worst = max(known, key=lambda j: known[j])
    allowed, reason = allow(0.0, 0.0, error=0.0, exact=True)
    return [Worst(known[worst], allowed, worst, _label(transform, worst), None, reason, chance)]


def _elements(pairs: Sequence[Worst], transform: Transform) -> str:
    """Return which elements are beyond their tolerances, if others are not; "" otherwise."""
    broken = [pair.element for pair in pairs if pair.share > 1]
    held = [pair.element for pair in pairs if pair.share <= 1]
    if not (broken and held):
        return ""
    names = [listed([repr(transform.labels[j]) for j in group]) for group in (broken, held)]
    counts = (_counted(broken, "break"), _counted(held, "hold"))
    text = f"of {len(pairs)} elements, {counts[0]}: {names[0]}; {counts[1]}: {names[1]}"
    own = _own_inverses(transform)
    if own is not None and own.isdisjoint(broken) and own.issuperset(held):
        text += ", each its own inverse. Is the action, or a turn of the weights, inverted (t⁻¹ for t)?"
    return text


def _counted(elements: Sequence[int], verb: str) -> str:
    return f"1 {verb}s" if len(elements) == 1 else f"{len(elements)} {verb}"


def _own_inverses(transform: Transform) -> set[int] | None:
    """Return the elements that are their own inverses; None if the elements do not form a group."""
    table = transform.table()
    if table is None:
        return None
    numbers = np.arange(len(table))
    identity = int(np.flatnonzero((np.asarray(table) == numbers).all(axis=1))[0])
    return set(np.flatnonzero(np.asarray(table)[numbers, numbers] == identity).tolist())


def _allowed(
    rounding: Rounding,
    input_floor: float,
    action_floor: float,
    *,
    error: float,
    exact: bool,
    below: float | None,
) -> tuple[float, str]:
    """Return the tolerance as a number, and as text that lists its parts."""
    if below is not None:
        below = float(below)
        given = f"{below:.6g}, as given"
        if below < error <= rounding.value:
            given += f"; less than the {rounding}"
        elif below < error and not exact:
            given += "; this element is inexact, which a tolerance derived without below= allows for"
        return below, given
    parts = [str(rounding)]
    parts += [f"{input_floor:.2g} for transforming the input and back"] if input_floor else []
    parts += [f"{action_floor:.2g} for transforming the response and back"] if action_floor else []
    whole = rounding.value + input_floor + action_floor
    return whole, f"{whole:.2g}: {' + '.join(parts)}" if len(parts) > 1 else parts[0]


def _label(transform: Transform, element: int) -> str:
    """Return the element's label and parameters: '90°' (angle_deg=90)."""
    parameters = ", ".join(f"{name}={values[element]:g}" for name, values in transform.parameters.items())
    return f"{transform.labels[element]!r}" + (f" ({parameters})" if parameters else "")
