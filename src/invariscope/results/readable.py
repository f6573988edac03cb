"""Make the names in a result displayable: escape control characters and shorten long names."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import fields, replace
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

from invariscope.common.wording import visible

if TYPE_CHECKING:
    from invariscope.results.result import Result

LONGEST = 200
_START, _END = 120, 50

Row = TypeVar("Row")


def readable(result: Result) -> Result:
    """Return a copy of a result whose names and texts can be displayed in a report.

    Control characters, marks that reverse the direction of text and lone surrogates become escapes such as
    `\\x1b`. Names of more than 200 characters are shortened, with a digest that keeps them distinct.
    """
    return replace(
        result,
        rows=_rows(result.rows),
        curve_rows=_rows(result.curve_rows),
        baseline_rows=_rows(result.baseline_rows),
        arrays={tuple(map(_entry, key)): value for key, value in result.arrays.items()},  # type: ignore[misc]
        examples={shown_name(key): value for key, value in result.examples.items()},
        provenance=_provenance(result.provenance),
    )


@lru_cache(maxsize=4096)
def shown_name(name: str) -> str:
    """Return a name with escapes for invisible characters, shortened if it is very long.

    >>> shown_name("conv1"), shown_name("a\\x1b[31m"), len(shown_name("x" * 10_000)) < 200
    ('conv1', 'a\\\\x1b[31m', True)
    """
    text = visible(name)
    if len(text) <= LONGEST:
        return text
    mark = hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=4).hexdigest()
    return f"{text[:_START]}…[{mark}]…{text[-_END:]}"


def shown_entry(value: Any) -> Any:
    """Apply `shown_name` to a name or to each name in a list; return other values unchanged.

    >>> shown_entry("a\\x07"), shown_entry(["a\\x07", "b"]), shown_entry(3)
    ('a\\\\x07', ['a\\\\x07', 'b'], 3)
    """
    if isinstance(value, list | tuple):
        return type(value)(map(_entry, value)) if type(value) in (list, tuple) else value
    return _entry(value)


def _entry(value: Any) -> Any:
    return shown_name(value) if isinstance(value, str) else value


def _rows(rows: tuple[Row, ...]) -> tuple[Row, ...]:
    """Return the rows with displayable texts; rows that need no change are not copied."""
    texts = [entry.name for entry in fields(rows[0]) if entry.type == "str"] if rows else []  # type: ignore[arg-type]
    changed = {name: _changed(name, _strings(rows, name)) for name in texts}
    changed = {name: found for name, found in changed.items() if found}
    return tuple(_row(row, changed) for row in rows) if changed else rows


def _strings(rows: Iterable[Any], name: str) -> set[str]:
    return {value for row in rows if isinstance(value := getattr(row, name), str)}


def _changed(name: str, values: Iterable[str]) -> dict[str, str]:
    """Return the displayed form of those texts in a column that need to change."""
    show = partial(visible, keep="\n") if name in ("note", "caution") else shown_name
    return {value: text for value in values if (text := show(value)) != value}


def _row(row: Row, changed: Mapping[str, Mapping[str, str]]) -> Row:
    values = ((name, getattr(row, name)) for name in changed)
    found = {
        name: changed[name][value]
        for name, value in values
        if isinstance(value, str) and value in changed[name]
    }
    return replace(row, **found) if found else row  # type: ignore[type-var]


def _provenance(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the record with displayable texts; names that also occur in rows are shown as there."""
    found = {key: _texts(value) for key, value in record.items()}
    for part, name in (("model", "label"), ("model", "name"), ("data", "name"), ("transform", "family")):
        if isinstance(about := record.get(part), Mapping) and isinstance(about.get(name), str):
            found[part][name] = shown_name(about[name])
    for part, name in (("data", "classes"), ("transform", "labels")):
        if isinstance(about := record.get(part), Mapping) and isinstance(about.get(name), list | tuple):
            found[part][name] = [_entry(value) for value in about[name]]
    if isinstance(measures := record.get("measures"), Mapping):
        found["measures"] = {shown_name(str(name)): _texts(about) for name, about in measures.items()}
    if isinstance(skipped := record.get("skipped"), list | tuple):
        found["skipped"] = [_skipped(entry) for entry in skipped]
    if isinstance(flow := record.get("dataflow"), list | tuple):
        found["dataflow"] = [shown_entry(entry) for entry in flow]
    if isinstance(unused := record.get("unused"), list | tuple):
        found["unused"] = [_entry(layer) for layer in unused]
    return found


def _skipped(entry: Any) -> Any:
    if not isinstance(entry, Mapping):
        return _texts(entry)
    return {
        key: _entry(value) if key in ("layer", "measure") else _texts(value) for key, value in entry.items()
    }


def _texts(value: Any) -> Any:
    """Return plain data with displayable texts."""
    if isinstance(value, str):
        return visible(value, keep="\n\t")
    if isinstance(value, Mapping):
        return {_texts(key): _texts(entry) for key, entry in value.items()}
    return [_texts(entry) for entry in value] if isinstance(value, list | tuple) else value
