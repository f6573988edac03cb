"""How far the transformation, and noise, move each sample's response from the untransformed one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block, NotApplicableError
from invariscope.statistics.kept.sample_table import SampleStatistic

_MOST_UNITS = 4096


@dataclass(frozen=True)
class Displacements(SampleStatistic):
    """‖f(x') − f(x)‖² for every moved and every noisy version x' of a sample, in float64.

    Columns: "moved" (sample, element) and "noisy" (sample, draw), the identity element left out; and
    with a partner's untransformed response in place of the sample's own, "moved_null", "noisy_null".

    Args:
        noise: name of the probe that holds the noisy versions.
    """

    paired: ClassVar[bool] = True
    noise: str = "noise"

    def rows(self, block: Block) -> dict[str, Tensor]:
        """Squared distances of each sample of the block."""
        rest = block.probe("identity")[:, 0]
        moved, noisy = versions(block, self.noise)
        partners = np.full(block.samples, -1) if block.partners is None else block.partners
        other = rest[torch.from_numpy(np.maximum(partners, 0)).to(rest.device)]
        lonely = torch.from_numpy(partners < 0).to(rest.device)
        found = {}
        for name, values in (("moved", moved), ("noisy", noisy)):
            found[name] = _squared_distances(values, rest)
            null = _squared_distances(values, other)
            found[f"{name}_null"] = null.masked_fill(lonely[:, None], torch.nan)
        return found


@dataclass(frozen=True)
class UnitDisplacements(SampleStatistic):
    """The squared displacement of every unit, and every unit's own response: for medians unit by unit.

    Columns: "moved" (sample, element, unit), "noisy" (sample, draw, unit), "rest" (sample, unit).
    Memory grows with samples × elements × units: layers of more than 4,096 units are refused.

    Args:
        noise: name of the probe that holds the noisy versions.
    """

    noise: str = "noise"

    def rows(self, block: Block) -> dict[str, Tensor]:
        """Squared displacements of each sample of the block."""
        units = int(np.prod(block.values.shape[1:]))
        if units > _MOST_UNITS:
            raise NotApplicableError(
                f"medians unit by unit keep every response: {units} units are more than {_MOST_UNITS}; "
                "measure the output alone, or take average='mean'"
            )
        rest = block.probe("identity").flatten(2).double()
        moved, noisy = (part.flatten(2).double() for part in versions(block, self.noise))
        return {"moved": (moved - rest).square(), "noisy": (noisy - rest).square(), "rest": rest[:, 0]}


def versions(block: Block, noise: str) -> tuple[Tensor, Tensor]:
    """(sample, version, unit...) responses to the moved and the noisy inputs, without the identity's."""
    moving = [j for j in range(block.elements) if j not in block.probes["identity"]]
    return block.orbits()[:, moving], block.probe(noise)[:, moving]


def _squared_distances(values: Tensor, rest: Tensor) -> Tensor:
    """(sample, version) ‖f(x') − f(x)‖², a sample at a time: a layer's float64 copy would be large."""
    rows = [(v - r).flatten(1).double().square().sum(1) for v, r in zip(values, rest, strict=True)]
    return torch.stack(rows)
