"""Place the layers of a model in rows, block by block, and route the lines between them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np

Edge = tuple[int, int]
Block = tuple[str, ...]

# Networks with at most this many layers have one layer per row, with its full name.
FEW = 24
# Otherwise, a row is a block: at most so many rows, of so many layers on average, and so many layers per row.
MOST_ROWS, USUAL, WIDEST = 40, 3, 24
# Half the width and height of a box, in units of the distance between boxes.
HALF_WIDTH, HALF_HEIGHT = 0.36, 0.27
# Distances of lines from the middle of their row, and between lines beside each other.
_BELOW, _BACK, _LEFT = 0.42, 0.5, -0.62
_ABOVE, _LEVEL, _LEVELS = 0.33, 0.06, 2
_RIGHT, _LANE, MOST_LANES = 0.62, 0.16, 9
_SEPARATOR = re.compile(r"[./]")


def leaf_of(name: str) -> str:
    """Return the last part of a layer's name.

    >>> leaf_of("layer1.0.conv1"), leaf_of("layer1.0/add")
    ('conv1', 'add')
    """
    return _SEPARATOR.split(name)[-1]


@dataclass(frozen=True)
class GraphLayout:
    """Positions of boxes and lines; the first row is at y = 0, and y grows downwards.

    Args:
        titles: one per row.
        x, y: (layer,) the middle of each box.
        lines: (point, 2) corners of each line.
        right: how far lines reach to the right.
        hidden: number of connections without a line, because there are too many.
    """

    titles: tuple[str, ...]
    x: np.ndarray
    y: np.ndarray
    lines: tuple[np.ndarray, ...]
    right: float
    hidden: int

    @property
    def single(self) -> bool:
        """Whether each row has one layer."""
        return len(self.titles) == len(self.x)

    @property
    def columns(self) -> int:
        """Number of layers in the longest row."""
        return int(self.x.max()) + 1 if len(self.x) else 1


def graph_layout(names: Sequence[str], labels: Sequence[str], edges: Iterable[Edge]) -> GraphLayout:
    """Return the positions of layers, in the order in which they run, and of the lines between them.

    Args:
        names: names of the layers; dots and slashes separate a module from its parts.
        labels: the same with the number of the call.
        edges: (source, target) positions of connected layers.

    >>> layout = graph_layout(["a", "b", "add"], ["a", "b", "add"], [(0, 1), (1, 2), (0, 2)])
    >>> layout.titles, len(layout.lines), layout.columns
    (('a', 'b', 'add'), 3, 1)
    """
    rows = _rows(names, labels)
    x = np.array([column for _, count in rows for column in range(count)], float)
    y = np.array([row for row, (_, count) in enumerate(rows) for _ in range(count)], float)
    router = _Router(x, y, single=len(rows) == len(names))
    lines = [line for line in map(router.line, sorted(edges, key=router.length)) if line is not None]
    return GraphLayout(tuple(title for title, _ in rows), x, y, tuple(lines), router.right, router.hidden)


def _rows(names: Sequence[str], labels: Sequence[str]) -> list[tuple[str, int]]:
    """Return the title and the number of layers of each row."""
    if len(names) <= FEW:
        return [(label, 1) for label in labels]
    blocks = [tuple(_SEPARATOR.split(name)[:-1]) for name in names]
    runs, start, rows = _runs(blocks), 0, []
    for block, count in runs:
        for part in _parts(count):
            inside = labels[start : start + part]
            span = inside[0] if part == 1 else f"{inside[0]} … {inside[-1]}"
            rows.append((".".join(block) or span, part))
            start += part
    return _numbered(rows)


def _numbered(rows: Sequence[tuple[str, int]]) -> list[tuple[str, int]]:
    """Number the rows of a block that takes several, so that no two rows have the same title.

    >>> _numbered([("a", 2), ("b", 1), ("a", 2)])
    [('a (1)', 2), ('b', 1), ('a (2)', 2)]
    """
    titles = [title for title, _ in rows]
    return [
        (f"{title} ({titles[:i].count(title) + 1})" if titles.count(title) > 1 else title, count)
        for i, (title, count) in enumerate(rows)
    ]


def _runs(blocks: Sequence[Block]) -> list[tuple[Block, int]]:
    """Return runs of layers of one block, at the deepest level whose rows are few and long enough.

    Levels at which no block is interrupted by a part of its own are preferred.
    """
    levels = [_at_depth(blocks, depth) for depth in range(max(map(len, blocks)), 0, -1)]
    levels = [runs for runs in levels if _is_readable(runs)]
    whole = (runs for runs in levels if not _is_interrupted(runs))
    return next(whole, None) or next(iter(levels), None) or [((), len(blocks))]


def _at_depth(blocks: Sequence[Block], depth: int) -> list[tuple[Block, int]]:
    return [(block, len(list(run))) for block, run in groupby(blocks, key=lambda block: block[:depth])]


def _is_readable(runs: Sequence[tuple[Block, int]]) -> bool:
    rows = sum(len(_parts(count)) for _, count in runs)
    return rows <= MOST_ROWS and sum(count for _, count in runs) >= USUAL * rows


def _is_interrupted(runs: Sequence[tuple[Block, int]]) -> bool:
    found = [block for block, _ in runs if block]
    return len(set(found)) < len(found)


def _parts(count: int) -> list[int]:
    """Return the numbers of layers of rows of similar length."""
    rows = -(-count // WIDEST)
    return [count // rows + (i < count % rows) for i in range(rows)]


class _Router:
    """Routes lines between rows, above boxes, and in lanes to the right of all boxes."""

    def __init__(self, x: np.ndarray, y: np.ndarray, *, single: bool) -> None:
        self.x, self.y, self.single, self.hidden = x, y, single, 0
        self.last = np.r_[np.diff(y) > 0, True]
        self._edge = float(x.max(initial=0.0)) + _RIGHT
        self._lanes: list[list[tuple[float, float]]] = []
        self._levels: dict[float, list[list[tuple[float, float]]]] = {}

    @property
    def right(self) -> float:
        """How far boxes and lines reach to the right."""
        return self._edge + _LANE * len(self._lanes)

    def length(self, edge: Edge) -> tuple[float, float]:
        """Short lines are placed first, so that longer ones go around them."""
        source, target = edge
        return float(self.y[target] - self.y[source]), float(self.x[target] - self.x[source])

    def line(self, edge: Edge) -> np.ndarray | None:
        """Return the corners of a line; None if there is no lane left."""
        source, target = edge
        rows = self.y[target] - self.y[source]
        if rows == 0:
            return self._along(source, target)
        if rows == 1 and self.single:
            below, above = (source, HALF_HEIGHT), (target, -HALF_HEIGHT)
            return np.array([(self.x[i], self.y[i] + shift) for i, shift in (below, above)])
        if rows == 1 and self.last[source]:
            return self._to_next_row(source, target)
        return self._around(source, target)

    def _along(self, source: int, target: int) -> np.ndarray:
        """Straight to the neighbour, above the boxes to others of the row."""
        y = self.y[source]
        if target == source + 1:
            return np.array([(self.x[source] + HALF_WIDTH, y), (self.x[target] - HALF_WIDTH, y)])
        top = self._level(y, self.x[source], self.x[target])
        up, down = (self.x[source], y - HALF_HEIGHT), (self.x[target], y - HALF_HEIGHT)
        return np.array([up, (up[0], top), (down[0], top), down])

    def _to_next_row(self, source: int, target: int) -> np.ndarray:
        """Back to the left like a line of text; above the boxes if the target is not the first of its row."""
        x, y, end = self.x[source], self.y[source], self.y[target]
        back = [(x, y + HALF_HEIGHT), (x, y + _BACK), (_LEFT, y + _BACK)]
        if self.x[target] == 0:
            return np.array([*back, (_LEFT, end), (-HALF_WIDTH, end)])
        top = self._level(end, _LEFT, self.x[target])
        return np.array([*back, (_LEFT, top), (self.x[target], top), (self.x[target], end - HALF_HEIGHT)])

    def _around(self, source: int, target: int) -> np.ndarray | None:
        """To the right, down beside all boxes, and back."""
        start, end = self.y[source], self.y[target]
        lane = _free(self._lanes, (start, end), MOST_LANES)
        if lane is None:
            self.hidden += 1
            return None
        side = self._edge + _LANE * lane
        if self.single:
            out, back = start + 0.4 * HALF_HEIGHT, end - 0.4 * HALF_HEIGHT
            return np.array([(HALF_WIDTH, out), (side, out), (side, back), (HALF_WIDTH, back)])
        out, back = start + _BELOW, end - _BELOW
        ends = (self.x[source], start + HALF_HEIGHT), (self.x[target], end - HALF_HEIGHT)
        corners = [(ends[0][0], out), (side, out), (side, back), (ends[1][0], back)]
        return np.array([ends[0], *corners, ends[1]])

    def _level(self, row: float, left: float, right: float) -> float:
        """Return the height of a line above a row, at which no other line runs if possible."""
        level = _free(self._levels.setdefault(row, []), (left, right), _LEVELS)
        return row - _ABOVE - _LEVEL * (_LEVELS if level is None else level)


def _free(taken: list[list[tuple[float, float]]], span: tuple[float, float], most: int) -> int | None:
    """Take the first of the parallel lanes that is free between two ends; None if there is none."""
    for number, spans in enumerate(taken):
        if all(span[1] <= low or span[0] >= high for low, high in spans):
            spans.append(span)
            return number
    if len(taken) == most:
        return None
    taken.append([span])
    return len(taken) - 1


def joins(edges: Iterable[Edge], count: int) -> np.ndarray:
    """Return a mask of the layers with several sources."""
    return np.bincount([target for _, target in edges], minlength=count)[:count] > 1
