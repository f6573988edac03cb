"""The base classes of measures: the statistics they need, their formula, and the cases that check them."""

from __future__ import annotations

import abc
import copy
import dataclasses
import inspect
import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from invariscope.block import Block
from invariscope.common.registry import Registry, refuse_unknown_options, snake_case, unknown
from invariscope.common.symbols import full_name
from invariscope.measures.values import LayerContext, Output, Values
from invariscope.statistics.base import Statistic
from invariscope.statistics.kept.sample_table import Columns, SampleRows
from invariscope.statistics.probes import Probe

_PLAIN = (str, int, float, tuple, list, dict, type(None))
_IN_NAMES = (str, int)

MEASURES: Registry[Measure] = Registry("measure", "invariscope.measures")


@dataclass(frozen=True)
class KnownAnswer:
    """A case worked out by hand: options, (sample, element, unit...) activations and expected values.

    Element 0 is the untransformed input; columns after the elements hold the responses to probes. For
    measures that use the action on feature maps, the elements are quarter turns.
    """

    options: Mapping[str, Any]
    activations: Any
    expected: Any
    labels: Any = None
    output: str = ""

    @classmethod
    def each(
        cls, options: Mapping[str, Any], activations: Any, answers: Mapping[str, Any], **given: Any
    ) -> tuple[KnownAnswer, ...]:
        """Return one known answer per output, all with the same options and activations."""
        return tuple(
            cls(options, activations, value, output=name, **given) for name, value in answers.items()
        )


