"""A cell that simulates what theory says of constant filters."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from invariscope.lab.recipes.kinds.base import CellContext, Kind
from invariscope.lab.recipes.kinds.network_result import RESULT

if TYPE_CHECKING:
    from invariscope.results.result import Result

_FEW = 16


@dataclass(frozen=True, kw_only=True)
class ConstantFilters(Kind):
    """The stability of every layer of `zoo.constant_filters` to displacements of bright pixels and to noise.

    The images are those of `zoo.scale_detection`, displaced by `zoo.unit_displacements`; the noise has the
    norm of the displacement. Layer k is relu{k}.

    Args:
        layers, dimensions, filter_size, stride: of the network.
        size: pixels a side.
        samples: images.
        seed: of images and noise.
        label: the name in figures.
    """

    layers: int
    size: int
    dimensions: int = 2
    filter_size: int = 3
    stride: int = 1
    samples: int = 128
    seed: int = 0
    label: str | None = None

    @property
    def data_sets(self) -> tuple[tuple[str, str], ...]:
        """None: the images are made."""
        return ()

    def check(self) -> None:
        """The network can be made, and its last layer still has places."""
        from invariscope.lab.training.constant_filters import constant_filters

        constant_filters(self.layers, **self._options)
        if self.size % self.stride**self.layers:
            raise ValueError(
                f"strides of {self.stride} in {self.layers} layers divide the side by "
                f"{self.stride**self.layers}, which size={self.size} is no multiple of"
            )

    def run(self, context: CellContext) -> None:
        """Writes `result/`."""
        self.measured(self.samples).save(context.folder / RESULT)

    def measured(self, samples: int) -> Result:
        """D, G and R of every layer over so many images."""
        from invariscope import zoo
        from invariscope.engine.api import measure
        from invariscope.measures.stability import Stability

        data = zoo.scale_detection(samples, size=self.size, dimensions=self.dimensions, seed=self.seed)
        return measure(
            zoo.constant_filters(self.layers, **self._options),
            data.images,
            zoo.unit_displacements(dimensions=self.dimensions),
            measures=[Stability()],
            layers=[f"relu{number}" for number in range(1, self.layers + 1)],
            seed=self.seed,
            label=self.label,
            progress=False,
        )

    @property
    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("dimensions", "filter_size", "stride")}

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """An image."""
        parts = (self.layers, self.size, self.dimensions, self.filter_size, self.stride)
        return ("constant_filters", *map(str, parts)), float(self.samples)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """A few images, the second time they are measured."""
        self.measured(_FEW)
        started = time.perf_counter()
        self.measured(_FEW)
        return (time.perf_counter() - started) / _FEW
