"""Filter spectra over the epochs of a training run."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.weights._filters import filter_banks
from invariscope.weights.spectrum import spectrum_of

if TYPE_CHECKING:
    import pandas as pd

COLUMNS = ("epoch", "layer", "eigenvalue", "multiplicity", "power")


def training_spectra(
    stages: Mapping[int, Any] | Iterable[tuple[int, Any]], layers: str | Sequence[str] | None = None
) -> pd.DataFrame:
    """Return the filter spectra of convolutions at stages of training, with ratios to the first stage.

    Args:
        stages: {epoch: model or state dict}, or an iterable of such pairs.
        layers: names or globs of convolutions; None selects all whose filters have more than one pixel.
    Returns:
        One row per epoch × layer × eigenvalue: epoch, layer, eigenvalue, multiplicity, power, ratio.
    Raises:
        TypeError, ValueError: as in `filter_spectrum`; also if there are no stages.

    >>> import torch
    >>> stages = {0: {"conv.weight": torch.ones(2, 1, 3, 3)}, 5: {"conv.weight": 3 * torch.ones(2, 1, 3, 3)}}
    >>> training_spectra(stages).query("eigenvalue == 0")
       epoch layer  eigenvalue  multiplicity  power  ratio
    0      0  conv         0.0             1    9.0    1.0
    6      5  conv         0.0             1   81.0    9.0
    """
    pairs: Any = stages.items() if isinstance(stages, Mapping) else stages
    return spectrum_table([row for epoch, source in pairs for row in _rows(source, epoch, layers)])


@dataclass(frozen=True)
class SpectrumRecorder:
    """Record the filter spectra of a network in training: `zoo.train(..., monitor=recorder)`.

    In your own training loop, call it with the model and the number of finished epochs. It does not change
    the model.

    Args:
        layers: names or globs of convolutions; None selects all whose filters have more than one pixel.

    >>> from invariscope.zoo import build
    >>> recorder = SpectrumRecorder("conv1")
    >>> len(recorder(build("simple_conv", filters=2), 0))
    6
    >>> list(recorder.table["ratio"]) == [1.0] * 6
    True
    """

    layers: str | Sequence[str] | None = None
    _rows: dict[int, list[dict[str, Any]]] = field(default_factory=dict, init=False, repr=False)

    def __call__(self, model: Any, epoch: int) -> list[dict[str, Any]]:
        """Record this epoch, replacing earlier records of it, and return the records as plain values."""
        self._rows[epoch] = _rows(model, epoch, self.layers)
        return self._rows[epoch]

    @property
    def table(self) -> pd.DataFrame:
        """The records in the form of `training_spectra`."""
        return spectrum_table([row for epoch in sorted(self._rows) for row in self._rows[epoch]])


def spectrum_table(records: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """Return the records of a training run as a table, with ratios to the earliest epoch of each layer.

    Args:
        records: records of a `SpectrumRecorder`, such as `Training.measured`, including a resumed run's.
    Raises:
        ValueError: there are no records.
    """
    import pandas as pd

    rows = [{name: record[name] for name in COLUMNS} for record in records if set(COLUMNS) <= set(record)]
    if not rows:
        raise ValueError("there are no spectra: give at least one stage, or train with a SpectrumRecorder")
    table = pd.DataFrame(rows, columns=list(COLUMNS)).sort_values("epoch", kind="stable", ignore_index=True)
    start = table.groupby(["layer", "eigenvalue"])["power"].transform("first").to_numpy(float)
    return table.assign(ratio=table["power"] / np.where(start > 0, start, np.nan))


def _rows(source: Any, epoch: int, layers: str | Sequence[str] | None) -> list[dict[str, Any]]:
    tables = [spectrum_of(bank).table.drop(columns="ratio") for bank in filter_banks(source, layers)]
    return [{"epoch": int(epoch), **row} for table in tables for row in table.to_dict("records")]
