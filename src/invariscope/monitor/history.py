"""History of a monitor: a table over epochs, times, and full results."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from invariscope.common.cards import Card
from invariscope.results.result import COLUMNS, Result
from invariscope.results.rows import PLACE, frame_of

if TYPE_CHECKING:
    import pandas as pd

EPOCH_COLUMNS = ["epoch", *COLUMNS]
TIME_COLUMNS = ["epoch", "measured", "training_seconds", "measuring_seconds"]
PLAIN_COLUMNS = ("epoch", *PLACE, "value", "ci_low", "ci_high")


@dataclass(frozen=True)
class History:
    """Measurements over the epochs of one training run.

    Args:
        rows: the rows of every result, each with its `epoch`.
        time_rows: one mapping per call, with the epoch, whether it was measured, and the seconds before and
            during the call.
        results: full result of every measured epoch.
        settings: settings of the measurements; compared with the monitor's own when a run is resumed.
    """

    rows: tuple[dict[str, Any], ...] = ()
    time_rows: tuple[dict[str, Any], ...] = ()
    results: Mapping[int, Result] = field(default_factory=dict, repr=False)
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __repr__(self) -> str:
        """Return one line with the measured epochs."""
        measures = ", ".join(dict.fromkeys(row["measure"] for row in self.rows)) or "nothing measured yet"
        return f"<History of {self._span}: {measures}; {len(self.rows)} rows in .table>"

    def _repr_html_(self) -> str:
        from invariscope.report.cards import epochs_card

        if not self.results:
            return Card("Nothing measured yet", remarks=["Call the monitor after each epoch."]).html()
        return epochs_card(self.rows, self._remarks()).html()

    def _remarks(self) -> list[str]:
        share = f"{self.overhead:.1%}".replace("%", "\u00a0%")
        cost = [] if math.isnan(self.overhead) else [f"Measuring takes {share} of the training time."]
        return [*cost, f"`.table` has {len(self.rows):,} rows; `.results[epoch]` is a full result."]

    @property
    def _span(self) -> str:
        epochs = list(self.results)
        return f"{len(epochs)} epochs, {epochs[0]} to {epochs[-1]}" if len(epochs) > 1 else f"epochs {epochs}"

    @property
    def table(self) -> pd.DataFrame:
        """One row per epoch × measure × layer × stratum: `epoch`, then the columns of `Result.table`."""
        return frame_of(self.rows, EPOCH_COLUMNS)

    @property
    def times(self) -> pd.DataFrame:
        """One row per call.

        `training_seconds` is the time since the previous call, including tests and logging, and NaN for the
        first call; `measuring_seconds` is the time of the call itself.
        """
        return frame_of(self.time_rows, TIME_COLUMNS)

    @property
    def overhead(self) -> float:
        """Measuring time as a share of training time: at 0.03, epochs take 3 % longer on average.

        Calls with unknown training time are excluded: the one before training, which includes one-time costs,
        and the first one of a resumed run. NaN before the first epoch has passed.
        """
        known = [row for row in self.time_rows if math.isfinite(row["training_seconds"])]
        trained = sum(row["training_seconds"] for row in known)
        return sum(row["measuring_seconds"] for row in known) / trained if trained else math.nan

    def plain_rows(self, epoch: int) -> list[dict[str, Any]]:
        """Return values and intervals of one epoch's rows as JSON values, None for non-finite numbers."""
        rows = ({name: row.get(name) for name in PLAIN_COLUMNS} for row in self.rows if row["epoch"] == epoch)
        return [{k: None if _undefined(value) else value for k, value in row.items()} for row in rows]


def _undefined(value: Any) -> bool:
    return isinstance(value, float) and not math.isfinite(value)
