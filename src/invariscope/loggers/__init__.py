"""Results in experiment trackers and training loops: torchmetrics, TensorBoard, MLflow, Weights & Biases.

    with iv.loggers.MLflowWriter() as writer:
        writer(epoch, result)

A writer is called with a step and a result; a monitor calls each of its `writers` in this way after every
measurement. The trackers' libraries are imported only when used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from invariscope.loggers.mlflow import MLflowWriter
from invariscope.loggers.scalars import COLUMNS, scalars
from invariscope.loggers.tensorboard import TensorBoardWriter
from invariscope.loggers.wandb import WandbWriter

if TYPE_CHECKING:
    from invariscope.loggers.metric import SymmetryMetric

__all__ = ["COLUMNS", "MLflowWriter", "SymmetryMetric", "TensorBoardWriter", "WandbWriter", "scalars"]


def __getattr__(name: str) -> Any:
    if name == "SymmetryMetric":  # a subclass of a class in an optional package
        from invariscope.loggers.metric import SymmetryMetric

        return SymmetryMetric
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
