"""Correlation of the weights of a network's head with the frequencies of the channels that it reads."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from invariscope.common.cards import Described
from invariscope.common.registry import unknown
from invariscope.lab.weights.chance import Chance, against_permutations, correlation
from invariscope.weights._filters import FilterBank, filter_bank, filter_banks
from invariscope.weights.spectrum import laplacian_modes, mean_frequency, mode_power

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False, repr=False)
class HeadCorrelation(Described):
    """Head weights and mean frequencies per channel, with their correlation.

    Args:
        layer: the convolution with the channels.
        head: the linear layer.
        mean_frequency: (channel,) mean frequency of the channel's filters.
        head_norm: (channel,) norm of the head's weights on the channel.
        chance: the correlation of frequency and norm, compared with that after permuting the channels.
    """

    layer: str
    head: str
    mean_frequency: np.ndarray
    head_norm: np.ndarray
    chance: Chance

    @property
    def correlation(self) -> float:
        """Pearson's correlation; below 0, the head prefers low frequencies. NaN if either does not vary."""
        return self.chance.value

    @property
    def p_value(self) -> float:
        """The two-sided p-value over permutations of the channels."""
        return self.chance.p_value

    @property
    def table(self) -> pd.DataFrame:
        """One row per channel: channel, mean_frequency, head_norm."""
        import pandas as pd

        columns = {"mean_frequency": self.mean_frequency, "head_norm": self.head_norm}
        return pd.DataFrame({"channel": np.arange(len(self.head_norm)), **columns})


def head_frequency_correlation(
    model: nn.Module,
    *,
    layer: str | None = None,
    head: str | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> HeadCorrelation:
    """Correlate, across channels, the norm of the head's weights with the mean frequency of the filters.

    .. math:: \\rho = \\mathrm{corr}_c\\left( \\|W_{\\cdot c}\\|,\\
        \\frac{\\sum_\\lambda \\lambda\\, p_{c\\lambda}}{\\sum_\\lambda p_{c\\lambda}} \\right)

    where W are the weights of the head and p_cλ is the power of the filters of channel c in the eigenspaces
    of the grid Laplacian, summed over input channels (and over positions in a locally connected layer). A
    network with random filters can become stable through its head alone, if the head selects channels of low
    frequency; ρ is then negative.

    Caveats: channels with larger filters need smaller head weights for the same effect.

    Args:
        model: a network with a convolution whose channels a linear layer reads, pooled or per position.
        layer: name of the convolution; None: the last one.
        head: name of the linear layer; None if there is only one.
        permutations: number of permutations of the channels, for the p-value.
        seed: seed of the permutations.
    Raises:
        ValueError: no convolution, an ambiguous or missing head, or a head that does not read the channels of
            the convolution.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, networks of one hidden layer.

    >>> from invariscope.zoo import build
    >>> found = head_frequency_correlation(build("min_cnn", filters=8, kernel_size=3))
    >>> found.layer, found.head, len(found.head_norm)
    ('conv', 'fc', 8)
    """
    bank = filter_banks(model)[-1] if layer is None else filter_bank(model, layer)
    name, linear = _head(model, head)
    norms = _norms(linear, name, bank)
    frequency = _channel_frequency(bank)
    chance = against_permutations(
        lambda order: correlation(norms, frequency[order]), len(norms), permutations=permutations, seed=seed
    )
    return HeadCorrelation(bank.layer, name, frequency, norms, chance)


def _head(model: nn.Module, name: str | None) -> tuple[str, nn.Linear]:
    linear = {key: module for key, module in model.named_modules() if isinstance(module, nn.Linear)}
    if name is None and len(linear) == 1:
        name = next(iter(linear))
    if name is None:
        listed = ", ".join(map(repr, linear)) or "none"
        raise ValueError(
            f"{type(model).__name__} has {len(linear)} linear layers ({listed}): "
            "use head= to name the one that reads the channels."
        )
    if name not in linear:
        raise unknown("linear layer", name, linear)
    return name, linear[name]


def _norms(linear: nn.Linear, name: str, bank: FilterBank) -> np.ndarray:
    """Return the (channel,) norm over classes, and over positions if the head distinguishes them."""
    channels = len(bank.filters)
    if linear.in_features % channels:
        raise ValueError(
            f"{name!r} reads {linear.in_features} values, which is not a multiple of the {channels} channels "
            f"of {bank.layer!r}: use layer= and head= to name two consecutive layers."
        )
    weight = linear.weight.detach().to("cpu", torch.float64).numpy()
    return np.linalg.norm(weight.reshape(len(weight), channels, -1), axis=(0, 2))


def _channel_frequency(bank: FilterBank) -> np.ndarray:
    modes = laplacian_modes(*bank.filters.shape[2:])
    power = mode_power(bank.filters, modes).sum(axis=1)
    return mean_frequency(power, modes.eigenvalues[np.unique(modes.spaces, return_index=True)[1]])
