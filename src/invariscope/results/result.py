"""Labelled results: a table, per-unit maps, per-element curves, and provenance."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.cards import Card
from invariscope.common.wording import visible
from invariscope.results.maps import DrawnMap, MapKey, Maps
from invariscope.results.rows import PLACE, BaselineRow, Point, Row, frame_of, layer_keys
from invariscope.results.shard import Shard

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

    from invariscope.results.exports import Frame, Part
    from invariscope.results.model_card import ModelCard

COLUMNS = [
    *PLACE,
    *("value", "ci_low", "ci_high", "corrected", "null", "floor", "value_ratio", "ratio_low", "ratio_high"),
    "chance",
    *(
        "samples",
        "elements",
        "units",
        "units_total",
        "drawing_error",
        "dead_units",
        "sparse_units",
        "undefined",
        "note",
    ),
]
CURVE_COLUMNS = [
    *PLACE,
    *("element", "label", "parameter", "x"),
    *("value", "ci_low", "ci_high", "corrected", "samples"),
]
BASELINE_COLUMNS = [*PLACE, "mean", "low", "high", "draws"]


@dataclass(frozen=True)
class Result:
    """Result of `iv.measure`: plain data that saving and loading preserve.

    Args:
        rows: one per measure × layer × stratum, with the columns of `table` and the leave-one-group-out
            values behind the interval, if there is one. Mappings of columns are converted to rows.
        curve_rows: one per measure × layer × element.
        arrays: per-unit maps. If only some units were drawn, the map is a `DrawnMap`; `maps` converts it to
            an array in the shape of the layer.
        provenance: versions, seed, model, data, transform, options and notes.
        examples: input and feature images of one orbit, for the report.
        baseline_rows: one per measure × layer × stratum, with the values of networks with random weights.
        shard: set if this is one process's part of a measurement, which has no rows: see `iv.merge`.
    """

    rows: tuple[Row, ...]
    curve_rows: tuple[Point, ...] = ()
    arrays: Mapping[MapKey, np.ndarray | DrawnMap] = field(default_factory=dict, repr=False)
    provenance: dict[str, Any] = field(default_factory=dict, repr=False)
    examples: Mapping[str, np.ndarray] = field(default_factory=dict, repr=False)
    baseline_rows: tuple[BaselineRow, ...] = field(default=(), repr=False)
    shard: Shard | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        measures = self.provenance.get("measures", {})
        for name, kind in (("rows", Row), ("curve_rows", Point), ("baseline_rows", BaselineRow)):
            rows = tuple(kind.of(row, measures) for row in getattr(self, name))
            object.__setattr__(self, name, rows)

    def __repr__(self) -> str:
        """Return one line that says what was measured."""
        if self.shard is not None:
            return f"<{self.shard!r} of {visible(self.name)}; iv.merge([...]) joins the shards to one result>"
        layers = layer_keys(self.rows)
        measures = ", ".join(dict.fromkeys(row.measure for row in self.rows))
        counted = f"{len(layers)} layers, {len(self.rows)} rows in .table"
        return f"<Result of {visible(self.name)}: {measures}; {counted}>"

    @property
    def name(self) -> str:
        """Label of the model, by default its class name."""
        model = self.provenance.get("model", {})
        return str(model.get("label") or model.get("name") or "model")

    @property
    def table(self) -> pd.DataFrame:
        """One row per measure × layer × stratum, with layers in execution order.

        `corrected` is the bias-corrected estimate at the centre of the interval. `undefined` is the number of
        terms left out because they have no value. `note` says why a number or an interval is missing.
        Numbers that do not apply are NaN.
        """
        self._refuse_shard("table")
        return self._table.copy()

    @cached_property
    def _table(self) -> pd.DataFrame:
        return frame_of(self.rows, COLUMNS)

    @property
    def curves(self) -> pd.DataFrame:
        """One row per measure × layer × element, such as accuracy against angle."""
        self._refuse_shard("curves")
        return frame_of(self.curve_rows, CURVE_COLUMNS)

    @property
    def baseline(self) -> pd.DataFrame:
        """Mean and central 95 % of each layer value for the same architecture with random weights.

        Empty unless requested with `iv.measure(..., baseline="random")`.
        """
        self._refuse_shard("baseline")
        return frame_of(self.baseline_rows, BASELINE_COLUMNS)

    @property
    def notes(self) -> pd.DataFrame:
        """Rows of the table with a note, which says why a number or an interval is missing."""
        return frame_of([row for row in self.rows if row.note], [*PLACE, "note"])

    @property
    def cautions(self) -> pd.DataFrame:
        """Rows whose value may be due to insensitivity or chance instead of invariance, with the reason."""
        return frame_of([row for row in self.rows if row.caution], [*PLACE, "caution"])

    @property
    def maps(self) -> Maps:
        """Per-unit values: `maps[measure, layer]`, `maps[measure, layer, stratum, call]`."""
        self._refuse_shard("maps")
        return Maps(self.arrays)

    def overall(self, measure: str = "normalized_variance", *, stratum: str = "all") -> float:
        """Return the mean over the units of all layers, without excluded units; large layers weigh more.

        The experiments of Quiroga et al. 2019 report this number for each network. Compare it only between
        networks of the same architecture.

        Raises:
            ValueError: the result does not have this measure or stratum.
        """
        self._refuse_shard("rows")
        rows = [row for row in self.rows if (row.measure, row.stratum) == (measure, stratum)]
        if not rows:
            known = sorted({(row.measure, row.stratum) for row in self.rows})
            raise ValueError(f"no rows of {measure!r} for stratum {stratum!r}; the result has {known}")
        used = [row for row in rows if np.isfinite(row.value)]
        weights = [row.counted_units for row in used]
        return float(np.average([row.value for row in used], weights=weights)) if used else float("nan")

    def labelled(self, label: str) -> Result:
        """Return a copy of the result with another model name, which tables and plots show."""
        return self._of_model(label=label)

    def weighted(self, weights: str) -> Result:
        """Return a copy of the result with a description of the model's weights, such as "random, seed 0".

        Reports show the description next to the model's name. It is stored in
        `provenance["model"]["weights"]`.
        """
        return self._of_model(weights=weights)

    def _of_model(self, **facts: str) -> Result:
        model = {**self.provenance.get("model", {}), **facts}
        return replace(self, provenance={**self.provenance, "model": model})

    def _refuse_shard(self, what: str) -> None:
        """Raise ValueError if this is one process's part of a measurement."""
        if self.shard is not None:
            self.shard.refuse(what)

    def save(self, folder: str | Path, *, overwrite: bool = False) -> Path:
        """Write result.json and maps.safetensors, or the sums of a shard, to `folder`: all or nothing.

        An older result is replaced as a whole: if the process is killed, the folder loads as the older result
        or as the new one. Files of other names stay.

        Raises:
            FileExistsError: the folder is not empty, and `overwrite` is not set.
            OSError: the folder cannot be written to, or another process is writing to it. If all files were
                finished, they are kept, and the message says where.
        """
        from invariscope.results import storage

        return storage.save(self, Path(folder), overwrite=overwrite)

    def report(self, path: str | Path = "report.html") -> Path:
        """Write a self-contained HTML report and return its path."""
        from invariscope.report import write_report

        self._refuse_shard("report")
        return write_report(self, Path(path))

    def plot(self, name: str, **options: Any) -> Figure:
        """Return a matplotlib figure of this result, like `iv.plot(name, result, ...)`."""
        from invariscope.plots import draw

        self._refuse_shard("rows to plot")
        return draw(name, self, **options)

    def to_xarray(self, part: Part = "table") -> Any:
        """Return the result as an `xarray.Dataset`.

        Args:
            part: "table" gives the columns of the table over (measure, layer, call, stratum); "curves" those
                of the curves over (measure, layer, call, stratum, element); "maps" one variable per map,
                named by measure and layer, with the key of the map in its attributes.
        Raises:
            ImportError: the extra `xarray` is not installed.
        """
        from invariscope.results import exports

        return exports.to_xarray(self, part)

    def to_parquet(self, path: str | Path, *, part: Frame = "table") -> Path:
        """Write the table to a parquet file, and return its path; an existing file is replaced.

        `pandas.read_parquet(path)` restores the table with its types and NaN, and the provenance as
        `frame.attrs["invariscope"]`.

        Args:
            path: the file.
            part: "table", "curves" or "baseline".
        Raises:
            ImportError: the extra `parquet` is not installed.
            OSError: the file cannot be written. An existing file is then unchanged.
        """
        from invariscope.results import exports

        return exports.to_parquet(self, Path(path), part)

    def model_card(self, *, task: str = "other", dataset: str | None = None) -> ModelCard:
        """Return a section for the model card of a Hugging Face repository, and its metadata.

            card = result.model_card(task="image-classification")
            card.text          # Markdown: the main finding, a table with intervals, how it was measured
            card.save("README.md")  # with the metadata on top

        Args:
            task: the task of the model, in the words of the Hugging Face Hub.
            dataset: the id of the data set on the Hub; by default, the name of the data.
        """
        from invariscope.results.model_card import model_card

        self._refuse_shard("rows for a model card")
        return model_card(self, task=task, dataset=dataset)

    def _repr_html_(self) -> str:
        if self.shard is not None:
            part = repr(self.shard).removeprefix("shard ")
            return Card(f"Shard {part} of {self.name}", remarks=[self.shard.remedy]).html()
        from invariscope.report.cards import result_card

        return result_card(self).html()
