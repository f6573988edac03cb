"""Which channels the head listens to: the smooth ones?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from invariscope.common.registry import unknown
from invariscope.lab.weights.chance import Chance, against_permutations, correlation
from invariscope.weights._filters import FilterBank, filter_bank, filter_banks
from invariscope.weights.spectrum import laplacian_modes, mean_frequency, mode_power

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class HeadCorrelation:
    """How the head's weights go with the frequency of the channels that they read.

    Args:
        layer: the convolution whose channels they are.
        head: the linear layer.
        mean_frequency: (channel,) of the channel's filters.
        head_norm: (channel,) norm of the head's weights on it.
        chance: the correlation of the two among those with permuted channels.
    """

    layer: str
    head: str
    mean_frequency: np.ndarray
    head_norm: np.ndarray
    chance: Chance

    @property
    def correlation(self) -> float:
        """Pearson's; below 0, the head prefers channels of low frequency. NaN if one does not vary."""
        return self.chance.value

    @property
    def p_value(self) -> float:
        """Two-sided, over permutations of the channels."""
        return self.chance.p_value

    @property
    def table(self) -> pd.DataFrame:
        """A row per channel: channel, mean_frequency, head_norm."""
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
    """Correlation over channels of the head's weight norm with the mean frequency of the filters.

    .. math:: \\rho = \\mathrm{corr}_c\\left( \\|W_{\\cdot c}\\|,\\
        \\frac{\\sum_\\lambda \\lambda\\, p_{c\\lambda}}{\\sum_\\lambda p_{c\\lambda}} \\right)

    with W the weights of the head and p_cλ the power of channel c's filters in the eigenspaces of the grid
    Laplacian, summed over input channels (and over places, in a locally connected layer). A network whose
    filters stay random can become stable by its head alone, if that selects the channels of low frequency:
    then ρ < 0.

    Caveats: channels of larger filters need smaller head weights for the same effect.

    Args:
        model: a convolution whose channels a linear layer reads, pooled or place by place.
        layer: name of the convolution; None: the last one.
        head: name of the linear layer; None where there is only one.
        permutations: of the channels, for the p-value.
        seed: of the permutations.
    Raises:
        ValueError: no convolution, no or several linear layers and no name, or a head that does not read
            that convolution's channels.

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
            "name the one that reads the channels with head=."
        )
    if name not in linear:
        raise unknown("linear layer", name, linear)
    return name, linear[name]


def _norms(linear: nn.Linear, name: str, bank: FilterBank) -> np.ndarray:
    """(channel,) norm over classes, and over places where the head tells them apart."""
    channels = len(bank.filters)
    if linear.in_features % channels:
        raise ValueError(
            f"{name!r} reads {linear.in_features} values, no multiple of the {channels} channels of "
            f"{bank.layer!r}: name the layers that follow each other with layer= and head=."
        )
    weight = linear.weight.detach().to("cpu", torch.float64).numpy()
    return np.linalg.norm(weight.reshape(len(weight), channels, -1), axis=(0, 2))


def _channel_frequency(bank: FilterBank) -> np.ndarray:
    modes = laplacian_modes(*bank.filters.shape[2:])
    power = mode_power(bank.filters, modes).sum(axis=1)
    return mean_frequency(power, modes.eigenvalues[np.unique(modes.spaces, return_index=True)[1]])
