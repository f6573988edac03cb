"""A cell that measures how stable single neurons are to local deformations of what they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.base import CellContext, Kind
from invariscope.lab.recipes.kinds.network_result import NetworkResult

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result
    from invariscope.zoo import ImageData


@dataclass(frozen=True, kw_only=True)
class Neurons(NetworkResult):
    """Stability of neurons, as `iv.neuron_stability` measures it.

    Args:
        layers: the modules whose neurons are measured.
        deformations: which; all four by default.
        patches: "random", "maximal" or "top_k".
        options: further options of `iv.neuron_stability`, such as neurons, top_k, pivot, draws, norm.
    """

    layers: list[str]
    deformations: list[str] = field(
        default_factory=lambda: ["translation", "rotation", "compression", "shear"]
    )
    patches: str = "random"
    options: dict[str, Any] = field(default_factory=dict)

    def check(self) -> None:
        """Options and network exist; at least one layer is named."""
        from invariscope.common.registry import refuse_unknown_options
        from invariscope.studies.neurons.settings import NeuronSettings

        super().check()
        if not self.layers:
            raise ValueError("layers is empty: name the modules whose neurons are to be measured")
        own = {"deformations", "patches", "samples", "seed"}
        for name in own & set(self.options):
            raise ValueError(f"{name} is an option of the cell, not of its options")
        refuse_unknown_options(NeuronSettings, self.options)
        NeuronSettings(deformations=self.deformations, patches=self.patches, **self.options)

    def look(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """All layers of one network."""
        data = self.own_standard(data)
        context.log(f"measuring neurons of {', '.join(self.layers)} on {len(data):,} images of {data.name}")
        return self._measured(model, data)

    def _measured(self, model: nn.Module, data: ImageData) -> Result:
        from invariscope.studies.neurons import neuron_stability

        return neuron_stability(
            model,
            self.layers,
            data,
            deformations=self.deformations,
            patches=self.patches,
            seed=self.seed,
            label=self.named,
            **self.options,
        )

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """An image."""
        network, options = self.architecture(other)
        signature = (self.data, network, options, self.layers, self.deformations, self.patches, self.options)
        return ("neurons", *map(str, signature)), float(self.samples or 10000)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """On a few images."""
        return self.seconds_per_sample(
            other, data_dir, lambda model, data, context: self._measured(model, data)
        )
