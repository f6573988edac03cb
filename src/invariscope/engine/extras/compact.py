"""Leave out the rows of layers that repeat the values of another layer, and name these layers in a note."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from invariscope.common.wording import listed
from invariscope.engine.outputs import Part
from invariscope.engine.state import Run
from invariscope.readers.base import LayerKey, Reader


@dataclass(frozen=True, eq=False)
class Compact:
    """A part of a result without layers that repeat others.

    Args:
        part: the rows, curves and maps of the other layers.
        repeats: the layers left out, each with the layer whose values it repeats.
    """

    part: Part
    repeats: dict[LayerKey, LayerKey]

    @property
    def notes(self) -> list[str]:
        """A note that names the layers left out; empty if there are none."""
        if not self.repeats:
            return []
        names = list(dict.fromkeys(f"{key[0]} (as {original[0]})" for key, original in self.repeats.items()))
        count = len(self.repeats)  # each call of a shared module counts as a layer
        left_out = (
            "1 layer is left out because it repeats another"
            if count == 1
            else f"{count} layers are left out because they repeat others"
        )
        shown = "shows it too" if count == 1 else "shows them too"
        return [f'{left_out}: {listed(names)}. rows="all" (--rows all) {shown}']

    @property
    def described(self) -> dict[str, Any]:
        """The provenance entry of the layers left out; empty if there are none."""
        entries = [
            {"layer": layer, "call": call, "repeats": list(original)}
            for (layer, call), original in self.repeats.items()
        ]
        return {"repeated": entries} if entries else {}


def compacted(part: Part, run: Run, *, rows: str, named: Collection[str]) -> Compact:
    """Leave out identities, dropout in evaluation mode and views, such as a flattened map.

    Args:
        rows: "all" leaves out nothing.
        named: layers that stay because the user named them.
    """
    repeats = {key: original for key, original in run.aliases.items() if key[0] not in named}
    if rows == "all" or not repeats:
        return Compact(part, {})
    kept = Part(
        [row for row in part.rows if row.key not in repeats],
        [point for point in part.points if point.key not in repeats],
        {name: array for name, array in part.maps.items() if (name[1], name[3]) not in repeats},
    )
    return Compact(kept, repeats)


def named_layers(reader: Reader) -> frozenset[str]:
    """Return the patterns that a reader selects; those without wildcards are names of layers."""
    layers = getattr(reader, "layers", None)
    if isinstance(layers, str):
        return frozenset([layers])
    return frozenset(layers) if isinstance(layers, Sequence) else frozenset()
