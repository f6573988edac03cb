"""Results for TensorBoard: a curve per number, heat maps, and a summary."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from invariscope.loggers.scalars import COLUMNS, heat_maps, pixels, scalars
from invariscope.results.result import Result


class TensorBoardWriter:
    """Writer that saves scalars and heat maps to event files, for a monitor's `writers`.

    Scalars are named as by `invariscope.loggers.scalars`: a layer's value over all samples is tagged
    `MEASURE/LAYER`, its value for a class `MEASURE/LAYER/CLASS`, and numbers of other columns
    `MEASURE.ci_low/...` and so on. The step is the epoch. Event files hold scalars in float32. Non-finite
    values are omitted. The heat map of all units is an image tagged `MEASURE/units`.

    Args:
        folder: folder of the event files, as in `tensorboard --logdir FOLDER`; or a PyTorch
            `SummaryWriter`, which stays open at the end.
        columns: columns of the table to write.
        curves: whether to write the points of curves.
        images: whether to draw the heat maps, which takes a fraction of a second per measure.

    Raises:
        ImportError: the extra `tensorboard` is not installed.
    """

    def __init__(
        self, folder: Any, *, columns: Sequence[str] = COLUMNS, curves: bool = True, images: bool = True
    ) -> None:
        self._own = isinstance(folder, str | Path)
        self._events = _summary_writer(Path(folder)) if self._own else folder
        self._columns, self._curves, self._images = tuple(columns), curves, images

    def __call__(self, epoch: int, result: Result) -> None:
        """Write one result and flush it to disk."""
        for tag, value in scalars(result, columns=self._columns, curves=self._curves):
            self._events.add_scalar(tag, value, epoch)
        if self._images:
            for tag, figure in heat_maps(result):
                self._events.add_image(tag, pixels(figure), epoch, dataformats="HWC")
        self._events.flush()

    def close(self) -> None:
        """Close the event file, unless the `SummaryWriter` was passed in."""
        if self._own:
            self._events.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _summary_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise ImportError(
            "TensorBoardWriter needs TensorBoard: pip install 'invariscope[tensorboard]'"
        ) from error
    return SummaryWriter(str(folder))
