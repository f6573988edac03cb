"""Define the entries of the sweep over models with their own inputs, and functions that prepare inputs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from benchmarks.architectures.catalogue import SAMPLES, Adapter

Sample = Any
Element = Callable[[Sample], Sample]


def keywords(model: nn.Module, batch: Mapping[str, Any]) -> Any:
    """Call a model with the fields of a batch, except those that are only used for pooling."""
    return model(**{name: value for name, value in batch.items() if not name.startswith("pooled_")})


@dataclass(frozen=True)
class OwnInputs:
    """One model of the sweep, with samples in its own format.

    Args:
        library, name: library and name of the model.
        build: function that returns the model with random weights.
        samples: function that draws the samples from a generator; the largest come last.
        elements: the transform of single samples, which starts with the identity.
        collate: function that turns a list of samples into a batch.
        masks, indices: fields of the batch that mark padding, or assign rows to samples.
        call: function that calls the model on a batch.
        gradients: whether the model differentiates in its forward pass.
        precision: precision of the measurement and of plain hooks.
        kind: description of the inputs, for the page.
    """

    library: str
    name: str
    build: Callable[[], nn.Module]
    samples: Callable[[torch.Generator], list[Sample]]
    elements: tuple[Element, ...]
    collate: Callable[[Sequence[Sample]], Any]
    masks: tuple[str, ...] = ()
    indices: tuple[str, ...] = ()
    call: Callable[[nn.Module, Any], Any] = keywords
    gradients: bool = False
    precision: Literal["float32", "float64"] = "float64"
    kind: str = ""

    def make(self) -> tuple[nn.Module, list[Sample]]:
        """Return the model in eval mode and its samples, the same in every call."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            model = self.build().eval()
        model = model.model if isinstance(model, Adapter) else model
        return model, self.samples(torch.Generator().manual_seed(1))


def unmoved(sample: Sample) -> Sample:
    """Return the sample."""
    return sample


def on(field: str, move: Callable[[Tensor], Tensor]) -> Element:
    """Return an element that changes only one field of a mapping."""
    return lambda sample: {**sample, field: move(sample[field])}


def stacked(samples: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Stack samples of equal shape."""
    return {name: torch.stack([sample[name] for sample in samples]) for name in samples[0]}


def padded(rows: Sequence[Tensor], value: int, multiple: int = 1, least: int = 0) -> tuple[Tensor, Tensor]:
    """Return (sample, entry) rows padded on the right, and their mask."""
    longest = max(least, -(-max(map(len, rows)) // multiple) * multiple)
    entries = torch.stack([nn.functional.pad(row, (0, longest - len(row)), value=value) for row in rows])
    lengths = torch.tensor([len(row) for row in rows])
    return entries, (torch.arange(longest) < lengths[:, None]).long()


def lengths(shortest: int, longest: int) -> list[int]:
    """Return the lengths of all samples, in ascending order."""
    return [shortest + (longest - shortest) * k // (SAMPLES - 1) for k in range(SAMPLES)]
