"""What a measure is: the statistics it needs, its formula, and the answers by which it is checked."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np

from invariscope.block import Block
from invariscope.common.registry import Registry, refuse_unknown_options, snake_case
from invariscope.measures.values import LayerContext, Output, Values
from invariscope.statistics.base import Statistic
from invariscope.statistics.kept.sample_table import Columns, SampleRows
from invariscope.statistics.probes import Probe

_PLAIN = (str, int, float, tuple, list, dict, type(None))

MEASURES: Registry[Measure] = Registry("measure", "invariscope.measures")


@dataclass(frozen=True)
class KnownAnswer:
    """A case worked out by hand: options, activations (sample, element, unit...), expected values.

    The responses to the measure's probes stand behind the elements; element 0 is the untransformed
    input. For measures that use the action on feature maps the elements are quarter turns.
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
        """Return an answer for each of several outputs of the same case."""
        return tuple(
            cls(options, activations, value, output=name, **given) for name, value in answers.items()
        )


class Measure(abc.ABC):
    """A frozen dataclass of options with a formula. One file in `invariscope.measures` is one family.

    A concrete measure registers itself under the snake_case of its name, and with that appears in
    the listings, the documentation, the report's legend and the shared tests. Its docstring says in one
    plain sentence what the number says, and under "Reading:" how to read it and when it misleads.
    """

    scope: ClassVar[str] = "layers"
    """"layers", or "output": a measure of the model's final output alone."""

    summary: ClassVar[str] = ""
    """First paragraph of the docstring, shown in listings and reports."""

    reading: ClassVar[str] = ""
    """How to read a value, and when it misleads: what the docstring says under "Reading:"."""

    maps_differ: ClassVar[bool] = False
    """Whether a feature map gives other outputs than a flat layer of the same values."""

    needs_labels: ClassVar[bool] = False
    """Whether the measure means nothing without class labels."""

    needs_action: ClassVar[bool] = False
    """Whether the transform must say what it does to feature maps. Then `Block.restored` must be heeded."""

    needs_orbit: ClassVar[bool] = True
    """Whether responses to the elements are read; otherwise the probes alone are forwarded."""

    named_options: frozenset[str]
    """The options that the caller named; a preset contradicts those only."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.summary = " ".join((inspect.getdoc(cls) or "").split("\n\n")[0].split())
        cls.reading = cls._section("Reading")
        MEASURES.add(cls)

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Refuses misspelt options before the dataclass does, which could not say what was meant."""
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
        """Which of several forms this is; a run may hold one measure in several. Usually ""."""
        return ""

    @property
    def label(self) -> str:
        """The name in tables: that of the measure, and of its form where it has several."""
        return f"{self.name}.{self.form}" if self.form else self.name

    def row_name(self, output: str) -> str:
        """What an output is called in tables and maps."""
        return f"{self.label}.{output}" if output else self.label

    def output_of(self, row: str) -> str:
        """The output that `row_name` gave this name to."""
        return row.removeprefix(self.label).removeprefix(".")

    def owns(self, row: str) -> bool:
        """Whether a row of that name is one of this measure's outputs."""
        return row in map(self.row_name, self.outputs())

    @property
    def options(self) -> dict[str, Any]:
        """The options that this instance was made with; objects among them as they are written."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]
        return {name: value if isinstance(value, _PLAIN) else repr(value) for name, value in given.items()}

    def output(self, name: str) -> Output:
        """What the output of that name is."""
        return self.outputs()[name]

    def rows_of_kind(self, kind: str) -> list[str]:
        """Row names of the outputs of one kind, sorted."""
        return sorted(self.row_name(name) for name, output in self.outputs().items() if output.kind == kind)

    @property
    def predicts_numbers(self) -> bool:
        """Whether labels are numbers to be predicted, and not classes."""
        return False

    @property
    def needs_reference(self) -> bool:
        """Whether the transformation variance of a random-weights copy is needed."""
        return False

    @property
    def has_floor(self) -> bool:
        """Whether a number means something for inputs that were transformed and brought back."""
        return any(output.floor for output in self.outputs().values())

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What must be forwarded besides the orbits: whatever the statistics read."""
        return tuple(dict.fromkeys(probe for statistic in self.statistics() for probe in statistic.reads))

    @abc.abstractmethod
    def outputs(self) -> dict[str, Output]:
        """What the values are, by output name; a measure with one output calls it ""."""

    @abc.abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """The statistics whose final values `evaluate` takes, in this order."""

    @abc.abstractmethod
    def evaluate(self, finals: tuple[Any, ...], layer: LayerContext) -> Mapping[str, Values]:
        """Values by output name; outputs that do not apply are left out.

        Args:
            finals: final values of `statistics()`, in their order.
            layer: which layer they belong to.
        """

    @abc.abstractmethod
    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """The definition, written naively for float64 (sample, element, unit...): the tests' judge.

        Element 0 is the untransformed input; the responses to `probes` stand behind the elements, in
        their order (the identity's excepted). With `needs_action` the elements are quarter turns.
        Outputs that the definition cannot give for these arguments are left out.
        An oracle with a third argument `indices` gets the samples' positions.
        """

    @classmethod
    def examples(cls) -> tuple[Measure, ...]:
        """Instances with every option that changes the formula, for the shared tests."""
        return (cls(),)

    @classmethod
    @abc.abstractmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Cases worked out by hand."""

    @classmethod
    def source(cls) -> str:
        """The publication that the docstring names, on one line."""
        return cls._section("Source")

    @classmethod
    def _section(cls, title: str) -> str:
        """A section of the docstring, on one line."""
        _, _, after = (inspect.getdoc(cls) or "").partition(f"\n{title}:\n")
        return " ".join(after.split("\n\n")[0].split())

    @classmethod
    def explain(cls) -> str:
        """The class's own documentation."""
        return inspect.getdoc(cls) or ""


