"""Per-element counts of what a classifier predicts along the orbit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.base import Statistic, replicate_sums, with_buckets
from invariscope.statistics.class_labels import labels_among

ROWS = ("correct", "probability", "flipped")


@dataclass
class PredictionState:
    """(bucket, 3, element) sums of `ROWS`, and the samples counted in each bucket."""

    counts: np.ndarray
    sums: np.ndarray
    labelled: bool


@dataclass(frozen=True)
class PredictionShares:
    """(replicate, 3, element) means of `ROWS` over samples; NaN where there are no labels."""

    samples: np.ndarray
    shares: np.ndarray


@dataclass(frozen=True)
class PredictionCounts(Statistic):
    """Sums over samples, per element: top-1 correct, probability of the true class, top-1 changed.

    Probabilities are the softmax of the outputs; log-probabilities are left unchanged by it, and
    outputs that already are probabilities (non-negative, summing to one) are taken as they are.
    """

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Three sums an element."""
        return 8 * len(ROWS) * elements

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> PredictionState:
        """An empty state."""
        counts = np.zeros(buckets, np.int64)
        return PredictionState(
            counts, np.zeros((buckets, len(ROWS), block.elements)), block.labels is not None
        )

    def update(self, state: PredictionState, block: Block) -> None:
        """Adds a block of (row, class) outputs."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            raise ValueError(
                "predictions need outputs of shape (sample, class) with at least two classes; "
                f"the model's output is (sample, {', '.join(map(str, block.values.shape[1:]))}). "
                "Leave out the measure 'prediction'."
            )
        sums = self._per_sample(block)
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            state.sums[bucket] += sums[:, samples].sum(axis=1)

    def _per_sample(self, block: Block) -> np.ndarray:
        """(3, sample, element) float64."""
        outputs = block.orbits().double()
        top = outputs.argmax(-1)
        found = np.full((len(ROWS), *top.shape), np.nan)
        if "identity" in block.probes:
            found[2] = (top != block.probe("identity").argmax(-1)).cpu().numpy()
        labels = labels_among(block, outputs.shape[-1])
        if labels is not None:
            found[0] = (top == labels[:, None]).cpu().numpy()
            picked = labels[:, None, None].expand(*top.shape, 1)
            found[1] = probabilities(outputs).gather(-1, picked)[..., 0].cpu().numpy()
        return found

    def enlarge(self, state: PredictionState, buckets: int) -> None:
        """Room for more buckets."""
        state.counts, state.sums = with_buckets(state.counts, buckets), with_buckets(state.sums, buckets)

    def pack(self, state: PredictionState) -> dict[str, np.ndarray]:
        """The sums as arrays."""
        return {"counts": state.counts, "sums": state.sums, "labelled": np.array(state.labelled)}

    def unpack(self, arrays: dict[str, np.ndarray]) -> PredictionState:
        """The sums from arrays."""
        return PredictionState(arrays["counts"], arrays["sums"], bool(arrays["labelled"]))

    def merge(self, first: PredictionState, second: PredictionState) -> PredictionState:
        """Counts of both."""
        return PredictionState(first.counts + second.counts, first.sums + second.sums, first.labelled)

    def finalize(self, state: PredictionState, groups: list[list[int]]) -> PredictionShares:
        """Means per element."""
        counts = replicate_sums(np.array([state.counts[members].sum() for members in groups], float))
        sums = replicate_sums(np.stack([state.sums[members].sum(axis=0) for members in groups]))
        return PredictionShares(counts, sums / counts[:, None, None])


def probabilities(outputs: Tensor) -> Tensor:
    """The outputs themselves where they are probabilities of the classes, else their softmax."""
    proper = (outputs >= 0).all() and torch.allclose(
        outputs.sum(-1), torch.ones((), dtype=outputs.dtype, device=outputs.device), atol=1e-4
    )
    return outputs if proper else outputs.softmax(-1)
