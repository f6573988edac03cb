"""The floor: what a transform's own interpolation and padding do to a number."""

from __future__ import annotations

from dataclasses import dataclass, replace

from torch import Tensor

from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.measures.base import Measure
from invariscope.statistics.base import Statistic
from invariscope.statistics.probes import Batch, Probe
from invariscope.statistics.round_trip import PROBE, OnRoundTrip
from invariscope.transforms.base import Transform


@dataclass(frozen=True)
class RoundTrip(Probe):
    """t_j⁻¹ t_j x for each element: the same image, as often interpolated and as much cut off.

    Args:
        transform: whose elements; it has an inverse.
    """

    transform: Transform

    def __repr__(self) -> str:
        """Without the transform, whose own description a checkpoint compares."""
        return "RoundTrip()"

    @property
    def name(self) -> str:
        """By which `OnRoundTrip` finds the responses."""
        return PROBE

    def columns(self, elements: int) -> int:
        """One an element."""
        return elements

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """The samples, transformed and brought back with the draws of their orbits."""
        return self.transform.round_trip(x, indices=batch.indices, keys=batch.keys, seed=batch.seed)


def with_floor(needs: Needs, measures: tuple[Measure, ...], transform: Transform) -> Needs:
    """The needs, and every statistic of measures that have a floor a second time, over round trips."""
    wanted = [measure for measure in measures if measure.has_floor]
    if not wanted:
        return needs
    parts: dict[str, tuple[Statistic, ...]] = {
        scope: tuple(OnRoundTrip(s) for m in wanted if m.scope == scope for s in m.statistics())
        for scope in ("layers", "output")
    }
    return replace(
        needs,
        layers=tuple(dict.fromkeys(needs.layers + parts["layers"])),
        output=tuple(dict.fromkeys(needs.output + parts["output"])),
        # First, so that the other probes stand behind the round trips as they stand behind the orbits.
        probes=(RoundTrip(transform), *needs.probes),
    )


def floor_notes(measures: tuple[Measure, ...], transform: Transform, options: Options) -> list[str]:
    """Why there is no floor although one was asked for."""
    if not options.floor:
        return []
    if not transform.invertible:
        return [f"no floor: {type(transform).__name__} has no known inverse to make the round trip with"]
    return [f"no floor: {m.name} does not define one" for m in measures if not m.has_floor]
