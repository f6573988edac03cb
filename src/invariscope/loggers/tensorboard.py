"""Measurements for TensorBoard: a curve per layer, and heat maps."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from invariscope.results.result import Result

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BOUNDS = ("value", "ci_low", "ci_high")


class TensorBoardWriter:
    """Writer that saves scalars and heat maps to event files, for a monitor's `writers`.

    A layer's value over all samples is tagged `MEASURE/LAYER`, its value for a class `MEASURE/LAYER/CLASS`,
    and the bounds of intervals `MEASURE.ci_low/...` and `MEASURE.ci_high/...`. The step is the epoch.
    Non-finite values are omitted. The heat map of all units is an image tagged `MEASURE/units`.

    Args:
        folder: folder of the event files, as in `tensorboard --logdir FOLDER`.
        images: whether to draw the heat maps, which takes a fraction of a second per measure.

    Raises:
        ImportError: the extra `tensorboard` is not installed.
    """

    def __init__(self, folder: str | Path, *, images: bool = True) -> None:
        self._events, self._images = _summary_writer(Path(folder)), images

    def __call__(self, epoch: int, result: Result) -> None:
        """Write one result and flush it to disk."""
        for tag, value in scalars(result):
            self._events.add_scalar(tag, value, epoch)
        if self._images:
            for tag, image in heat_maps(result):
                self._events.add_image(tag, image, epoch, dataformats="HWC")
        self._events.flush()

    def close(self) -> None:
        """Close the event file."""
        self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def scalars(result: Result) -> Iterator[tuple[str, float]]:
    """Yield the tag and the number for every finite value and interval bound."""
    from invariscope.plots.shared.labels import layer_label

    for row in result.rows:
        stratum = "" if row["stratum"] == "all" else f"/{row['stratum']}"
        place = f"{layer_label(row['layer'], int(row['call']))}{stratum}"
        for column in _BOUNDS:
            value = float(row.get(column, math.nan))
            if math.isfinite(value):
                yield f"{row['measure']}{'' if column == 'value' else f'.{column}'}/{place}", value


def heat_maps(result: Result) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the tag and the image (row, column, RGBA) of all units, for every measure with maps."""
    from invariscope.plots import draw
    from invariscope.plots.shared.labels import map_measures

    for measure in map_measures(result):
        yield f"{measure}/units", pixels(draw("unit_heatmap", result, measure=measure))


def pixels(figure: Figure) -> np.ndarray:
    """Return a drawn figure as bytes (row, column, RGBA)."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba()).copy()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoardWriter needs TensorBoard: pip install 'invariscope[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder))
