"""Options of `neuron_stability`, validated at construction."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.common.checks import refuse_other, set_integers
from invariscope.common.draws import Stream, numpy_generator
from invariscope.studies.neurons.deformations import KINDS, Deformations

PATCHES = ("random", "maximal", "top_k")
PIVOTS = ("centre", "centroid")


@dataclass(frozen=True, kw_only=True)
class NeuronSettings:
    """Options documented in `neuron_stability`."""

    deformations: Sequence[str] = KINDS
    patches: str = "random"
    top_k: int = 16
    pivot: str = "centre"
    neurons: int | Sequence[int] | None = None
    amplitude: float = 1.0
    norm: str = "rms"
    draws: int = 1
    samples: int | None = None
    min_firing: int = 20
    batch_size: int = 256
    seed: int = 0

    def __post_init__(self) -> None:
        kinds = (self.deformations,) if isinstance(self.deformations, str) else self.deformations
        object.__setattr__(self, "deformations", tuple(kinds))
        refuse_other(self, patches=PATCHES, pivot=PIVOTS)
        set_integers(self, top_k=1, draws=1, batch_size=1, min_firing=0)
        _ = self.ensemble  # checks its own options

    @property
    def ensemble(self) -> Deformations:
        """Deformations of the patches."""
        return Deformations(tuple(self.deformations), self.amplitude, self.norm, self.draws, self.seed)

    @property
    def described(self) -> dict[str, Any]:
        """Options that affect the numbers, for the provenance."""
        found = dataclasses.asdict(self) | {"deformations": list(self.deformations)}
        if self.patches != "top_k":
            del found["top_k"]
        if found["neurons"] is not None and not isinstance(found["neurons"], int):
            found["neurons"] = [int(neuron) for neuron in found["neurons"]]
        return {name: value for name, value in found.items() if name not in ("batch_size", "seed")}

    def chosen(self, layer: str, maps: int) -> np.ndarray:
        """Return the indices of the feature maps to measure, (neuron,), for a layer with `maps` of them."""
        if self.neurons is None:
            return np.arange(maps)
        if isinstance(self.neurons, int | np.integer):
            if not 1 <= self.neurons <= maps:
                raise ValueError(f"neurons={self.neurons}, but layer {layer!r} has {maps} feature maps")
            return np.sort(numpy_generator(self.seed, Stream.NEURON).permutation(maps)[: self.neurons])
        found = np.asarray(self.neurons)
        if found.ndim != 1 or found.dtype.kind not in "iu" or not len(found):
            raise ValueError(f"neurons must be indices of feature maps; got {self.neurons!r}")
        if found.min() < 0 or found.max() >= maps or len(np.unique(found)) < len(found):
            raise ValueError(
                f"neurons must be distinct feature maps of layer {layer!r}, 0 to {maps - 1}; got "
                f"{found.tolist()}"
            )
        return found
