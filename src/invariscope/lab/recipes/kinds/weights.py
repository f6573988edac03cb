"""A cell that analyses the weights of a network over its training: spectra, Gabor fits, couplings."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.base import CellContext, Kind, architecture, check_one_model
from invariscope.lab.recipes.kinds.network_result import RESULT
from invariscope.lab.recipes.kinds.training import network_after
from invariscope.lab.recipes.kinds.weight_rows import ANALYSES, check_analysis

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Weights(Kind):
    """An analysis of the weights of a network, from `invariscope.weights`, at stages of its training.

    The stratum "all" is the trained network, "epoch K" the network after epoch K. Ratios are
    relative to the first of the epochs.

    Args:
        analysis: "filter_spectrum", "gabor", "rotation_coupling" or "head_correlation".
        model: a training cell. None: an untrained network.
        epochs: further epochs to analyse, among those that the training keeps; 0: before training.
        network, network_options, seed: the untrained network, for digits of 28 × 28 pixels.
        layers: names or patterns of convolutions; None: the default of the analysis.
        settings: further options of the analysis, such as angles or permutations.
        label: the name of the model in figures.
    """

    analysis: str
    model: str | None = None
    epochs: list[int] = field(default_factory=list)
    network: str | None = None
    network_options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    layers: list[str] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    label: str | None = None

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """Empty: weights need no data."""
        return ()

    def check(self) -> None:
        """Reject unknown analyses and epochs of an untrained network; require exactly one model."""
        check_analysis(self.analysis, self.settings)
        check_one_model(self.model, self.network, self.network_options)
        if self.network is not None and self.epochs:
            raise ValueError(f"an untrained network has no epochs; got epochs={self.epochs}")

    def run(self, context: CellContext) -> None:
        """Write `result/`."""
        self.analysed(self._stages(context), context).save(context.folder / RESULT)

    def analysed(self, stages: Iterator[tuple[int | None, nn.Module]], context: CellContext) -> Result:
        """Analyse (epoch, network) stages; ratios are relative to the first, and the last is "all"."""
        from invariscope.results.result import Result

        rows, points, arrays, epochs, start = [], [], {}, {}, None
        for number, (epoch, model) in enumerate(stages):
            start = start or model
            stratum = "all" if number == len(self.epochs) else f"epoch {epoch}"
            epochs[stratum] = epoch
            context.log(f"{self.analysis}, {stratum}")
            before = start if self.epochs else None
            found = ANALYSES[self.analysis](model, before, self.layers, **self.settings)
            rows += [replace(row, stratum=stratum) for row in found.rows]
            points += [replace(point, stratum=stratum) for point in found.points]
            arrays |= {(measure, layer, stratum, 0): array for (measure, layer), array in found.maps.items()}
        name = self.label or self.model or self.network
        about = {"analysis": self.analysis, "epochs": epochs, **self.settings}
        # All values of a cell come from the same filters, so their differences are paired.
        provenance = {"model": {"name": name, "label": name}, "weights": about,
                      "data": {"fingerprint": f"weights of {self.model or self.network}"}}  # fmt: skip
        return Result(tuple(rows), tuple(points), arrays, provenance)

    def _stages(self, context: CellContext) -> Iterator[tuple[int | None, nn.Module]]:
        from invariscope import zoo

        if self.model is None:
            assert self.network is not None
            yield None, zoo.build(self.network, seed=self.seed, **self.network_options)
            return
        folder = context.inputs[self.model]
        for epoch in self.epochs:
            yield epoch, network_after(folder, epoch)[0]
        model, card = network_after(folder)
        yield (card.training or {}).get("epochs"), model

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count stages of training as units of work."""
        named = (*architecture(self, other), self.settings)
        return ("weights", self.analysis, *map(str, named)), 1.0 + len(self.epochs)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Time the analysis of random weights."""
        from invariscope import zoo

        network, options = architecture(self, other)
        started = time.perf_counter()
        bare = replace(self, epochs=[])
        bare.analysed(iter([(None, zoo.build(network, **options))]), CellContext(Path(), Path()))
        return time.perf_counter() - started
