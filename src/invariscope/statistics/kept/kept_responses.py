"""Responses of a fixed number of samples, for formulas that compare all pairs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from invariscope.block import Block
from invariscope.common.draws import Stream
from invariscope.statistics.counts.bin_pilot import chosen_units, responses_of
from invariscope.statistics.kept.drawn_subset import DrawnState, DrawnStatistic
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.probes import Untransformed


@dataclass(frozen=True)
class KeptResponses(DrawnStatistic):
    """Untransformed and transformed responses of a few samples.

    The final table has the columns "rest" (sample, unit), "orbits" (sample, element, unit) and "moving"
    (sample, element), which is 0 for the identity.

    Args:
        size: number of samples kept per stratum.
        units: number of units kept of a larger layer, also selected by a hash.
        seed: seed of both.
    """

    stream = Stream.KEPT_RESPONSE
    reads = (Untransformed(),)
    size: int
    units: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the memory of the orbits of `size` samples."""
        return 4 * self.size * (1 + elements) * min(units, self.units)

    def facts(self, block: Block) -> dict[str, np.ndarray]:
        """Return the selected units, and which elements move."""
        units = int(np.prod(block.values.shape[1:]))
        chosen = chosen_units(units, self.units, seed=self.seed)
        return {"chosen": chosen, "moving": block.moving.astype(float)}

    def rows(self, block: Block, samples: np.ndarray, facts: dict[str, np.ndarray]) -> np.ndarray:
        """Return (sample, 1 + element, unit) responses, those of the untransformed input first."""
        columns = np.array([*block.probes["identity"], *range(block.elements)])
        return responses_of(block.values, facts["chosen"])[block.rows_of(samples, columns)]

    def finalize(self, state: DrawnState, groups: list[list[int]]) -> SampleTable:
        """Return the kept samples of the stratum, with the group of each."""
        rows, group = self.drawn(state, groups)
        responses, moving = rows.astype(np.float64), state.facts["moving"]
        columns = {
            "rest": responses[:, 0],
            "orbits": responses[:, 1:],
            "moving": np.broadcast_to(moving, (len(rows), len(moving))),
        }
        return SampleTable(columns, group, len(groups))
