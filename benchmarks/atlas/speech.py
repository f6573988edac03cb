"""The symmetries of recordings, which the entries on speech share."""

from __future__ import annotations

import torch
from torch import Tensor

import invariscope as iv

NOISE_DB = -20


def hissing(waves: Tensor) -> Tensor:
    """Add white noise, 20 dB below each recording."""
    loudness = waves.square().mean(-1, keepdim=True).sqrt()
    noise = torch.randn(waves.shape[-1], generator=torch.Generator().manual_seed(0))
    return waves + 10 ** (NOISE_DB / 20) * loudness * noise


SYMMETRIES = {
    "−6 and −20 dB": iv.Gain([0, -6, -20]),
    "opposite polarity": iv.Elements(
        [torch.clone, torch.neg],
        inverses=[torch.clone, torch.neg],
        labels=["as it is", "negated"],
        identity=0,
    ),
    "white noise at −20 dB": iv.Elements([torch.clone, hissing], labels=["as it is", "hiss"], identity=0),
    "delays of 10 and 100 ms": iv.TimeShift([0, 160, 1600]),
}
