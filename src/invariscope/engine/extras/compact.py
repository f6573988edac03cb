"""Leave out the rows of layers that repeat the values of another layer, and name these layers in a note."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from invariscope.common.wording import listed
from invariscope.engine.outputs import Part
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.readers.base import LayerKey


def repeated(run: Run, task: Task) -> dict[LayerKey, LayerKey]:
    """Return the layers to leave out, each with the layer whose values it repeats.

    These are identities, dropout in evaluation mode and views, such as a flattened map. A layer stays if
    `layers=` names it without wildcards, or if its original is not measured.
    """
    if task.options.rows == "all":
        return {}
    named = _named(getattr(task.reader, "layers", None))
    return {key: original for key, original in run.aliases.items() if key[0] not in named}


def _named(layers: Any) -> frozenset[str]:
    """Return the patterns of a selection; those without wildcards are names."""
    if isinstance(layers, str):
        return frozenset([layers])
    return frozenset(layers) if isinstance(layers, Sequence) else frozenset()


def without(part: Part, left_out: dict[LayerKey, LayerKey]) -> Part:
    """Return the part without the rows, curves and maps of the layers left out."""
    if not left_out:
        return part
    return Part(
        [row for row in part.rows if row.key not in left_out],
        [point for point in part.points if point.key not in left_out],
        {name: array for name, array in part.maps.items() if (name[1], name[3]) not in left_out},
    )


def repetition_notes(left_out: dict[LayerKey, LayerKey]) -> list[str]:
    """Return a note that names the layers left out; empty if there are none."""
    if not left_out:
        return []
    names = list(dict.fromkeys(f"{layer} (as {original})" for (layer, _), (original, _) in left_out.items()))
    lead = "1 layer without rows repeats" if len(names) == 1 else f"{len(names)} layers without rows repeat"
    return [f'{lead} the values of another layer: {listed(names)}. rows="all" (--rows all) lists them too']


def described(left_out: dict[LayerKey, LayerKey]) -> dict[str, Any]:
    """Return the provenance entry of the layers left out; empty if there are none."""
    entries = [
        {"layer": layer, "call": call, "repeats": list(original)}
        for (layer, call), original in left_out.items()
    ]
    return {"repeated": entries} if entries else {}
