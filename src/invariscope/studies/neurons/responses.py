"""Stability of each neuron from its responses to patches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invariscope.intervals import GROUPS
from invariscope.measures.values import UnitValues


@dataclass(frozen=True)
class NeuronResponses:
    """Responses of the neurons of one layer.

    Args:
        moved: (patch, neuron, kind) mean over draws of (a(τx) − a(x))².
        rest: (patch, neuron) a(x).
        image: (patch, neuron) index of the patch's image.
        other: (image, neuron) a(z) for one random patch z per image.
        group: (image,) jackknife group.
        double: whether the responses were float64.
    """

    moved: np.ndarray
    rest: np.ndarray
    image: np.ndarray
    other: np.ndarray
    group: np.ndarray
    double: bool

    def values(self, kind: int, *, min_firing: int, replicates: bool) -> UnitValues:
        """Return the stability of every neuron to one kind of deformation.

        Args:
            kind: index of the deformation.
            min_firing: neurons that respond to fewer random patches than this are excluded, unless there are
                fewer patches in all.
            replicates: whether to repeat the estimate without each jackknife group of images.
        """
        kept = [np.ones(len(self.other), bool)]
        if replicates:
            kept += [self.group != group for group in range(GROUPS)]
        above, below = (np.stack(part) for part in zip(*(self._parts(kind, k) for k in kept), strict=True))
        still = below[0] <= 2 * self._rounding
        dead = still & (above[0] <= 2 * self._rounding)
        firing = (self.other != 0).sum(axis=0)
        sparse = (firing < min_firing) & ~dead & (len(self.other) >= min_firing)
        with np.errstate(divide="ignore", invalid="ignore"):
            values = np.where(dead, np.nan, np.where(still, np.inf, above / below))
            ratio = (above * ~dead).sum(axis=1) / (below * ~dead).sum(axis=1)
        return UnitValues(
            values,
            ~dead & ~still & ~sparse,
            dead=int(dead.sum()),
            sparse=int(sparse.sum()),
            infinite=int((still & ~dead).sum()),
            ratio=ratio,
        )

    @property
    def _rounding(self) -> np.ndarray:
        """(neuron,) largest variance that counts as zero, as for the normalized variance."""
        tiny = 1e-10 if self.double else 32 * float(np.finfo(np.float32).eps)
        rms = np.sqrt(np.square(self.other).mean(axis=0))
        return np.square(tiny * np.maximum(rms, 1e-3 * np.sqrt(np.square(rms).mean())))

    def _parts(self, kind: int, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return numerator and denominator of each neuron over the kept images."""
        own = kept[self.image]
        count = own.sum(axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            above = (self.moved[:, :, kind] * own).sum(axis=0) / count
            return above, self._apart(own, count, kept)

    def _apart(self, own: np.ndarray, count: np.ndarray, kept: np.ndarray) -> np.ndarray:
        """Return ⟨(a(x) − a(z))²⟩ over patches x and random patches z of all other images."""
        middle = self.other.mean(axis=0)
        x, z = (self.rest - middle) * own, (self.other - middle) * kept[:, None]
        images = kept.sum()
        same = np.take_along_axis(self.other, self.image, axis=0) - self.rest
        pairs = images * (x**2).sum(axis=0) + count * (z**2).sum(axis=0) - 2 * x.sum(axis=0) * z.sum(axis=0)
        return (pairs - (same**2 * own).sum(axis=0)) / (count * (images - 1))
