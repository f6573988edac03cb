"""A cell that tests the theory of constant filters by simulation."""

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
    """A measurement of the stability of each layer of `zoo.constant_filters`.

    The images are those of `zoo.scale_detection`, transformed by `zoo.unit_displacements` or by noise of the
    same norm. Layer k is called relu{k}.

    Args:
        layers, dimensions, filter_size, stride: as in `zoo.constant_filters`.
        size: pixels per side.
        samples: number of images.
        seed: seed of images and noise.
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
        """Empty: the images are generated."""
        return ()

    def check(self) -> None:
        """Reject invalid networks, and sizes that are not divisible by the strides."""
        from invariscope.lab.training.constant_filters import constant_filters

        constant_filters(self.layers, **self._options)
        if self.size % self.stride**self.layers:
            raise ValueError(
                f"{self.layers} layers with stride {self.stride} need a size that is a multiple of "
                f"{self.stride**self.layers}; got size={self.size}"
            )

    def run(self, context: CellContext) -> None:
        """Write `result/`."""
        self.measured(self.samples).save(context.folder / RESULT)

    def measured(self, samples: int) -> Result:
        """Return D, G and R of every layer, measured on `samples` images."""
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
            rows="all",
        )

    @property
    def _options(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("dimensions", "filter_size", "stride")}

    def cost_units(self, other: Mapping[str, Kind]) -> tuple[Any, float]:
        """Count images as units of work."""
        parts = (self.layers, self.size, self.dimensions, self.filter_size, self.stride)
        return ("constant_filters", *map(str, parts)), float(self.samples)

    def time_one_unit(self, other: Mapping[str, Kind], data_dir: Path | None) -> float:
        """Time a repeated measurement of a few images."""
        self.measured(_FEW)
        started = time.perf_counter()
        self.measured(_FEW)
        return (time.perf_counter() - started) / _FEW
