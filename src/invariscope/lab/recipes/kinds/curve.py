"""A cell that measures a network under deformations of increasing size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from invariscope.lab.recipes.kinds.base import CellContext, Kind
from invariscope.lab.recipes.kinds.network_result import NetworkResult

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import Result
    from invariscope.zoo import ImageData


@dataclass(frozen=True, kw_only=True)
class Curve(NetworkResult):
    """Stability and predictions against the size of the change of the input, as in `iv.stability_curve`.

    Args:
        radii: number of temperatures from T1/15 to 2·T2, or a list of temperatures.
        cutoff, interpolation: as in `iv.stability_curve`.
        layers: patterns of layers to measure besides the output.
        logits: use the input of the network's final log-softmax as the output, as in the publication.
        precision: as in `iv.measure`.
    """

    radii: int | list[float] = 30
    cutoff: int = 3
    interpolation: Literal["bilinear", "cubic", "gaussian"] = "bilinear"
    layers: list[str] | None = None
    logits: bool = False
    precision: Literal["float32", "float64", "bf16"] = "float32"

    def check_own(self) -> None:
        """Reject temperatures that `DeformationLadder` does not accept."""
        from invariscope.transforms import DeformationLadder

        if isinstance(self.radii, list):
            DeformationLadder(tuple(self.radii), c=self.cutoff, interpolation=self.interpolation)
        elif self.radii < 2:
            raise ValueError(f"radii must be at least 2, or a list of temperatures; got radii={self.radii}")

    def whole_result(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Return the measurement."""
        return self.measured(model, self.own_standard(data), context)

    def measured(self, model: nn.Module, data: ImageData, context: CellContext) -> Result:
        """Measure deformations, noise and steps towards other samples in one pass."""
        from invariscope.studies.stability_curve import OUTPUT, stability_curve

        context.log(f"measuring the curves of {len(data):,} samples of {data.name}")
        return stability_curve(
            before_softmax(model) if self.logits else model,
            data,
            radii=self.radii,
            cutoff=self.cutoff,
            interpolation=self.interpolation,
            layers=self.layers or OUTPUT,
            precision=self.precision,
            seed=self.seed,
            label=self.named,
            progress=False,
            rows="all",
        )

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count samples as units of work; a unit includes all changed versions of the sample."""
        return self.units_of(other, "radii", "cutoff", "interpolation", "layers", "precision")


def before_softmax(model: nn.Module) -> nn.Module:
    """Remove a final log-softmax from a network, in place.

    Raises:
        ValueError: the network does not end with a log-softmax.
    """
    from torch import nn

    name, last = list(model.named_children())[-1]
    if not isinstance(last, nn.LogSoftmax):
        raise ValueError(f"logits needs a network that ends with a log-softmax; this one ends with {name!r}")
    setattr(model, name, nn.Identity())
    return model
