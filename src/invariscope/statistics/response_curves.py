"""Per element: how far the response moves, along the orbit and along the ways of equal length beside it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.statistics.class_labels import labels_among
from invariscope.statistics.counts.prediction_counts import probabilities
from invariscope.statistics.kept.sample_table import SampleStatistic

WAYS = ("moved", "noisy", "toward")


@dataclass(frozen=True)
class ResponseCurves(SampleStatistic):
    """‖f(x') − f(x)‖² for each element, and for the noise and the way to another sample that belong to it.

    Columns, float64: `WAYS` (sample, element); "apart" (sample,) ‖f(x) − f(z)‖² of the sample and its
    partner, NaN for none; "radius" (sample, element) ‖x' − x‖, where the engine has measured it.

    Args:
        noise, toward: names of the probes that hold the other inputs, one column an element.
    """

    paired: ClassVar[bool] = True
    measures_inputs: ClassVar[bool] = True
    noise: str
    toward: str

    def rows(self, block: Block) -> dict[str, Tensor | np.ndarray]:
        """Squared distances of each sample of the block."""
        rest = block.probe("identity")[:, 0].flatten(1).double()
        found: dict[str, Tensor | np.ndarray] = {}
        for name, values in versions(block, self.noise, self.toward):
            found[name] = _squares(values, rest)
        found["apart"] = _apart(rest, block.partners)
        if block.distances is not None:
            found["radius"] = block.distances[:, : block.elements]
        return found


@dataclass(frozen=True)
class PredictionCurves(SampleStatistic):
    """What a classifier answers to the same inputs; nothing for outputs that are no class scores.

    Columns, each (sample, element) and with one of `WAYS` behind its name: "flips", whether the top-1 is not
    that of x; with labels "accuracy", whether it is right, and "probability", that of the true class.

    Args:
        noise, toward: names of the probes that hold the other inputs, one column an element.
    """

    noise: str
    toward: str

    def rows(self, block: Block) -> dict[str, Tensor | np.ndarray]:
        """Zeros and ones, and probabilities."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            return {}
        first = block.probe("identity").argmax(-1)
        labels = labels_among(block, block.values.shape[1])
        found: dict[str, Tensor | np.ndarray] = {}
        for name, outputs in versions(block, self.noise, self.toward):
            top = outputs.argmax(-1)
            found[f"flips.{name}"] = (top != first).double()
            if labels is not None:
                found[f"accuracy.{name}"] = (top == labels[:, None]).double()
                picked = labels[:, None, None].expand(*top.shape, 1)
                found[f"probability.{name}"] = probabilities(outputs.double()).gather(-1, picked)[..., 0]
        return found


def versions(block: Block, noise: str, toward: str) -> Iterator[tuple[str, Tensor]]:
    """Each of `WAYS` with its responses (sample, element, unit...)."""
    yield from zip(WAYS, (block.orbits(), block.probe(noise), block.probe(toward)), strict=True)


def _squares(values: Tensor, rest: Tensor) -> Tensor:
    """(sample, element) ‖f(x') − f(x)‖², a sample at a time: a layer's float64 copy would be large."""
    rows = [(v.flatten(1).double() - r).square().sum(1) for v, r in zip(values, rest, strict=True)]
    return torch.stack(rows)


def _apart(rest: Tensor, partners: np.ndarray | None) -> Tensor:
    """(sample,) ‖f(x) − f(z)‖² for the partner z; NaN where there is none."""
    chosen = np.full(len(rest), -1) if partners is None else partners
    others = rest[torch.from_numpy(np.maximum(chosen, 0)).to(rest.device)]
    lonely = torch.from_numpy(chosen < 0).to(rest.device)
    return (others - rest).square().sum(1).masked_fill(lonely, torch.nan)
