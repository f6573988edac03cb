"""Squared errors of images that should move as the input does, where they are still in the picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.actions.kept_positions import kept_positions
from invariscope.block import Block, NotApplicableError
from invariscope.statistics.finite import finite
from invariscope.statistics.kept.sample_table import SampleStatistic
from invariscope.statistics.kept.top_choices import moving


@dataclass(frozen=True)
class MaskedErrors(SampleStatistic):
    """Σ M·(f(t_j x_i) − t_j f(x_i))² and Σ M over the values of an image, of every sample and element.

    Columns (sample, element): "error" and "valid", and "null", the error with the partner's f(z) in place of
    f(x_i), NaN where there is none; 0 in all of them for the identity. M is 1 where t_j and its inverse, one
    after the other, return a value to its place. Needs the responses to the probe "identity".
    """

    paired: ClassVar[bool] = True

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Yes."""
        return True

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The sums of each sample of the block."""
        if block.values.ndim != 4:
            raise NotApplicableError(
                "images (sample, channel, height, width) are compared; "
                f"got (sample, {', '.join(map(str, block.values.shape[1:]))})"
            )
        found, rest = finite(block.orbits()), finite(block.probe("identity")[:, 0])
        mask = torch.from_numpy(moving(block).copy()).to(found.device)[..., None, None, None]
        mask = (kept_positions(block, inverse_first=not block.restored) * mask).expand_as(found)
        partners = np.full(block.samples, -1) if block.partners is None else block.partners
        other = rest[torch.from_numpy(np.maximum(partners, 0)).to(rest.device)]
        lonely = torch.from_numpy(partners < 0).to(rest.device)
        null = _masked(found - block.moved(other), mask)
        return {
            "error": _masked(found - block.moved(rest), mask),
            "valid": mask.flatten(2).sum(2),
            "null": null.masked_fill(lonely[:, None], torch.nan),
        }


def _masked(gaps: Tensor, mask: Tensor) -> Tensor:
    """(sample, element) Σ M·e²."""
    return (gaps.square() * mask).flatten(2).sum(2)
