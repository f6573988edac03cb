"""`iv.Monitor`: the same measurement every k epochs of a training run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from invariscope.common.checks import integer
from invariscope.engine.api import measure
from invariscope.measures.base import as_measures
from invariscope.monitor.clock import Clock, Lap
from invariscope.monitor.history import TIME_COLUMNS, History
from invariscope.monitor.saved import (
    JSON_NAME,
    SavedResults,
    load_history,
    save_history,
    save_index,
    save_result,
)
from invariscope.monitor.settings import as_options, described, probe_set, refuse_other_settings
from invariscope.readers.base import as_reader
from invariscope.results.result import Result
from invariscope.transforms import as_transform

if TYPE_CHECKING:
    import pandas as pd

Writer: TypeAlias = Callable[[int, Result], None]


class Monitor:
    """Monitor that measures a model every k epochs on a fixed probe set, in any training loop.

    Call it with the model and the number of finished epochs: `monitor(model, 0)` before training, then after
    each epoch. It measures in eval mode and restores weights, modes, gradients and all random generators, so
    that training proceeds as it would without the monitor.

    The probe set is a seeded subset that is kept in memory and used at every epoch, so that differences
    between epochs are due to the network alone. With 256 samples and 16 elements, a measurement of SimpleConv
    costs as much as training on about 2,000 samples, which is 3 to 4 % of an epoch of MNIST. For smaller
    training sets, use fewer samples or a larger `every`; `overhead` reports the actual cost.

    Caveats: with 256 samples, intervals are wide. Epochs share their samples, so a change between two epochs
    is known more precisely than their two intervals suggest: use `iv.compare`.

    Args:
        data: as for `iv.measure`, preferably not used for training; read once, at construction.
        transform: a `Transform`, or a list of callables on batches.
        every: measure when the number of finished epochs is a multiple of this.
        measures: measure objects or registry names.
        layers: as for `iv.measure`; None means all. Fewer layers cost less.
        by_class: also measure each class alone, and the mean over classes.
        samples: size of the probe set; None means 256, or all data if there are fewer.
        seed: seed of the subset and of the transform's draws.
        folder: folder in which to save every measurement. If it holds measurements with the same settings,
            the monitor continues them, so that an interrupted run keeps its curves. None keeps results only
            in memory.
        writers: functions called with the epoch and result of every measurement, such as a
            `TensorBoardWriter`.
        label: name of the model in tables and plots.
        options: further options of `iv.measure`, such as `precision` or `device`.

    Raises:
        ValueError: `every` below 1, unusable data or names, or a folder with different settings.
        TypeError: an option that `iv.measure` does not have.

    >>> import torch, invariscope as iv
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(81, 3))
    >>> monitor = iv.Monitor(torch.rand(64, 1, 9, 9), iv.QuarterTurns(), every=2)
    >>> for epoch in range(5):
    ...     rows = monitor(model, epoch)
    >>> monitor.table[["epoch", "layer"]].values.tolist()
    [[0, '0'], [0, '1'], [2, '0'], [2, '1'], [4, '0'], [4, '1']]
    """

    def __init__(
        self,
        data: Any,
        transform: Any,
        *,
        every: int = 1,
        measures: Any = ("normalized_variance",),
        layers: Any = None,
        by_class: bool = False,
        samples: int | None = None,
        seed: int = 0,
        folder: str | Path | None = None,
        writers: Iterable[Writer] = (),
        label: str | None = None,
        **options: Any,
    ) -> None:
        self._every = integer("every", every)
        self._transform, self._measures = as_transform(transform), as_measures(measures)
        self._writers, self._label = tuple(writers), label
        own = {"layers": layers, "by_class": by_class, "samples": samples, "seed": seed}
        self._options = as_options(options, **own)
        self._probes = probe_set(data, samples, self._options.seed)
        self._folder = None if folder is None else Path(folder)
        self._clock = Clock()
        self._history = self._resumed(described(self._probes, self._transform, self._measures, self._options))

    def __call__(self, model: Any, epoch: int) -> list[dict[str, Any]] | None:
        """Measure if the epoch is due and was not measured before.

        Args:
            model: as for `iv.measure`, in any mode and on any device.
            epoch: number of finished epochs, 0 before training.

        Returns:
            The epoch's rows as plain values (`History.plain_rows`), for a log or a training history; None if
            the epoch is not due.

        Raises:
            ValueError: the epoch precedes the last one, or was measured with other weights; a layer does not
                exist; responses are unusable, such as non-finite ones.
            TypeError: the model cannot be read.
        """
        epoch = integer("epoch", epoch, least=0)
        return self._visit(model, epoch, due=epoch % self._every == 0)

    def __repr__(self) -> str:
        """Return one line with what was measured so far."""
        return f"<Monitor, every {self._every} epochs: {self._history!r}>"

    def _repr_html_(self) -> str:
        return self._history._repr_html_()

    def measure(self, model: Any, epoch: int) -> list[dict[str, Any]]:
        """Measure even if the epoch is not due, for instance after the last epoch of a run."""
        rows = self._visit(model, integer("epoch", epoch, least=0), due=True)
        assert rows is not None
        return rows

    def rewind(self, epoch: int) -> None:
        """Discard everything after this epoch, for a run that returns to an earlier state."""
        old = self._history
        self._history = replace(
            old,
            rows=tuple(row for row in old.rows if row["epoch"] <= epoch),
            time_rows=tuple(row for row in old.time_rows if row["epoch"] <= epoch),
            results=self._results({e: None for e in old.results if e <= epoch}),
        )
        if self._folder is not None and len(self._history.time_rows) < len(old.time_rows):
            save_index(self._folder, self._history)

    @property
    def history(self) -> History:
        """All measurements so far, as an immutable value."""
        return self._history

    @property
    def table(self) -> pd.DataFrame:
        """One row per epoch × measure × layer × stratum: `History.table`."""
        return self._history.table

    @property
    def times(self) -> pd.DataFrame:
        """One row per call with its times: `History.times`."""
        return self._history.times

    @property
    def overhead(self) -> float:
        """Measuring time as a share of training time: `History.overhead`."""
        return self._history.overhead

    @property
    def results(self) -> Mapping[int, Result]:
        """Full result of every measured epoch, including maps."""
        return self._history.results

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Save all measurements so far, for `load_history` or for `folder=`."""
        return save_history(self._history, folder, overwrite=overwrite)

    def _visit(self, model: Any, epoch: int, *, due: bool) -> list[dict[str, Any]] | None:
        with self._clock.lap() as lap:
            new = self._is_new(model, epoch)
            if new and due:
                self._add(epoch, self._measured(model, epoch))
        if new and (due or epoch > self._last):
            self._note_time(epoch, lap, measured=due)
        return self._history.plain_rows(epoch) if epoch in self.results else None

    @property
    def _last(self) -> int:
        """The latest epoch passed to a call; -1 before the first call."""
        return max((row["epoch"] for row in self._history.time_rows), default=-1)

    def _is_new(self, model: Any, epoch: int) -> bool:
        """Return whether this epoch has not been measured yet, by this monitor or the run it continues."""
        known = self.results.get(epoch)
        if known is None and epoch < self._last:
            raise ValueError(
                f"epoch {epoch} was given after epoch {self._last}; pass the number of finished epochs. "
                f"To return to an earlier state, call monitor.rewind({epoch}) first; for another training "
                "run, create a new Monitor with a new folder."
            )
        measured = None if known is None else known.provenance["model"].get("weights_digest")
        if measured is not None and measured != as_reader(model).identity().weights:
            raise ValueError(
                f"epoch {epoch} was already measured with other weights. For another training run, create a "
                "new Monitor with a new folder; to return to an earlier state, call monitor.rewind first."
            )
        return known is None

    def _measured(self, model: Any, epoch: int) -> Result:
        given = vars(self._options) | {"samples": None, "label": self._label}
        try:
            result = measure(model, self._probes, self._transform, measures=self._measures, **given)
        except (TypeError, ValueError) as error:
            kind = TypeError if isinstance(error, TypeError) else ValueError
            raise kind(f"measuring after epoch {epoch} failed: {error}") from error
        training = {"name": result.name, "epoch": epoch}
        provenance = {**result.provenance, "training": training}
        return replace(result, provenance=provenance).labelled(f"{result.name}, epoch {epoch}")

    def _add(self, epoch: int, result: Result) -> None:
        if self._folder is not None:
            save_result(self._folder, epoch, result)
        old = self._history
        self._history = replace(
            old,
            rows=old.rows + tuple({"epoch": epoch, **row} for row in result.rows),
            results=self._results({**dict.fromkeys(old.results), epoch: result}),
        )
        for write in self._writers:
            write(epoch, result)

    def _results(self, found: Mapping[int, Result | None]) -> Mapping[int, Result]:
        """Return the results of these epochs, read from the folder if there is one."""
        if self._folder is not None:
            return SavedResults(self._folder, tuple(found))
        return {e: self._history.results[e] if result is None else result for e, result in found.items()}

    def _note_time(self, epoch: int, lap: Lap, *, measured: bool) -> None:
        row = dict(zip(TIME_COLUMNS, (epoch, measured, lap.before, lap.during), strict=True))
        self._history = replace(self._history, time_rows=(*self._history.time_rows, row))
        if self._folder is not None:
            save_index(self._folder, self._history)

    def _resumed(self, settings: dict[str, Any]) -> History:
        if self._folder is None:
            return History(settings=settings)
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ValueError(f"cannot save measurements in {self._folder}: {error}") from error
        if not (self._folder / JSON_NAME).exists():
            return History(settings=settings)
        history = load_history(self._folder)
        refuse_other_settings(self._folder, history.settings, settings)
        return history
