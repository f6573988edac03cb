"""The squared loss of every sample, of its orbit's mean output, and their difference."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from invariscope.block import Block, NotApplicableError
from invariscope.statistics.class_labels import labels_among, predicted_numbers
from invariscope.statistics.counts.prediction_counts import probabilities
from invariscope.statistics.finite import finite
from invariscope.statistics.kept.sample_table import SampleStatistic


@dataclass(frozen=True)
class OrbitLosses(SampleStatistic):
    """Squared losses against each sample's label.

    Columns (sample,): "loss", ⟨‖f(t_j x) − y‖²⟩_j; "twirled", ‖f̄(x) − y‖² with f̄ the mean over the orbit;
    "symmetry", ⟨‖f(t_j x) − f̄(x)‖²⟩_j; "null", the same with f̄ of the sample's partner (NaN without one).

    Args:
        targets: "classes": f is the softmax of the outputs (outputs that are probabilities are taken as they
            are), y the label's one-hot vector; "values": f is the model's one output, y the label itself.
    """

    paired: ClassVar[bool] = True
    targets: str = "classes"

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The losses of each sample of the block."""
        if block.labels is None:
            raise NotApplicableError("a loss needs labels: give data as (inputs, labels)")
        found = finite(block.orbits()).flatten(2)
        found, wanted = _classes(found, block) if self.targets == "classes" else _values(found, block)
        mean = found.mean(1)
        partners = np.full(block.samples, -1) if block.partners is None else block.partners
        other = mean[torch.from_numpy(np.maximum(partners, 0)).to(found.device)]
        null = (found - other[:, None]).square().sum(2).mean(1)
        return {
            "null": null.masked_fill(torch.from_numpy(partners < 0).to(found.device), torch.nan),
            "loss": (found - wanted[:, None]).square().sum(2).mean(1),
            "twirled": (mean - wanted).square().sum(1),
            "symmetry": (found - mean[:, None]).square().sum(2).mean(1),
        }


def _classes(found: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """(sample, element, class) probabilities and (sample, class) one-hot labels."""
    if found.shape[2] < 2:
        raise NotApplicableError(
            "class labels need an output for each class, and the model has one output; "
            "for numbers to be predicted take Twirl(targets='values')"
        )
    labels = labels_among(block, found.shape[2])
    assert labels is not None
    return probabilities(found), functional.one_hot(labels.long(), found.shape[2]).double()


def _values(found: Tensor, block: Block) -> tuple[Tensor, Tensor]:
    """(sample, element, value) outputs and (sample, value) targets."""
    assert block.labels is not None
    labels = predicted_numbers(block.labels, names=block.names, unaligned=block.unaligned)
    wanted = labels.to(found.device)[:, None]
    if wanted.shape[1] != found.shape[2]:
        raise NotApplicableError(
            f"each sample has {wanted.shape[1]} number to be predicted, and the model has {found.shape[2]} "
            "outputs; for class labels take Twirl(targets='classes')"
        )
    return found, wanted
