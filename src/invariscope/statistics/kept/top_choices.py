"""Which class comes out on top for every element of every sample."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block, NotApplicableError
from invariscope.statistics.finite import finite
from invariscope.statistics.kept.sample_table import SampleStatistic


@dataclass(frozen=True)
class TopChoices(SampleStatistic):
    """The top-1 class of each transformed input, and of the untransformed one.

    Columns: "top" (sample, element) and "rest" (sample, 1), class numbers; "agreeing" (sample,), the share of
    pairs of elements with the same class; "moving" (sample, element), 0 for the identity. Needs the responses
    to the probe "identity".
    """

    def rows(self, block: Block) -> dict[str, Tensor | np.ndarray]:
        """The choices of each sample of the block."""
        if block.values.ndim != 2 or block.values.shape[1] < 2:
            raise NotApplicableError(
                "a top choice needs outputs of shape (sample, class) with at least two classes; got (sample, "
                f"{', '.join(map(str, block.values.shape[1:]))})"
            )
        top = finite(block.orbits()).argmax(-1)
        rest = block.probe("identity").argmax(-1)
        return {"top": top, "rest": rest, "agreeing": _agreeing(top), "moving": moving(block)}


def moving(block: Block) -> np.ndarray:
    """(sample, element) 1, and 0 for the identity element."""
    flags = np.array([float(j not in block.probes["identity"]) for j in range(block.elements)])
    return np.broadcast_to(flags, (block.samples, block.elements))


def _agreeing(top: Tensor) -> Tensor:
    """(sample,) share of pairs of elements with the same choice."""
    elements = top.shape[1]
    same = torch.stack([(top == column[:, None]).sum(1) for column in top.T]).sum(0) - elements
    return same.double() / (elements * (elements - 1))
