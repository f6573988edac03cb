"""A cell that reads a network's weights: filter spectra, Gabor fits, couplings, over its training."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.base import CellContext, Kind, architecture, check_one_model
from invariscope.lab.recipes.kinds.network_result import RESULT
from invariscope.lab.recipes.kinds.training import network_after
from invariscope.lab.recipes.kinds.weight_rows import ANALYSES, Findings, check_analysis

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result


@dataclass(frozen=True, kw_only=True)
class Weights(Kind):
    """An analysis of a network's weights, as `invariscope.weights` has them, at stages of its training.

    What it finds in the trained network stands under the stratum "all", what it finds after epoch K under
    "epoch K". Ratios are to the first of the epochs.

    Args:
        analysis: "filter_spectrum", "gabor", "rotation_coupling" or "head_correlation".
        model: a cell that trains. None: a network as it is built.
        epochs: of those that the training keeps, looked at as well, in this order; 0: before training.
        network, network_options, seed: the network as it is built, for digits of 28 x 28.
        layers: names or patterns of convolutions; None: those that the analysis takes by itself.
        settings: further options of the analysis, such as angles or permutations.
        label: the model's name in figures.
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
        """None: weights need no data."""
        return ()

    def check(self) -> None:
        """The analysis exists; exactly one model is named; a network as it is built has no epochs."""
        check_analysis(self.analysis, self.settings)
        check_one_model(self.model, self.network, self.network_options)
        if self.network is not None and self.epochs:
            raise ValueError(f"a network as it is built has no epochs; got epochs={self.epochs}")

    def run(self, context: CellContext) -> None:
        """Writes `result/`."""
        self.looked(self._stages(context), context).save(context.folder / RESULT)

    def looked(self, stages: Iterator[tuple[int | None, nn.Module]], context: CellContext) -> Result:
        """What is found at (epoch, network) of each stage; ratios are to the first, the last is "all"."""
        from invariscope.results.result import Result

        rows, curves, arrays, epochs, start = [], [], {}, {}, None
        for number, (epoch, model) in enumerate(stages):
            start = start or model
            stratum = "all" if number == len(self.epochs) else f"epoch {epoch}"
            epochs[stratum] = epoch
            context.log(f"{self.analysis}, {stratum}")
            found = self._found(model, start).of_stratum(stratum)
            rows += found[0]
            curves += found[1]
            arrays |= found[2]
        name = self.label or self.model or self.network
        about = {"analysis": self.analysis, "epochs": epochs, **self.settings}
        # Values of one cell are of the same filters, so that their differences are paired.
        provenance = {"model": {"name": name, "label": name}, "weights": about,
                      "data": {"fingerprint": f"weights of {self.model or self.network}"}}  # fmt: skip
        return Result(tuple(rows), tuple(curves), arrays, provenance)

    def _found(self, model: nn.Module, start: nn.Module) -> Findings:
        before = start if self.epochs else None
        return ANALYSES[self.analysis](model, before, self.layers, **self.settings)

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
        """Return a stage of training."""
        named = (*architecture(self, other), self.settings)
        return ("weights", self.analysis, *map(str, named)), 1.0 + len(self.epochs)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Analyse random weights."""
        from invariscope import zoo

        network, options = architecture(self, other)
        started = time.perf_counter()
        bare = replace(self, epochs=[])
        bare.looked(iter([(None, zoo.build(network, **options))]), CellContext(Path(), Path()))
        return time.perf_counter() - started
