"""Names of a result's layers, calls and classes, the same for all loggers and different for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from invariscope.results.result import Result
from invariscope.results.rows import ResultRow

Place = tuple[str, int, str]
"""Layer, call and stratum of a row."""


def place_of(row: ResultRow) -> Place:
    """Return a row's layer, call and stratum."""
    return row.layer, int(row.call), row.stratum


def names_of_places(result: Result) -> Mapping[Place, str]:
    """Return the name of every layer, call and class of a result, usually `LAYER, call 1/CLASS`.

    If two of these names are equal, such as those of class "relu" at layer "blk" and of layer "blk/relu", the
    call and the class are written in parentheses: `blk (class relu)`.

    Raises:
        ValueError: two names are equal even so.
    """
    places = dict.fromkeys(place_of(row) for row in (*result.rows, *result.curve_rows))
    usual = {place: _usual(*place) for place in places}
    often = Counter(usual.values())
    names = {place: name if often[name] == 1 else _plain(*place) for place, name in usual.items()}
    refuse_equal(names.items())
    return names


def _usual(layer: str, call: int, stratum: str) -> str:
    from invariscope.plots.shared.labels import layer_label

    name = layer_label(layer, call)
    return name if stratum == "all" else f"{name}/{stratum}"


def _plain(layer: str, call: int, stratum: str) -> str:
    about = [f"call {call}"] * bool(call) + [f"class {stratum}"] * (stratum != "all")
    return f"{layer} ({', '.join(about)})" if about else layer


def refuse_equal(named: Iterable[tuple[object, str]]) -> None:
    """Raise ValueError if two things have the same name."""
    known: dict[str, object] = {}
    for thing, name in named:
        if known.setdefault(name, thing) != thing:
            raise ValueError(
                f"{known[name]} and {thing} would both be logged as {name!r}: rename a layer or a class, or "
                "measure fewer layers with layers="
            )