class Measure(abc.ABC):
    """Base class of measures: frozen dataclasses of options, with a formula.

    A concrete measure registers itself under the snake_case form of its name. It then appears in listings,
    the documentation, report legends and the shared tests. Its docstring states in one plain sentence what
    the number means, and under "Reading:" how to interpret it, with its caveats.
    """

    scope: ClassVar[str] = "layers"
    """"layers", or "output" for measures of the model's final output only."""

    summary: ClassVar[str] = ""
    """First paragraph of the docstring, shown in listings and reports."""

    reading: ClassVar[str] = ""
    """The "Reading:" section of the docstring: how to interpret a value, and its caveats."""

    maps_differ: ClassVar[bool] = False
    """Whether feature maps have different outputs from a flat layer with the same values."""

    needs_labels: ClassVar[bool] = False
    """Whether the measure is undefined without class labels."""

    needs_action: ClassVar[bool] = False
    """Whether the transform must declare its action on feature maps. If True, respect `Block.restored`."""

    needs_orbit: ClassVar[bool] = True
    """Whether responses to the elements are read; if not, only the probes are forwarded."""

    fewest_elements: ClassVar[int] = 1
    """Fewest elements of a transform; 2 if elements are compared with each other."""

    variant: str = ""
    """What tells it from other measures of its name in the same run, such as its preset; usually ""."""

    named_options: frozenset[str]
    """The options that the caller named; only these can contradict a preset."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.summary = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
        cls.reading = cls._section("Reading")
        MEASURES.add(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Reject misspelt options with a suggestion, which the dataclass's own error lacks."""
        refuse_unknown_options(cls, options)
        made = super().__new__(cls)
        object.__setattr__(made, "named_options", frozenset(options))
        return made

    @property
    def name(self) -> str:
        """The registry name, such as "normalized_variance"."""
        return snake_case(type(self).__name__)

    @property
    def form(self) -> str:
        """Name of the variant, such as a preset; a run may hold several variants. Usually ""."""
        return ""

    @property
    def label(self) -> str:
        """The name in tables: the measure's name, followed by the form and the variant if there are any."""
        return ".".join(filter(None, (self.name, self.form, self.variant)))

    def row_name(self, output: str) -> str:
        """Return the name of an output in tables and maps."""
        return f"{self.label}.{output}" if output else self.label

    def output_of(self, row: str) -> str:
        """Return the output whose `row_name` is `row`."""
        return row.removeprefix(self.label).removeprefix(".")

    def owns(self, row: str) -> bool:
        """Return whether the row of this name is one of the measure's outputs."""
        return row in map(self.row_name, self.outputs())

    @property
    def options(self) -> dict[str, Any]:
        """The options of this instance by name; objects are replaced by their repr."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]
        return {name: value if isinstance(value, _PLAIN) else repr(value) for name, value in given.items()}

    def output(self, name: str) -> Output:
        """Return the description of an output."""
        return self.outputs()[name]

    def rows_of_kind(self, kind: str) -> list[str]:
        """Return the sorted row names of the outputs of one kind."""
        return sorted(self.row_name(name) for name, output in self.outputs().items() if output.kind == kind)

    @property
    def predicts_numbers(self) -> bool:
        """Whether labels are numbers to be predicted rather than classes."""
        return False

    @property
    def compares_labels(self) -> bool:
        """Whether some outputs compare predictions with labels, while others do without."""
        return False

    @property
    def needs_reference(self) -> bool:
        """Whether the transformation variance of a randomly initialised copy is needed."""
        return False

    @property
    def has_floor(self) -> bool:
        """Whether any output has a floor: its value for inputs that were transformed and transformed back."""
        return any(output.floor for output in self.outputs().values())

    @property
    def probes(self) -> tuple[Probe, ...]:
        """Inputs to be forwarded besides the orbits: all probes that the statistics read."""
        return tuple(dict.fromkeys(probe for statistic in self.statistics() for probe in statistic.reads))

    @abc.abstractmethod
    def outputs(self) -> dict[str, Output]:
        """Return the description of each output by name; a single output is named ""."""

    @abc.abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """Return the statistics whose final values `evaluate` receives, in this order."""

    @abc.abstractmethod
    def evaluate(self, finals: tuple[Any, ...], layer: LayerContext) -> Mapping[str, Values]:
        """Return values by output name, leaving out outputs that do not apply to the layer.

        Args:
            finals: final values of `statistics()`, in the same order.
            layer: the layer they belong to.
        """

    def evaluate_strata(
        self, finals: Sequence[Sequence[Any]], layer: LayerContext
    ) -> Sequence[Mapping[str, Values]]:
        """Return the values of each of several strata, such as classes; measures may compute them together.

        Args:
            finals: for each of `statistics()`, the final values of all strata.
            layer: the layer they belong to.
        """
        return [self.evaluate(own, layer) for own in zip(*finals, strict=True)]

    @abc.abstractmethod
    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition naively from float64 activations (sample, element, unit...), for tests.

        Element 0 is the untransformed input. The responses to `probes` follow the elements, in order, except
        that the identity is not repeated. With `needs_action`, the elements are quarter turns. Outputs that
        cannot be computed from these arguments are left out. An oracle with a third parameter, `indices`,
        receives the positions of the samples.
        """

    @classmethod
    def examples(cls) -> tuple[Measure, ...]:
        """Return instances that cover every option that changes the formula, for the shared tests."""
        return (cls(),)

    @classmethod
    @abc.abstractmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return cases worked out by hand."""

    @classmethod
    def source(cls) -> str:
        """Return the publication named in the docstring, on one line."""
        return cls._section("Source")

    @classmethod
    def _section(cls, title: str) -> str:
        """Return a section of the docstring, on one line."""
        _, _, after = (inspect.getdoc(cls) or "").partition(f"\n{title}:\n")
        return " ".join(after.split("\n\n")[0].split())

    @classmethod
    def explain(cls) -> str:
        """Return the docstring of the class."""
        return inspect.getdoc(cls) or ""


class SampleMeasure(Measure):
    """Base class of measures that need a few numbers per sample, computed by `rows`."""

    reads: tuple[Probe, ...] = ()
    """The probes whose responses `rows` reads."""

    paired: bool = False
    """Whether `rows` reads the samples' partners."""

    @abc.abstractmethod
    def rows(self, block: Block) -> Columns:
        """Return the numbers of each sample in the block, as arrays (sample, ...) by name.

        Raises:
            NotApplicableError: the layer lacks what this measure needs.
        """

    def statistics(self) -> tuple[Statistic, ...]:
        """Return the table of the rows of all samples."""
        return (SampleRows(self),)


def owner(row: str, measures: Iterable[Measure]) -> Measure:
    """Return the measure that a row belongs to; "stability.petrini2021.D" does not belong to "stability"."""
    return next(measure for measure in measures if measure.owns(row))


