"""Results for MLflow: metrics, and the result's files as artifacts."""

from __future__ import annotations

import hashlib
import importlib
import re
import time
from collections.abc import Iterator, Sequence
from typing import Any

from invariscope.loggers.places import refuse_equal
from invariscope.loggers.runs import RunWriter
from invariscope.loggers.scalars import COLUMNS
from invariscope.results.result import Result

_FORBIDDEN = re.compile(r"[^\w\-. /]", re.ASCII)
# Names with such parts are refused, because the file store makes a file of each metric.
_NO_FOLDER = re.compile(r"(^|/)\.{0,2}(?=/|$)")
_CALL = re.compile(r", call (\d+)(?=/|$)")
_SHORT_CALL = re.compile(r" call (\d+)(?=/|$)")
_MARKED = re.compile("-[0-9a-f]{6}$")
_LONGEST = 200  # of the 250 characters that MLflow accepts
_AT_ONCE = 500  # metrics per request; at most 1,000 are accepted


class MLflowWriter(RunWriter):
    """Writer that logs results to an MLflow run, for a monitor's `writers` or a single result.

        with mlflow.start_run():
            iv.loggers.MLflowWriter()(0, result)

    Numbers become metrics with the step as their MLflow step, in float64. They are named as by
    `invariscope.loggers.scalars`; since MLflow accepts only letters, digits and `_-. /`, other characters are
    replaced, see `metric_name`. Non-finite numbers are omitted as metrics, because MLflow's stores change
    them. The result's files, for `iv.load`, its table as CSV, and heat maps are artifacts in
    `invariscope/step-STEP`.

    Args:
        run: id of the run, or an MLflow `Run`; None: the active run.
        client: an `MlflowClient`, for a server other than the current one.
        columns: columns of the table to log as metrics.
        curves: whether to log the points of curves as metrics.
        images: whether to draw the heat maps of all units.
        artifacts: whether to log the result's files.

    Raises:
        ImportError: the extra `mlflow` is not installed.
        ValueError: there is no active run.
    """

    def __init__(
        self,
        run: Any = None,
        *,
        client: Any = None,
        columns: Sequence[str] = COLUMNS,
        curves: bool = True,
        images: bool = False,
        artifacts: bool = True,
    ) -> None:
        super().__init__(columns=columns, curves=curves, images=images, artifacts=artifacts)
        mlflow = _mlflow()
        run = mlflow.active_run() if run is None else run
        if run is None:
            raise ValueError("MLflow has no active run: use `with mlflow.start_run():`, or pass run=")
        self._run = run if isinstance(run, str) else run.info.run_id
        self._client = mlflow.MlflowClient() if client is None else client

    def __call__(self, step: int, result: Result) -> None:
        """Log one result."""
        metric = _mlflow().entities.Metric
        now = int(time.time() * 1000)
        found = self.numbers(result)
        names = {name: metric_name(name) for name in found}
        refuse_equal(names.items())
        metrics = [metric(names[name], value, now, step) for name, value in found.items()]
        for first in range(0, len(metrics), _AT_ONCE):
            self._client.log_batch(self._run, metrics=metrics[first : first + _AT_ONCE])
        place = f"invariscope/step-{step}"
        if self._artifacts:
            with self.files(result) as folder:
                self._client.log_artifacts(self._run, folder, place)
        for name, figure in self.heat_maps(result):
            self._client.log_figure(self._run, figure, f"{place}/{metric_name(name)}.png")
        for name, value in _tags(result):
            self._client.set_tag(self._run, name, value)


def metric_name(name: str) -> str:
    """Return a name that MLflow accepts for one of `scalars`; different names stay different.

    After the measure, a slash becomes " - ", because MLflow's file store cannot hold both "conv1" and
    "conv1/3". ", call 1", for a second run of a shared module, becomes " call 1". Other characters that are
    not allowed become "_", and a digest of the name is appended, as it is to names that look changed.

    >>> metric_name("normalized_variance/block1/relu, call 1")
    'normalized_variance/block1 - relu call 1'
    >>> metric_name("curve/prediction.accuracy/output/3")
    'curve/prediction.accuracy/output - 3'
    >>> metric_name("normalized_variance/fc/5°")
    'normalized_variance/fc - 5_-0d2d11'
    """
    folders = 2 if name.startswith("curve/") else 1
    *parts, rest = name.split("/", folders)
    flat = _CALL.sub(r" call \1", rest).replace("/", " - ")
    plain = "/".join([*parts, flat])
    safe = _NO_FOLDER.sub(r"\1_", _FORBIDDEN.sub("_", plain))
    original = _SHORT_CALL.sub(r", call \1", flat.replace(" - ", "/")) == rest
    if safe == plain and original and len(safe) <= _LONGEST and not _MARKED.search(safe):
        return safe
    mark = hashlib.blake2b(name.encode(errors="backslashreplace"), digest_size=3).hexdigest()
    return f"{safe[:_LONGEST]}-{mark}"


def _tags(result: Result) -> Iterator[tuple[str, str]]:
    """Yield tags by which runs can be searched."""
    record = result.provenance
    yield "invariscope.model", result.name
    for name, part in (("transform", "family"), ("data", "name")):
        if known := record.get(name, {}).get(part):
            yield f"invariscope.{name}", str(known)
    yield "invariscope.version", str(record.get("versions", {}).get("invariscope", "unknown"))
    yield "invariscope.seed", str(record.get("seed", "unknown"))


def _mlflow() -> Any:
    try:
        return importlib.import_module("mlflow")
    except ImportError as error:
        raise ImportError("MLflowWriter needs MLflow: pip install 'invariscope[mlflow]'") from error
