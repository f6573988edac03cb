"""Mean cosine distances between all pairs of responses, from sums of normalised responses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.errors import NonFiniteError
from invariscope.statistics.fixed_points import FixedPoints
from invariscope.statistics.mean_distances import LayerDistances, MeanDistances, as_channels
from invariscope.statistics.sums import BucketSums, SumStatistic
from invariscope.statistics.visits import Visits

# Cosines are between -1 and 1; their sums over pairs are accurate to about this.
_ROUNDING = 1e-13


@dataclass(frozen=True)
class CosineSums(SumStatistic):
    """Sums of normalised responses, for whole layers and for single channels.

    With h = û − p for n' vectors û of length 1 and a fixed direction p per stratum, the mean of 1 − cos over
    their pairs is (n'·Σ‖h‖² − ‖Σh‖²)/(n'(n' − 1)). This is the variance of û, summed over components, and is
    accurate even if all vectors point in nearly the same direction. Zero vectors are left out and counted.
    """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for one sum per unit and element, or two for maps (layer and channels)."""
        return 16 * units * elements

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the reference directions: as many as for a bucket."""
        return 16 * units * elements

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return an empty state."""
        views = _views(block)
        sizes = {
            f"{view}.{name}": size
            for view, vectors in views.items()
            for name, size in _sizes(*vectors.shape[1:]).items()
        }
        points = (len(views), block.elements, math.prod(block.values.shape[1:]))
        return BucketSums.empty(block, buckets, sizes | {"decisive": (3,)}, fixed=points)

    def update(self, state: BucketSums, block: Block) -> None:
        """Add a block's orbits."""
        fixed = state.points
        found = {view: _directions(vectors) for view, vectors in _views(block).items()}
        fixed.meet(block.membership, partial(_first_directions, found))
        visits = Visits.of(block.membership, block.clusters)
        along = found["layer"]["along"].cpu().numpy()[:, 0]
        state.sums["decisive"][visits.buckets] += visits.sums_of_clusters(along)
        state.counts[visits.buckets] += visits.sizes
        for number, (view, parts) in enumerate(found.items()):
            for bucket, stratum, samples in visits:
                _add(state, view, bucket, parts, samples, fixed.values[stratum, number])

    def relative_to(self, state: BucketSums, fixed: FixedPoints) -> dict[str, np.ndarray]:
        """Return the sums relative to other reference points."""
        moves, sums = state.points.moves_to(fixed), dict(state.sums)
        for number, view in enumerate(name for name in ("layer", "channels") if f"{name}.rows" in sums):
            own, present = sums[f"{view}.directions"], sums[f"{view}.present"][..., None]
            move = moves[:, number].reshape(own.shape)
            sums[f"{view}.directions"] = own + present * move
            grown = (move * (2 * own + present * move)).sum(axis=-1)
            sums[f"{view}.squares"] = sums[f"{view}.squares"] + grown
        return sums

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> LayerDistances:
        """Return mean cosine distances for all samples, and with each group left out."""
        channels = "channels.directions" in state.sums
        state = self.together(state, groups)
        return LayerDistances(
            _distances(state, "layer", groups), _distances(state, "channels", groups) if channels else None
        )


def _views(block: Block) -> dict[str, Tensor]:
    """Return (sample, element, vector, component) responses, as one vector and, for maps, per channel."""
    values = as_channels(block)
    views = {"layer": values.flatten(2)[:, :, None]}
    return views | ({"channels": values} if block.values.ndim > 2 else {})


def _sizes(elements: int, vectors: int, components: int) -> dict[str, tuple[int, ...]]:
    return {
        "directions": (elements, vectors, components),
        "squares": (elements, vectors),
        "present": (elements, vectors),
        "along": (vectors,),
        "rows": (vectors,),
    }


def _first_directions(found: dict[str, dict[str, Tensor]], sample: int) -> np.ndarray:
    """Return the (view, element, unit) directions of one sample."""
    parts = [part["directions"][sample].flatten(1).cpu().numpy() for part in found.values()]
    return np.stack(parts)


def _add(
    state: BucketSums,
    view: str,
    bucket: int,
    parts: dict[str, Tensor],
    samples: np.ndarray,
    fixed: np.ndarray,
) -> None:
    """Add some samples to a bucket's sums for one view."""
    chosen = {name: part[torch.from_numpy(samples).to(part.device)] for name, part in parts.items()}
    own = chosen["directions"]
    offsets = own - torch.from_numpy(fixed).to(own.device).reshape(own.shape[1:])
    chosen["directions"] = offsets * chosen["present"][..., None]
    chosen["squares"] = chosen["directions"].square().sum(-1)
    for name, part in chosen.items():
        state.sums[f"{view}.{name}"][bucket] += part.sum(0).cpu().numpy()


def _directions(vectors: Tensor) -> dict[str, Tensor]:
    """Return each sample's contributions to the sums, from (sample, element, vector, component) responses."""
    lengths = vectors.norm(dim=-1)
    if not lengths.sum().isfinite():
        raise NonFiniteError
    present = lengths > 0
    directions = vectors / torch.where(present, lengths, 1.0)[..., None]
    counts = present.sum(1)
    mean = directions.sum(1) / counts.clamp_min(1)[..., None]
    spread = ((directions - mean[:, None]).square().sum(-1) * present).sum(1)
    usable = counts > 1
    along = torch.where(usable, spread / (counts - 1).clamp_min(1), 0.0)
    return {"directions": directions, "present": present, "along": along, "rows": usable}


def _distances(state: BucketSums, view: str, groups: list[list[int]]) -> MeanDistances:
    along, rows, present = (
        state.replicates(f"{view}.{name}", groups) for name in ("along", "rows", "present")
    )
    sums, squared = state.sums[f"{view}.directions"], state.replicates(f"{view}.squares", groups)
    parts = [sums[members].sum(axis=0) for members in groups]
    whole = sum(parts[1:], parts[0])
    # One replicate at a time, to save memory: each has one value per unit and element.
    squares = [np.square(whole).sum(-1)]
    squares += [np.square(whole - part).sum(-1) for part in parts] if len(parts) > 1 else []
    with np.errstate(divide="ignore", invalid="ignore"):
        across = (present * squared - np.stack(squares)) / (present * (present - 1))
        across = _above_rounding(np.where(present > 1, across, np.nan))
        defined = np.isfinite(across)
        mean = np.where(defined, across, 0.0).sum(axis=1) / defined.sum(axis=1)
        missing = state.samples(groups)[0] * present.shape[1] * present.shape[2] - present[0].sum()
        decisive = state.replicates("decisive", groups)[0]
        return MeanDistances(_above_rounding(along / rows), mean, decisive, int(missing))


def _above_rounding(distances: np.ndarray) -> np.ndarray:
    """Set distances between unit vectors to zero if rounding can explain them."""
    return np.where(distances < _ROUNDING, 0.0, distances)