def as_measures(measures: Any) -> tuple[Measure, ...]:
    """Return measure objects for objects, registry names, or a list of either.

    A string may contain several names, separated by commas, including symbols from the papers: "nv, anova".

    Raises:
        ValueError: an unknown name, an empty list, or measures whose rows could not be told apart.
        TypeError: neither a measure nor a name.
    """
    if measures is None:
        raise TypeError("measures=None is not accepted; leave it out, or give measure objects or names")
    listed = isinstance(measures, Iterable) and not isinstance(measures, str | bytes | type | Mapping)
    entries: list[Any] = list(measures) if listed else [measures]
    found = tuple(_as_measure(part) for entry in entries for part in _parts(entry))
    if not found:
        raise ValueError("no measures given; `iv.list_measures()` lists all of them")
    return told_apart(found)


def told_apart(measures: Sequence[Measure]) -> tuple[Measure, ...]:
    """Return the measures, with variants for those that would have the same name in tables.

    A variant is the preset or, for measures without one, the options in which they differ:

    >>> from invariscope import NormalizedVariance as NV
    >>> [measure.label for measure in told_apart([NV(), NV(preset="quiroga2019"), NV(spread="std")])]
    ['normalized_variance', 'normalized_variance.quiroga2019', 'normalized_variance.spread=std']

    Raises:
        ValueError: measures whose rows could not be told apart.
    """
    groups: dict[str, list[Measure]] = {}
    for measure in measures:
        groups.setdefault(measure.label, []).append(measure)
    found = tuple(_with_variant(measure, groups[measure.label]) for measure in measures)
    names = [measure.label for measure in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        same = [measure for measure in found if measure.label == twice[0]]
        text = f"measure {twice[0]!r} is requested {len(same)} times, and its rows could not be told apart"
        raise ValueError(text + _relabel(same))
    return found


def _with_variant(measure: Measure, alike: Sequence[Measure]) -> Measure:
    """Return a measure with its variant among those of the same name, itself included."""
    preset = _preset(measure)
    published = "" if preset == measure.form else preset
    variant = ".".join(filter(None, (published, _difference(measure, alike))))
    if len(alike) == 1 or not variant:
        return measure
    found = copy.copy(measure)
    object.__setattr__(found, "variant", variant)
    return found


def _preset(measure: Measure) -> str:
    return getattr(measure, "preset", None) or ""


def _difference(measure: Measure, alike: Sequence[Measure]) -> str:
    """Return the options that are not the default and differ from others with this preset: "spread=std"."""
    alike = [other for other in alike if _preset(other) == _preset(measure)]
    given = [
        (name, getattr(measure, name))
        for name, value in measure.options.items()
        if value != getattr(type(measure), name, None)  # the default
        and any(other.options[name] != value for other in alike)
    ]
    return ",".join(f"{name}={value}" for name, value in given if isinstance(value, _IN_NAMES))


def _relabel(same: Sequence[Measure]) -> str:
    """Suggest labels if measures differ only in actions that have the same name."""
    actions = [getattr(measure, "feature_action", None) for measure in same]
    if any(one == other for one, other in itertools.combinations(same, 2)):
        return "; leave one of them out"
    if all(action == actions[0] for action in actions):
        return "; measure one set of options at a time"
    return "; give the actions different labels: FibreAction(..., label='first')"


def _parts(entry: Any) -> list[Any]:
    """Split a string at commas into names; return anything else unchanged, as the only part."""
    return [part.strip() for part in entry.split(",")] if isinstance(entry, str) else [entry]


def _as_measure(entry: Any) -> Measure:
    if isinstance(entry, Measure):
        return entry
    if isinstance(entry, str):
        return MEASURES.get(full_name(entry))()
    if isinstance(entry, type) and issubclass(entry, Measure):
        return entry()
    raise TypeError(
        f"a measure must be an object such as NormalizedVariance(), or a name; got {type(entry).__name__}"
    )


Presets = Mapping[str, Mapping[str, Any]]


def apply_preset(measure: Any, presets: Presets) -> None:
    """Set the options that the measure's `preset` implies; call from `__post_init__` of a frozen dataclass.

    Raises:
        ValueError: an unknown preset, or an explicit option that contradicts it.
    """
    if measure.preset is None:
        return
    if measure.preset not in presets:
        raise unknown("preset", measure.preset, presets)
    for name, value in presets[measure.preset].items():
        given = getattr(measure, name)
        if name in measure.named_options and given != value:
            raise ValueError(f"preset={measure.preset!r} implies {name}={value!r}, but got {name}={given!r}")
        object.__setattr__(measure, name, value)
