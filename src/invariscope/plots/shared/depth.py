"""Choose the layers of a deep network that a figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from invariscope.common.globs import matches_any
from invariscope.plots.shared.labels import modules_of

if TYPE_CHECKING:
    from invariscope.results.result import Result

# A figure shows at most this many layers, unless others are requested.
FEW = 40
# Fewer blocks than this say too little about a deep network.
_COARSE = 10


def is_deep(result: Result) -> bool:
    """Return whether a result has more layers than a figure shows by default."""
    return len({row.key for row in result.rows}) > FEW


def shown_layers(labels: Sequence[str], layers: Sequence[str] | str | None = "auto") -> np.ndarray:
    """Return a mask of the layers to show.

    Args:
        labels: names in the order in which the layers run; dots separate a module from its parts.
        layers: patterns; None for all; "auto" for all of at most 40 layers, and otherwise for the outputs of
            blocks: the last layer of each module, at the deepest level with at most 40 modules. If these are
            fewer than 10, 40 evenly spaced layers of the next level are shown.
    Raises:
        ValueError: no layer matches the patterns; the message lists the first layers.

    >>> labels = [f"stage{i}.{j}.{part}" for i in range(2) for j in range(15) for part in ("conv", "relu")]
    >>> np.array(labels)[shown_layers(labels)][[0, 1, -1]].tolist()
    ['stage0.0.relu', 'stage0.1.relu', 'stage1.14.relu']
    >>> int(shown_layers([str(i) for i in range(100)]).sum())
    40
    """
    if layers == "auto":
        return _ends(labels) if len(labels) > FEW else np.ones(len(labels), bool)
    patterns = [layers] if isinstance(layers, str) else layers
    found = np.array([matches_any(patterns, label) for label in labels], bool)
    if len(labels) and not found.any():
        few = ", ".join(labels[:6]) + (", ..." if len(labels) > 6 else "")
        raise ValueError(f"no layer matches {layers!r}; the layers are {few}")
    return found


def _ends(labels: Sequence[str]) -> np.ndarray:
    """Return a mask of the last layer of each module, at the deepest level with few enough modules."""
    parts = list(map(modules_of, labels))
    best, finer = None, np.ones(len(labels), bool)
    for depth in range(1, max(map(len, parts)) + 1):
        blocks = [tuple(part[:depth]) for part in parts]
        last = np.array([here != after for here, after in zip(blocks, [*blocks[1:], None], strict=True)])
        if last.sum() > FEW:
            finer = last
            break
        best = last
    if best is not None and best.sum() >= _COARSE:
        return best
    spread, places = np.zeros(len(labels), bool), np.flatnonzero(finer)
    spread[places[np.linspace(0, len(places) - 1, FEW).round().astype(int)]] = True
    return spread
