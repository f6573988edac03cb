"""Add notes on feature maps on whose grid no action can be exact: off the image's centre, or not square."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from torch import Tensor

from invariscope.anatomy.grids import UnitGrid, grids
from invariscope.engine.options import Options
from invariscope.measures.base import Measure
from invariscope.readers.base import OK, Inspection, LayerInfo, LayerKey, Reader
from invariscope.results.rows import Row
from invariscope.statistics.base import Statistic
from invariscope.transforms.machinery.linear import linear_parts

if TYPE_CHECKING:
    from invariscope.engine.state import Run
    from invariscope.engine.task import Task

_DRAWN = 64  # number of samples whose draws represent all
_SEEN_PX = 1e-3
_COARSER = 0.6  # of the input's side
_REMEDY = (
    "padding must be equal on both sides (it is not with padding='same' and even kernels), and strides "
    "must divide size + padding − kernel: a stride of 2 needs odd sizes for odd kernels, even sizes for "
    "2 × 2 pools"
)
_UNKNOWN = (
    "coarser than the inputs, due to operations that could not be followed: rotations and flips can be exact "
    "only if strides keep its grid centred on the image"
)


def grids_for(
    reader: Reader, x: Tensor, inspection: Inspection, statistics: Iterable[Statistic], options: Options
) -> dict[LayerKey, UnitGrid]:
    """Return the grids of the layers, from one forward pass of x; empty if no action moves feature maps.

    Layers that cannot be followed are missing. Errors are suppressed.
    """
    wanted = tuple(statistics)
    if (
        not isinstance(x, Tensor)
        or x.ndim != 4
        or not any(_moved(wanted, info) for info in inspection.layers)
    ):
        return {}
    try:
        return grids(reader, x, device=options.device, precision=options.precision, seed=options.seed)
    except Exception:  # notes must not make a measurement fail; the run itself shows errors of the model
        return {}


def grid_texts(task: Task, run: Run, *, samples: int) -> dict[LayerKey, tuple[str, bool]]:
    """Return why no action can be exact on the grids of layers, and whether a grid is off the centre.

    Args:
        samples: number of samples of the whole measurement.
    """
    matrices = linear_parts(task.transform, np.arange(min(_DRAWN, samples)), task.options.seed)
    if matrices is None or matrices.shape[-1] != 2 or len(run.input_shape) != 3:
        return {}
    found = {}
    for info in run.inspection.layers:
        if info.status == OK:
            astray = _astray(info, run, matrices, task.transform.labels)
            found[info.layer, info.call] = _note(info, run, matrices, astray), bool(astray)
    return found


def with_grid_notes(
    rows: Iterable[Row],
    measures: Iterable[Measure],
    run: Run,
    texts: Mapping[LayerKey, tuple[str, bool]],
) -> tuple[list[Row], list[str]]:
    """Return the rows, with `grid` set for layers on whose grid the action cannot be exact, and a note.

    The note, if any, names the layers whose grid is off the image's centre. `grid` is also added to the
    row's `note`.

    Args:
        texts: what `grid_texts` found.
    """
    if not texts:
        return list(rows), []
    infos = {(info.layer, info.call): info for info in run.inspection.layers if info.status == OK}
    known = {measure.label: measure for measure in measures}
    off: dict[str, None] = {}
    found = []
    for row in rows:
        grid, astray = ("", False) if row.output or row.stratum != "all" else texts.get(row.key, ("", False))
        if grid and _moved(known[row.stem].statistics(), infos[row.key]):
            row = replace(row, grid=grid, note="; ".join(filter(None, (row.note, grid))))
            off |= {row.layer: None} if astray else {}
        found.append(row)
    return found, [f"grids off the image's centre: {', '.join(off)} (see their notes)"] if off else []


def _moved(statistics: Iterable[Statistic], info: LayerInfo) -> bool:
    """Return whether a statistic applies an action that changes positions in this feature map."""
    if info.status != OK or len(info.shape) != 3:
        return False
    return any(statistic.moves_positions(info.layer, 3) for statistic in statistics)


def _astray(info: LayerInfo, run: Run, matrices: np.ndarray, labels: tuple[str, ...]) -> str:
    """Return the note on a grid known to be off the image's centre; "" if it is centred or unknown."""
    grid = run.grids.get((info.layer, info.call))
    if grid is None or len(info.shape) != 3:
        return ""
    return off_centre(grid.off_centre(run.input_shape[1:]), matrices, labels)


def _note(info: LayerInfo, run: Run, matrices: np.ndarray, astray: str) -> str:
    """Return why no layer on this grid can be exactly equivariant; "" if one can."""
    if len(info.shape) != 3:
        return ""
    known = (info.layer, info.call) in run.grids
    centre = astray if known else _unknown(info.shape, run.input_shape, matrices)
    return "; ".join(filter(None, (centre, _rectangle(info.shape, matrices))))


def off_centre(offset: tuple[float, ...], matrices: np.ndarray, labels: tuple[str, ...]) -> str:
    """Return the note on a centre that is off by (down, right) input pixels; "" if no element is affected.

    An element A transforms the image about its centre, but the map about the map's centre, which is off by o:
    a point of the map that should move to Ap moves to Ap + (1 − A)o.

    Args:
        matrices: (sample or 1, element, 2, 2), x to the right and y down.

    >>> turns = np.array([[[[1.0, 0.0], [0.0, 1.0]], [[-1.0, 0.0], [0.0, -1.0]]]])
    >>> off_centre((0.0, -0.5), turns, ("0°", "180°"))[:79]
    "grid off the image's centre, 0.5 px to the left: '180°' misplaces it by 1 px, w"
    """
    down, right = offset
    astray = np.linalg.norm((np.eye(2) - matrices) @ [right, down], axis=-1).max(axis=0)
    worst = int(astray.argmax())
    if astray[worst] < _SEEN_PX:
        return ""
    sides = [(right, "to the right", "to the left"), (down, "down", "up")]
    where = [
        f"{abs(px):.3g} px {plus if px > 0 else minus}" for px, plus, minus in sides if abs(px) > _SEEN_PX
    ]
    return (
        f"grid off the image's centre, {' and '.join(where)}: {labels[worst]!r} misplaces it by "
        f"{astray[worst]:.3g} px, which no filters can correct; {_REMEDY}"
    )


def _unknown(shape: tuple[int, ...], image: tuple[int, ...], matrices: np.ndarray) -> str:
    turning = np.abs(matrices - np.eye(2)).max() > _SEEN_PX
    sides = zip(shape[1:], image[1:], strict=True)
    return _UNKNOWN if turning and any(side <= _COARSER * whole for side, whole in sides) else ""


def _rectangle(shape: tuple[int, ...], matrices: np.ndarray) -> str:
    """Return the note on a map that is not square, under elements that exchange or mix its axes."""
    height, width = shape[1:]
    if height == width or np.abs(matrices[..., [0, 1], [1, 0]]).max() < _SEEN_PX:
        return ""
    return (
        f"{height} × {width} units do not form a square: elements that mix rows and columns, including "
        "quarter turns, move part of the map out of it, and may have to interpolate it"
    )
