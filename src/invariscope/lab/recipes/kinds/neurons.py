"""A cell that measures how stable single neurons are to local deformations of what they see."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
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

    def check_own(self) -> None:
        """Options exist; at least one layer is named."""
        from invariscope.common.registry import refuse_unknown_options
        from invariscope.studies.neurons.settings import NeuronSettings

        if not self.layers:
            raise ValueError("layers is empty: name the modules whose neurons are to be measured")
        for name in {"deformations", "patches", "samples", "seed"} & set(self.options):
            raise ValueError(f"{name} is an option of the cell, not of its options")
        refuse_unknown_options(NeuronSettings, self.options, name="neuron_stability")
        NeuronSettings(deformations=self.deformations, patches=self.patches, **self.options)

    def whole_result(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """The measurement alone."""
        return self.measured(model, self.own_standard(data), context)

    def measured(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Measure all layers of one network."""
        from invariscope.studies.neurons import neuron_stability

        context.log(f"measuring neurons of {', '.join(self.layers)} on {len(data):,} images of {data.name}")
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
        """Return an image."""
        return self.units_of(other, "layers", "deformations", "patches", "options")
