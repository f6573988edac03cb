"""How fast each sample's response changes along a few generators, beside how it should."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.generators import Derivatives, Generator
from invariscope.statistics.kept.sample_table import SampleStatistic


@dataclass(frozen=True)
class LieSquares(SampleStatistic):
    """L f(x) = df(X x) − X f(x) of each sample and generator, squared and absolute.

    In the precision of the responses: beside the rounding of the forwards, which a difference divides by
    the step, that of the sums is nothing.

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
        pairs = _at_least_single(block.probe(self.probe))
        at = self._maps(block)
        size = block.input_shape[-2:] if len(block.input_shape) == 3 else None
        found: dict[str, list[Tensor]] = {"norms": [], "squares": [], "absolute": []}
        for number, (generator, step) in enumerate(zip(self.generators, self.steps, strict=True)):
            change = (pairs[:, 2 * number] - pairs[:, 2 * number + 1]).div_(2 * step)
            if at is not None and generator.moves_maps:
                change -= generator.tangent(at, input_size=size)  # type: ignore[arg-type]
            flat = change.flatten(1)
            norms = flat.square().sum(1).double()
            found["norms"].append(norms)
            found["squares"].append(norms / flat.shape[1])
            found["absolute"].append(flat.abs_().sum(1).double() / flat.shape[1])
        return {name: torch.stack(columns, dim=1) for name, columns in found.items()}

    def _maps(self, block: Block) -> Derivatives | None:
        """The responses to the untransformed inputs, where they are feature maps that should move."""
        responses = block.probe("identity")[:, 0]
        moving = self.spatial and responses.ndim == 4
        return Derivatives(_at_least_single(responses), self.interpolation) if moving else None


def _at_least_single(values: Tensor) -> Tensor:
    """Half precision and integers as float32: a difference has no more digits than its terms."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()