class SampleMeasure(Measure):
    """A measure of a few numbers per sample: `rows` gives them, and `evaluate` gets the table of them."""

    reads: tuple[Probe, ...] = ()
    """The probes whose responses `rows` reads."""

    paired: bool = False
    """Whether `rows` reads the partners of samples."""

    @abc.abstractmethod
    def rows(self, block: Block) -> Columns:
        """(sample, ...) numbers of each sample of the block, by name.

        Raises:
            NotApplicableError: the layer lacks what this measure needs.
        """

    def statistics(self) -> tuple[Statistic, ...]:
        """The table of the rows of all samples."""
        return (SampleRows(self),)


def owner(row: str, measures: Iterable[Measure]) -> Measure:
    """Which of the measures a row is one of: "stability.petrini2021.D" is no output of "stability"."""
    return next(measure for measure in measures if measure.owns(row))


def as_measures(measures: Any) -> tuple[Measure, ...]:
    """Measure objects from objects, registry names, or a list of either.

    Raises:
        ValueError: an unknown name, an empty list, or the same measure with the same options twice.
        TypeError: neither a measure nor a name.
    """
    if measures is None:
        raise TypeError("measures=None; leave it out, or give measure objects or names")
    entries = [measures] if isinstance(measures, (str, Measure)) else list(measures)
    found = tuple(_as_measure(entry) for entry in entries)
    if not found:
        raise ValueError("no measures given; `iv.list_measures()` names them all")
    names = [measure.label for measure in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        same = [measure for measure in found if measure.label == twice[0]]
        text = f"measure {twice[0]!r} is asked for {len(same)} times: measure once per option set"
        raise ValueError(text + _relabel(same))
    return found


def _relabel(same: Sequence[Measure]) -> str:
    """How to tell apart measures that differ in actions which are called alike."""
    actions = [getattr(measure, "feature_action", None) for measure in same]
    if all(action == actions[0] for action in actions):
        return ""
    return ", or give the actions names of their own: FibreAction(..., label='first')"


def _as_measure(entry: Any) -> Measure:
    if isinstance(entry, Measure):
        return entry
    if isinstance(entry, str):
        return MEASURES.get(entry)()
    if isinstance(entry, type) and issubclass(entry, Measure):
        return entry()
    raise TypeError(
        f"a measure is an object such as NormalizedVariance() or a name; got {type(entry).__name__}"
    )
