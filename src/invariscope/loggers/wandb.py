"""Results for Weights & Biases: numbers, the table, and the result's files as an artifact."""

from __future__ import annotations

import importlib
import re
from collections.abc import Iterable, Sequence
from typing import Any

from invariscope.loggers.runs import RunWriter
from invariscope.loggers.scalars import COLUMNS, pixels
from invariscope.results.result import Result

STEP = "invariscope/step"


class WandbWriter(RunWriter):
    """Writer that logs results to a W&B run, for a monitor's `writers` or a single result.

        run = wandb.init(project="digits")
        iv.loggers.WandbWriter(run)(0, result)

    Numbers are logged in float64, named as by `invariscope.loggers.scalars`; the part before the slash is
    their section. Their axis is `invariscope/step`, not W&B's own step, so that they can be logged in any
    order alongside other metrics. Non-finite numbers are omitted, except in the table `invariscope/table`.
    The result's files, for `iv.load`, are the artifact `invariscope-RUN`, one version per step.

    Args:
        run: a W&B run; None: the current one.
        columns: columns of the table to log as numbers.
        curves: whether to log the points of curves as numbers.
        images: whether to log the heat maps of all units.
        artifacts: whether to log the table and the result's files.

    Raises:
        ImportError: the extra `wandb` is not installed.
        ValueError: there is no current run.
    """

    def __init__(
        self,
        run: Any = None,
        *,
        columns: Sequence[str] = COLUMNS,
        curves: bool = True,
        images: bool = False,
        artifacts: bool = True,
    ) -> None:
        super().__init__(columns=columns, curves=curves, images=images, artifacts=artifacts)
        self._wandb = _wandb()
        self._run = self._wandb.run if run is None else run
        if self._run is None:
            raise ValueError("W&B has no current run: call `wandb.init()` first, or pass run=")
        self._known: set[str] = set()

    def __call__(self, step: int, result: Result) -> None:
        """Log one result."""
        found: dict[str, Any] = self.numbers(result)
        self._define(found)
        found |= {name: self._wandb.Image(pixels(figure)) for name, figure in self.heat_maps(result)}
        if self._artifacts:
            found["invariscope/table"] = self._wandb.Table(dataframe=result.table)
        self._run.log({STEP: step, **found})
        if self._artifacts:
            self._log_files(step, result)

    def _define(self, names: Iterable[str]) -> None:
        """Make `invariscope/step` the axis of new names."""
        if not self._known:
            self._run.define_metric(STEP, hidden=True)
        for name in names:
            if name not in self._known:
                self._known.add(name)
                self._run.define_metric(name, step_metric=STEP)

    def _log_files(self, step: int, result: Result) -> None:
        name = re.sub(r"[^\w.-]", "-", f"invariscope-{self._run.id}", flags=re.ASCII)
        artifact = self._wandb.Artifact(name, type="invariscope-result", metadata={"step": step})
        with self.files(result) as folder:
            artifact.add_dir(folder)
        self._run.log_artifact(artifact, aliases=["latest", f"step-{step}"])


def _wandb() -> Any:
    try:
        return importlib.import_module("wandb")
    except ImportError as error:
        raise ImportError("WandbWriter needs W&B: pip install 'invariscope[wandb]'") from error
