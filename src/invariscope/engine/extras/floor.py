"""Measure the floor: the value that a transform's interpolation and padding alone cause."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from invariscope.engine.needs import Needs
from invariscope.engine.task import Task
from invariscope.statistics.base import Statistic
from invariscope.statistics.probes import Batch, Probe
from invariscope.statistics.round_trip import PROBE, OnRoundTrip
from invariscope.transforms.base import Transform


@dataclass(frozen=True)
class RoundTrip(Probe):
    """Inputs t_j⁻¹ t_j x for each element j: images that were transformed and transformed back.

    Args:
        transform: an invertible transform.
    """

    transform: Transform

    def __repr__(self) -> str:
        """Return a text without the transform, whose description checkpoints compare separately."""
        return "RoundTrip()"

    @property
    def name(self) -> str:
        """The name under which `OnRoundTrip` finds the responses."""
        return PROBE

    def columns(self, elements: int) -> int:
        """Return one column per element."""
        return elements

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return the samples transformed and then transformed back, with the draws of their orbits."""
        return self.transform.round_trip(x, indices=batch.indices, keys=batch.keys, seed=batch.seed)


def with_floor(needs: Needs, task: Task) -> Needs:
    """Return the needs with statistics over round trips added, if floors are requested and possible."""
    wanted = [measure for measure in task.measures if measure.has_floor]
    if not (wanted and task.options.floor and task.transform.invertible):
        return needs
    parts: dict[str, tuple[Statistic, ...]] = {
        scope: tuple(OnRoundTrip(s) for m in wanted if m.scope == scope for s in m.statistics())
        for scope in ("layers", "output")
    }
    return replace(
        needs,
        layers=tuple(dict.fromkeys(needs.layers + parts["layers"])),
        output=tuple(dict.fromkeys(needs.output + parts["output"])),
        # Round trips come first, so that the other probes follow them in the same order as the orbits.
        probes=(RoundTrip(task.transform), *needs.probes),
    )


def floor_notes(task: Task) -> list[str]:
    """Return notes on why a requested floor is missing."""
    if not task.options.floor:
        return []
    if not task.transform.invertible:
        return [f"no floor: {type(task.transform).__name__} has no known inverse for the round trip"]
    return [f"no floor: {m.name} does not define one" for m in task.measures if not m.has_floor]
