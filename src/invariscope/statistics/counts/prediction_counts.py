"""Per-element counts of a classifier's predictions along the orbit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.class_labels import labels_among
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.sums import BucketSums, SumStatistic

ROWS = ("accuracy", "probability", "flips")


@dataclass(frozen=True)
class PredictionShares:
    """What is known of the predictions.

    Args:
        samples: (replicate,) numbers of samples.
        shares: (replicate, 3, element) means of `ROWS` over samples; NaN without labels.
        constant: whether all untransformed samples get the same class.
    """

    samples: np.ndarray
    shares: np.ndarray
    constant: bool = False


@dataclass(frozen=True)
class PredictionCounts(SumStatistic):
    """Sums over samples, per element: top-1 correct, probability of the true class, top-1 changed.

    The sums of the untransformed samples' classes, and of their squares, tell whether all are the same.
    Probabilities are the softmax of the outputs, which leaves log-probabilities unchanged. Outputs that
    already are probabilities (non-negative, summing to one) are used directly.
    """

    reads = (Untransformed(),)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for three sums per element, and two more."""
        return 8 * (len(ROWS) * elements + 2)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> BucketSums:
        """Return an empty state."""
        return BucketSums.empty(block, buckets, {"shares": (len(ROWS), block.elements), "classes": (2,)})

    def update(self, state: BucketSums, block: Block) -> None:
        """Add a block of (row, class) outputs."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            raise ValueError(
                "predictions need outputs of shape (sample, class) with at least two classes; "
                f"got (sample, {', '.join(map(str, block.values.shape[1:]))}). "
                "Leave out the measure 'prediction'."
            )
        found = np.full((len(ROWS), block.samples, block.elements), np.nan)
        for name, part in predictions(block, block.orbits()).items():
            found[ROWS.index(name)] = part.cpu().numpy()
        top = block.probe("identity").argmax(-1).double().flatten()
        powers = torch.stack([top, top.square()], dim=-1).cpu().numpy()
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            state.sums["shares"][bucket] += found[:, samples].sum(axis=1)
            state.sums["classes"][bucket] += powers[samples].sum(axis=0)

    def unpack(self, arrays: dict[str, np.ndarray]) -> BucketSums:
        """Restore the sums from arrays, including those of version 0.1.0, which had one unnamed sum."""
        if "sums" not in arrays:
            return super().unpack(arrays)
        unknown = np.full((len(arrays["counts"]), 2), np.nan)
        return BucketSums(arrays["counts"], {"shares": arrays["sums"], "classes": unknown}, (), True)

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> PredictionShares:
        """Return means per element."""
        counts = state.samples(groups)
        total, squares = state.replicates("classes", groups)[0]
        shares = state.replicates("shares", groups) / counts[:, None, None]
        return PredictionShares(counts, shares, bool(counts[0] * squares == total**2))


def predictions(block: Block, outputs: Tensor) -> dict[str, Tensor]:
    """Return (sample, column) `ROWS` of (sample, column, class) outputs.

    Without labels, or if they are words of which it is unknown which outputs they belong to, only flips.
    """
    top = outputs.argmax(-1)
    words = block.labels is not None and block.unaligned
    labels = None if words else labels_among(block, outputs.shape[-1])
    found = {"flips": (top != block.probe("identity").argmax(-1)).double()}
    if labels is None:
        return found
    picked = labels[:, None, None].expand(*top.shape, 1)
    chances = probabilities(outputs.double()).gather(-1, picked)[..., 0]
    return found | {"accuracy": (top == labels[:, None]).double(), "probability": chances}


def probabilities(outputs: Tensor) -> Tensor:
    """Return the outputs if they are class probabilities, otherwise their softmax."""
    proper = (outputs >= 0).all() and torch.allclose(
        outputs.sum(-1), torch.ones((), dtype=outputs.dtype, device=outputs.device), atol=1e-4
    )
    return outputs if proper else outputs.softmax(-1)
