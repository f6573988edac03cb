"""Collect what all measures of a run need, so that the model is run only once on each input."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.samples import Inputs, is_structured
from invariscope.measures.base import Measure
from invariscope.statistics.base import Statistic
from invariscope.statistics.probes import Batch, Probe, Untransformed
from invariscope.transforms.base import Transform


@dataclass(frozen=True)
class Needs:
    """The distinct statistics of all measures, and the inputs besides orbits to which they need responses.

    Args:
        layers, output: statistics of every layer, and of the model's output alone.
        probes: inputs that are forwarded with each orbit.
        pools: whether feature maps are treated differently from flat layers with the same values.
        labels: whether labels are required.
        orbits: whether transformed inputs are forwarded; if not, only untransformed inputs are.
        of_tensors: names of the measures that need the inputs as one tensor.
    """

    layers: tuple[Statistic, ...]
    output: tuple[Statistic, ...]
    probes: tuple[Probe, ...] = ()
    pools: bool = False
    labels: bool = False
    orbits: bool = True
    of_tensors: tuple[str, ...] = ()

    @classmethod
    def of(cls, measures: Iterable[Measure]) -> Needs:
        """Return the union of what the measures need."""
        wanted = tuple(measures)
        return cls(
            layers=_distinct(s for m in wanted if m.scope == "layers" for s in m.statistics()),
            output=_distinct(s for m in wanted if m.scope == "output" for s in m.statistics()),
            probes=_distinct(probe for m in wanted for probe in m.probes),
            pools=any(getattr(m, "pool", None) or m.needs_action or m.maps_differ for m in wanted),
            labels=any(m.needs_labels for m in wanted),
            orbits=any(m.needs_orbit for m in wanted),
            of_tensors=tuple(m.label for m in wanted if _takes_tensors(m)),
        )

    @property
    def pilot(self) -> Needs | None:
        """The needs of a preceding pass over the untransformed inputs; None if no such pass is needed."""
        layers, output = (
            _distinct(s.pilot for s in group if s.pilot is not None) for group in (self.layers, self.output)
        )
        return Needs(layers, output, pools=self.pools) if layers or output else None

    @property
    def of_first_samples(self) -> Needs | None:
        """The part that depends on the first samples of each stratum; None if there is none."""
        layers, output = (tuple(s for s in own if s.first_samples) for own in (self.layers, self.output))
        return replace(self, layers=layers, output=output) if layers or output else None

    def width(self, transform: Transform) -> int:
        """Return the number of inputs forwarded per sample."""
        own = (
            p for p in self.probes if not (isinstance(p, Untransformed) and transform.identity is not None)
        )
        return len(transform) + sum(probe.columns(len(transform)) for probe in own)

    @property
    def paired(self) -> bool:
        """Whether a sample and its partner must be forwarded in one block."""
        return any(statistic.paired for statistic in self.layers + self.output)

    @property
    def positions(self) -> bool:
        """Whether the order of the data within each stratum matters, as in some published protocols."""
        return any(statistic.ordered for statistic in self.layers + self.output)

    @property
    def distances(self) -> bool:
        """Whether the distance of each input from its untransformed sample is needed."""
        return any(statistic.measures_inputs for statistic in self.layers + self.output)


def _takes_tensors(measure: Measure) -> bool:
    """Return whether a measure needs the inputs as one tensor, to add noise to them or compare them."""
    probes = any(not isinstance(probe, Untransformed) for probe in measure.probes)
    return probes or any(statistic.measures_inputs for statistic in measure.statistics())


def _distinct(entries: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys(entries))


@dataclass(frozen=True)
class ForwardRows:
    """The inputs of one forward pass as rows, with the positions of each sample's elements and probes."""

    rows: Inputs
    sample_step: int
    element_step: int
    probes: dict[str, tuple[int, ...]]

    def distances(self, x: Tensor) -> np.ndarray:
        """Return the (sample, column) Euclidean distance of each input from the untransformed sample."""
        columns = np.arange(len(self.rows) // len(x)) * self.element_step
        found = []
        for number, sample in enumerate(x):  # one at a time, to save memory
            own = self.rows[torch.from_numpy(columns + number * self.sample_step).to(self.rows.device)]
            if own.shape[1:] != sample.shape and "identity" in self.probes:  # elements crop the sample
                sample = own[self.probes["identity"][0]]
            found.append((own - sample).flatten(1).double().norm(dim=1))
        return torch.stack(found).cpu().numpy()


def uncropped_or_centre(transform: Transform, x: Any, orbit: Any) -> Any:
    """Return the untransformed samples, or what the identity element makes of them if elements crop."""
    if not transform.traits.resizes:
        return x
    if transform.identity is None:
        raise ValueError(
            f"{type(transform).__name__} crops its input, and none of its elements is the identity, with "
            "which measures compare: add the central window without any other change."
        )
    return orbit[:, transform.identity]


def lay_out(transform: Transform, probes: tuple[Probe, ...], x: Inputs, *, batch: Batch) -> ForwardRows:
    """Return the orbits of a few samples, each followed by those probes that are not among its elements."""
    orbit = transform.orbit(x, indices=batch.indices, keys=batch.keys, seed=batch.seed)
    x = uncropped_or_centre(transform, x, orbit)
    found: dict[str, tuple[int, ...]] = {}
    extra: list[Any] = []
    width = len(transform)
    for probe in probes:
        if isinstance(probe, Untransformed) and transform.identity is not None:
            found[probe.name] = (transform.identity,)
            continue
        _refuse_resized(orbit, x)
        inputs = probe.inputs(x, orbit, batch=batch)
        extra.append(inputs.to(orbit) if isinstance(inputs, Tensor) else inputs)
        found[probe.name] = tuple(range(width, width + extra[-1].shape[1]))
        width += extra[-1].shape[1]
    if is_structured(orbit):
        whole = np.concatenate([orbit, *extra], axis=1)
        return ForwardRows(whole.reshape(-1), whole.shape[1], 1, found)
    return ForwardRows(*_as_rows(orbit, torch.cat(extra, dim=1) if extra else None), found)


def _refuse_resized(orbit: Inputs, x: Inputs) -> None:
    if isinstance(orbit, Tensor) and isinstance(x, Tensor) and orbit.shape[2:] != x.shape[1:]:
        raise ValueError(
            f"the elements change the shape of a sample from {tuple(x.shape[1:])} to "
            f"{tuple(orbit.shape[2:])}, but measures compare transformed with untransformed inputs of the "
            "same shape: crop with iv.Crop, or bring the samples to that shape first."
        )


def _as_rows(orbit: Tensor, extra: Tensor | None) -> tuple[Tensor, int, int]:
    """Return (n, m, ...) as rows, without a copy if possible, and the row strides of samples and elements.

    Args:
        extra: (n, k, ...) further inputs of each sample, placed after its elements.
    """
    samples, elements = orbit.shape[:2]
    if orbit.is_contiguous():
        whole = orbit if extra is None else torch.cat([orbit, extra], dim=1)
        return whole.flatten(0, 1), whole.shape[1], 1
    major = orbit.transpose(0, 1)
    rows = major.reshape(samples * elements, *orbit.shape[2:])
    if extra is not None:
        rows = torch.cat([rows, extra.transpose(0, 1).flatten(0, 1)])
    return rows, 1, samples
