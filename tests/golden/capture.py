"""What is kept of a result: a flat mapping from paths to short lists of numbers or names."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch

import invariscope as iv

from . import reach

Leaf = Any  # a list of numbers or texts, statistics of an array, or the columns of a table
WHOLE = 20  # longer arrays are kept as statistics
PLACES = ("layer", "call", "stratum", "element", "label", "parameter", "epoch", "stage", "model")


class Names(frozenset[str]):
    """Public names: none may vanish, and new ones may come."""


@dataclasses.dataclass(frozen=True)
class Known:
    """A value with the names that its texts may hold."""

    value: Any
    names: frozenset[str]


def leaves(value: Any, known: frozenset[str] = frozenset()) -> dict[str, Leaf]:
    """{path: leaf} of anything a case returns.

    Args:
        value: a result, table, array, number, dataclass, or lists and mappings of these.
        known: names (of layers, strata, ...) that may stand in texts; other texts may be reworded, so that
            only whether there is one is kept.
    """
    return dict(_leaves(value, "", known))


def _leaves(value: Any, path: str, known: frozenset[str]) -> Iterable[tuple[str, Leaf]]:
    for kind, kept in _KINDS:
        if isinstance(value, kind):
            yield from kept(value, path, known)
            return
    if dataclasses.is_dataclass(value):
        named = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        yield from _mapping(named, path, known)
        return
    raise TypeError(f"{path or 'the case'} gives a {type(value).__name__}, which cannot be kept")


def _known(value: Known, path: str, _: frozenset[str]) -> Iterable[tuple[str, Leaf]]:
    yield from _leaves(value.value, path, value.names)


def _mapping(value: Mapping[Any, Any], path: str, known: frozenset[str]) -> Iterable[tuple[str, Leaf]]:
    yield f"{path}/keys", [_text(key, known) for key in value]
    for number, (key, inner) in enumerate(value.items()):
        name = key if isinstance(key, str) and key.isidentifier() else str(number)
        yield from _leaves(inner, f"{path}/{name}", known)


def _sequence(value: Iterable[Any], path: str, known: frozenset[str]) -> Iterable[tuple[str, Leaf]]:
    entries = list(value)
    if all(isinstance(entry, str) for entry in entries):
        yield path, [_text(entry, known) for entry in entries]
    elif all(isinstance(entry, bool | int | float | np.number) for entry in entries):
        yield path, numbers(np.array(entries, dtype=float))
    else:
        for number, entry in enumerate(entries):
            yield from _leaves(entry, f"{path}/{number}", known)


def _text(text: Any, known: frozenset[str]) -> str:
    plain = str(text)
    return plain if plain in known or plain.isidentifier() else "text" if plain else ""


def _result(result: iv.Result, path: str, known: frozenset[str]) -> Iterable[tuple[str, Leaf]]:
    yield from table(result.table, f"{path}/table")
    yield from table(result.curves, f"{path}/curves")
    yield from table(result.baseline, f"{path}/baseline")
    yield from table(result.cautions, f"{path}/cautions")
    for key, values in result.maps.items():
        yield f"{path}/maps/{'/'.join(map(str, key))}", numbers(values)
    for name, values in result.examples.items():
        yield f"{path}/examples/{name}", numbers(values)
    for name, values in reach.replicates(result).items():
        yield f"{path}/replicates/{name}", numbers(values)
    yield from _leaves(facts(result), f"{path}/facts", known)


def facts(result: iv.Result) -> dict[str, Any]:
    """What the provenance counts; of texts only how many there are."""
    told = result.provenance
    skipped = [f"{entry['layer']}#{entry['call']}" for entry in told.get("skipped", ())]
    found = {
        "notes": float(len(told.get("notes", ()))),
        "skipped": frozenset(skipped),
        "unused": frozenset(told.get("unused", ())),
        "samples": told.get("data", {}).get("samples"),
        "forwarded": told.get("options", {}).get("forwarded_inputs"),
        "sequential": told.get("sequential", {}).get("samples"),
        "precision_error": told.get("precision_error"),
    }
    return {name: value for name, value in found.items() if value is not None}


def table(frame: pd.DataFrame, path: str) -> Iterable[tuple[str, Leaf]]:
    """A leaf for each measure: {column: values, or the only value}.

    Columns of nothing but NaN are left out. Of a note only whether there is one is kept: the numbers that it
    explains are NaN in the other columns.
    """
    if frame.empty:
        return
    frame = frame.reset_index(drop=True) if list(frame.index.names) == [None] else frame.reset_index()
    groups = frame.groupby("measure", sort=False) if "measure" in frame else [("", frame)]
    for name, rows in groups:
        places = [column for column in PLACES if column in rows]
        columns: dict[str, Any] = {
            "rows": [" | ".join(map(str, row)) for row in rows[places].values.tolist()]
        }
        for column in rows.columns.difference([*places, "measure"], sort=False):
            values = _column(rows[column].tolist())
            if any(value != "nan" for value in values):
                columns[column] = _short(values) if len(values) <= WHOLE else numbers(values)
        yield f"{path}/{name}" if name else path, columns


def _column(values: list[Any]) -> list[Any]:
    if all(isinstance(value, bool | int | float | np.number) or value is None for value in values):
        return [_number(math.nan if value is None else value) for value in values]
    return [float(bool(value)) for value in values]


def _short(values: list[Any]) -> Leaf:
    """The values, or the only one there is."""
    return values[0] if values and all(value == values[0] for value in values) else values


def numbers(values: Any) -> Leaf:
    """All values of a small array; of a larger one statistics that any change of a value or place moves."""
    array = np.array(values, dtype=float) if isinstance(values, list) else np.asarray(values)
    array = np.stack([np.real(array), np.imag(array)]) if np.iscomplexobj(array) else array.astype(np.float64)
    flat = array.ravel()
    if flat.size <= WHOLE and array.ndim < 2:
        return [_number(value) for value in flat]
    finite = np.isfinite(flat)
    weights = np.where(finite, np.random.default_rng(0).uniform(0.5, 1.5, flat.size), 0.0)
    kept = np.where(finite, flat, 0.0)
    some = flat[finite] if finite.any() else np.array([np.nan])
    size = max(1, int(finite.sum()))
    measured = {
        "mean": kept.sum() / size,
        "weighted": (weights * kept).sum() / size,
        "power": math.sqrt((weights * kept**2).sum() / size),
        "low": some.min(),
        "high": some.max(),
    }
    counts = {"nan": int(np.isnan(flat).sum()), "infinite": int(np.isinf(flat).sum())}
    where = {"places": float(np.flatnonzero(~finite).sum())} if not finite.all() else {}
    return {"shape": list(array.shape)} | counts | where | {k: _number(v) for k, v in measured.items()}


def _number(value: Any) -> float | int | str:
    """A number as JSON can hold it: infinities and NaN as texts."""
    number = float(value)
    if not math.isfinite(number):
        return str(number)
    return int(number) if number.is_integer() else number


def _one(value: Any, path: str, _: frozenset[str]) -> Iterable[tuple[str, Leaf]]:
    yield path, [_number(value)]


_KINDS: list[tuple[Any, Callable[[Any, str, frozenset[str]], Iterable[tuple[str, Leaf]]]]] = [
    (Known, _known),
    (Names, lambda value, path, _: [(path, {"names": sorted(value)})]),
    (iv.Result, _result),
    (pd.DataFrame, lambda value, path, _: table(value, path)),
    (str, lambda value, path, known: [(path, [_text(value, known)])]),
    (bool | int | float | np.number, _one),
    (type(None), lambda value, path, _: [(path, ["none"])]),
    (torch.Tensor, lambda value, path, _: [(path, numbers(value.detach().numpy()))]),
    (np.ndarray, lambda value, path, _: [(path, numbers(value))]),
    (frozenset | set, lambda value, path, _: [(path, sorted(map(str, value)))]),
    (Mapping, _mapping),
    (list | tuple, _sequence),
]
