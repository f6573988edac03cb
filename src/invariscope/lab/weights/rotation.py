"""Test whether a layer combines rotated copies of the same filter of the previous layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import ndimage
from torch import nn

from invariscope.common.cards import Described
from invariscope.lab.weights.chance import Chance, against_permutations, correlation
from invariscope.weights._filters import FilterBank, filter_bank, filter_banks


@dataclass(frozen=True, eq=False, repr=False)
class RotationCoupling(Described):
    """Similarity of filters up to rotation, and their coupling by the next layer.

    Args:
        first, second: names of the two layers.
        excess: (filter, filter) similarity up to rotation minus plain similarity, 0 to 2.
        coupling: (filter, filter) correlation of the second layer's weights on the two filters, -1 to 1.
        chance: the correlation of excess and coupling over pairs, compared with that after permuting filters.
    """

    first: str
    second: str
    excess: np.ndarray
    coupling: np.ndarray
    chance: Chance

    @property
    def correlation(self) -> float:
        """Pearson's correlation over pairs of different filters; NaN if either does not vary."""
        return self.chance.value

    @property
    def z(self) -> float:
        """The correlation as a z-score relative to the permutations."""
        return self.chance.z

    @property
    def p_value(self) -> float:
        """The two-sided p-value over permutations of the filters."""
        return self.chance.p_value


def rotation_coupling(
    model: Any,
    *,
    first: str | None = None,
    second: str | None = None,
    angles: int = 8,
    permutations: int = 999,
    seed: int = 0,
) -> RotationCoupling:
    """Test whether filters that are rotations of each other are read by the same units of the next layer.

    .. math:: e_{kk'} = \\max_\\theta \\cos(R_\\theta w_k, w_{k'}) - \\cos(w_k, w_{k'}), \\qquad
        c_{kk'} = \\mathrm{corr}_o(\\|v_{ok}\\|, \\|v_{ok'}\\|), \\qquad
        z = \\frac{r - \\langle r_\\pi \\rangle}{\\mathrm{sd}(r_\\pi)}, \\quad
        r = \\mathrm{corr}_{k < k'}(e, c)

    where w_k are the filters of the first layer, v_ok those of the second (scalars if it is linear), and r_π
    is the correlation with the labels of the filters permuted in c. Pooling over rotations of a template, a
    proposed mechanism of invariance in hierarchies, makes r large; for random weights, z is within a few
    units of 0.

    Caveats: only templates present in several orientations are detected. Rotations of small filters are
    blurred unless they are quarter turns; `angles=4` uses only quarter turns.

    Args:
        model: a module or state dict with at least two convolutions.
        first: name of the layer with the filters; None: the first convolution.
        second: name of the layer that follows: a convolution or, after a mean over the image, a linear layer
            with one input per filter; None: the convolution after the first.
        angles: number of evenly spaced rotations, including 0; quarter turns are exact, others bilinear.
        permutations: number of permutations of the filters.
        seed: seed of the permutations.
    Raises:
        TypeError: neither a module nor a state dict.
        ValueError: too few convolutions, layers that are not consecutive, filters that are not square or have
            one pixel, or fewer than two angles.

    Source:
        Poggio and Anselmi 2016, Visual Cortex and Deep Networks, MIT Press, and Anselmi et al. 2013,
        arXiv:1311.4158, for the hypothesis; the statistic is a Mantel test (1967, Cancer Research 27, 209).

    >>> from invariscope.zoo import build
    >>> planted = rotation_coupling(build("orbit_pooling", orbits=6))
    >>> planted.first, planted.second, planted.correlation > 0.7, planted.z > 5
    ('conv1', 'conv2', True, True)
    """
    one, two = _layers(model, first, second)
    if angles < 2:
        raise ValueError(f"angles must be at least 2, including 0 degrees; got {angles}.")
    excess, coupling = rotation_excess(one.filters, angles=angles), _coupling(two)
    pairs = np.triu_indices(len(excess), 1)
    chance = against_permutations(
        lambda order: correlation(excess[pairs], coupling[np.ix_(order, order)][pairs]),
        len(excess),
        permutations=permutations,
        seed=seed,
    )
    return RotationCoupling(one.layer, two.layer, excess, coupling, chance)


def rotation_excess(filters: np.ndarray, *, angles: int) -> np.ndarray:
    """Return by how much the best rotation increases the cosine similarity, symmetric (filter, filter).

    Args:
        filters: (filter, in, k, k); the similarity with a zero filter is 0.
        angles: number of evenly spaced rotations, including 0.

    >>> edge = np.array([[[1.0, -1.0], [1.0, -1.0]]])
    >>> rotation_excess(np.stack([edge, -edge]), angles=4).tolist()
    [[0.0, 2.0], [2.0, 0.0]]
    """
    plain = _cosines(filters, filters)
    turned = [_cosines(_rotated(filters, 360 * j / angles), filters) for j in range(angles)]
    best = np.max(turned, axis=0)
    excess = (best + best.T) / 2 - plain
    # Interpolation can give a filter a spurious excess over itself.
    np.fill_diagonal(excess, 0.0)
    return excess.clip(min=0.0)


def _rotated(filters: np.ndarray, angle_deg: float) -> np.ndarray:
    turns, rest = divmod(angle_deg, 90)
    exact = np.rot90(filters, int(turns), axes=(2, 3))
    return ndimage.rotate(exact, rest, axes=(3, 2), reshape=False, order=1) if rest else exact


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    first, second = (_directions(part.reshape(len(part), -1)) for part in (a, b))
    return first @ second.T


def _directions(rows: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 0)


def _coupling(second: FilterBank) -> np.ndarray:
    """Return the (filter, filter) correlation, over outputs, of the norms of the weights on two filters."""
    norms = np.linalg.norm(second.filters, axis=(2, 3))
    centred = _directions((norms - norms.mean(axis=0)).T)
    return centred @ centred.T


def _reader(model: Any, name: str) -> FilterBank:
    """Return the filters of the second layer; those of a linear layer have one pixel."""
    weights = model.state_dict() if isinstance(model, nn.Module) else model
    weight = weights.get(f"{name}.weight") if isinstance(weights, Mapping) else None
    if weight is None or weight.ndim != 2:
        return filter_bank(model, name)
    (bank,) = filter_banks({name: weight[:, :, None, None]})
    return bank


def _layers(model: Any, first: str | None, second: str | None) -> tuple[FilterBank, FilterBank]:
    banks = filter_banks(model, "*")
    names = [bank.layer for bank in banks]
    one = banks[0] if first is None else filter_bank(model, first)
    after = names.index(one.layer) + 1
    if second is None and after == len(names):
        raise ValueError(f"no convolution follows {one.layer!r}; found {', '.join(map(repr, names))}.")
    two = banks[after] if second is None else _reader(model, second)
    if two.filters.shape[1] != len(one.filters):
        raise ValueError(
            f"{two.layer!r} reads {two.filters.shape[1]} channels, but {one.layer!r} has {len(one.filters)}: "
            "use first= and second= to name two consecutive layers that are not grouped convolutions."
        )
    height, width = one.filters.shape[2:]
    if height != width or height < 2:
        raise ValueError(
            f"{one.layer!r} has filters of {height} x {width}: only square filters of at least 2 x 2 can be "
            "rotated."
        )
    return one, two
