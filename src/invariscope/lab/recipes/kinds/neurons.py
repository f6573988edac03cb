"""A cell that measures the stability of single neurons to deformations of their receptive fields."""

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
    """Stability of neurons, as in `iv.neuron_stability`.

    Args:
        layers: the modules whose neurons are measured.
        deformations: names of deformations; by default all four.
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
        """Reject unknown options; require at least one layer."""
        from invariscope.common.registry import refuse_unknown_options
        from invariscope.studies.neurons.settings import NeuronSettings

        if not self.layers:
            raise ValueError("layers is empty: name the modules whose neurons are measured")
        for name in {"deformations", "patches", "samples", "seed"} & set(self.options):
            raise ValueError(f"{name} is an option of the cell: move it out of the table `options`")
        refuse_unknown_options(NeuronSettings, self.options, name="neuron_stability")
        NeuronSettings(deformations=self.deformations, patches=self.patches, **self.options)

    def whole_result(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Return the measurement."""
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
            progress=False,
            **self.options,
        )

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count images as units of work."""
        return self.units_of(other, "layers", "deformations", "patches", "options")
