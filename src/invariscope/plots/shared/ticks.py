"""Which names have room along an axis, and the blocks of deep networks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from invariscope.plots.shared.labels import modules_of, without_prefix

# Fewer layers than this are not divided into blocks; a block with more than this share of them is divided.
_FEW, _LARGE = 12, 0.6
# Share of the layers that must be in blocks of at least two.
_USUAL = 0.5


@dataclass(frozen=True)
class Block:
    """Consecutive layers whose names begin alike, at the places `first` to `last`."""

    name: str
    first: int
    last: int

    @property
    def size(self) -> int:
        """Number of layers."""
        return self.last - self.first + 1

    @property
    def centre(self) -> float:
        """Place of the block's name."""
        return (self.first + self.last) / 2


def blocks(labels: Sequence[str]) -> list[Block]:
    """Return the blocks of a deep network in order; empty if the names do not divide it.

    >>> names = ["stem"] + [f"stage{i}.{j}" for i in (1, 2) for j in range(8)]
    >>> [(block.name, block.size) for block in blocks(names)]
    [('stem', 1), ('stage1', 8), ('stage2', 8)]
    >>> blocks([str(i) for i in range(100)]), blocks(["a.b", "a.c", "d"])
    ([], [])
    """
    if len(labels) < _FEW:
        return []
    parts = list(map(modules_of, without_prefix(labels)))
    found = _divided(parts, 0, len(parts) - 1, 1)
    within = sum(block.size for block in found if block.size > 1)
    return found if within > _USUAL * len(labels) and len(found) > 1 else []


def _divided(parts: list[list[str]], first: int, last: int, depth: int) -> list[Block]:
    """Return the runs of equal names at this depth; a large run is divided at the next one."""
    heads = [".".join(part[:depth]) for part in parts[first : last + 1]]
    edges = [0, *(i for i in range(1, len(heads)) if heads[i] != heads[i - 1]), len(heads)]
    found: list[Block] = []
    for start, stop in pairwise(edges):
        block = Block(heads[start], first + start, first + stop - 1)
        deeper = all(len(part) > depth + 1 for part in parts[block.first : block.last + 1])
        if block.size > _LARGE * len(parts) and deeper:
            found += _divided(parts, block.first, block.last, depth + 1)
        else:
            found.append(block)
    return found


def edges(found: Sequence[Block]) -> list[float]:
    """Return the places between blocks, at which lines separate them; none between single layers."""
    return [one.last + 0.5 for one, other in pairwise(found) if max(one.size, other.size) > 1]


def with_room(
    found: Sequence[Block], inches: float, inches_of: Callable[[int], float], *, gap: float = 0.06
) -> list[Block]:
    """Return the blocks whose names fit beside each other, large blocks first, in order.

    Args:
        inches: distance between neighbouring layers.
        inches_of: the length of a text of so many characters.
        gap: smallest distance between two names in inches.
    """
    chosen: list[Block] = []
    for block in sorted(found, key=lambda block: -block.size):
        if all(
            abs(block.centre - other.centre) * inches
            > (inches_of(len(block.name)) + inches_of(len(other.name))) / 2 + gap
            for other in chosen
        ):
            chosen.append(block)
    return sorted(chosen, key=lambda block: block.first)


def every(count: int, room: float) -> list[int]:
    """Return evenly spaced places from 0, as many as there is room for.

    >>> every(5, 3), every(5, 9)
    ([0, 2, 4], [0, 1, 2, 3, 4])
    """
    return list(range(0, count, max(1, int(np.ceil(count / max(room, 1.0))))))
