"""How fast each sample's response changes along a few generators, beside how it should."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invariscope.generators import Derivatives, Generator
from invariscope.statistics.base import Block
from invariscope.statistics.sample_table import SampleStatistic


@dataclass(frozen=True)
class LieSquares(SampleStatistic):
    """L f(x) = df(X x) − X f(x) of each sample and generator, squared and absolute, in float64.

    Columns (sample, generator): "norms" ‖L f‖²; "squares" and "absolute", the means over units of (L f)² and
    |L f|.

    Args:
        generators: X.
        steps: (generator,) h: df(X x) is the difference of the responses to x ± h X x, over 2h.
        probe: which holds those responses, two columns a generator, plus first.
        interpolation: of feature maps, for their own X.
        spatial: feature maps (channel, row, column) move as the image does, where the generator does that to
            maps; otherwise the action on responses is trivial, X f = 0.
    """

    generators: tuple[Generator, ...]
    steps: tuple[float, ...]
    probe: str
    interpolation: str = "spline"
    spatial: bool = True

    def rows(self, block: Block) -> dict[str, Tensor]:
        """The numbers of each sample of the block."""
        pairs = block.probe(self.probe).double()
        at = self._maps(block)
        size = block.input_shape[-2:] if len(block.input_shape) == 3 else None
        found: dict[str, list[Tensor]] = {"norms": [], "squares": [], "absolute": []}
        for number, (generator, step) in enumerate(zip(self.generators, self.steps, strict=True)):
            change = (pairs[:, 2 * number] - pairs[:, 2 * number + 1]) / (2 * step)
            if at is not None and generator.moves_maps:
                change = change - generator.tangent(at, input_size=size)  # type: ignore[arg-type]
            flat = change.flatten(1)
            found["norms"].append(flat.square().sum(1))
            found["squares"].append(flat.square().mean(1))
            found["absolute"].append(flat.abs().mean(1))
        return {name: torch.stack(columns, dim=1) for name, columns in found.items()}

    def _maps(self, block: Block) -> Derivatives | None:
        """The responses to the untransformed inputs, where they are feature maps that should move."""
        responses = block.probe("identity")[:, 0]
        moving = self.spatial and responses.ndim == 4
        return Derivatives(responses.double(), self.interpolation) if moving else None
