"""What a measure is: the statistics it needs, its formula, and the answers by which it is checked."""

from __future__ import annotations

import abc
import dataclasses
import inspect
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
from torch import Tensor

from invariscope.common.registry import Registry, refuse_unknown_options, snake_case
from invariscope.statistics.base import Statistic

_PLAIN = (str, int, float, tuple, list, dict, type(None))

MEASURES: Registry[Measure] = Registry("measure", "invariscope.measures")


@dataclass(frozen=True)
class LayerContext:
    """What a formula may know of the layer whose statistics it turns into values.

    Args:
        layer, call: which layer, and which of its runs within one forward.
        shape: the layer's own unit shape, such as (C, H, W).
        reference: per-unit transformation variance of the same layer with random weights, for the
            measures that ask for it.
        dead: (unit...) units found dead at full precision, where the forwards were of a lower one.
        input_shape: the shape of one input, such as (3, 32, 32).
        resolution: responses are known to no better than this share of a unit's size, as when an
            interpolating action has moved them; 0: to rounding.
        identity: position of the element that changes nothing; None if none is known to.
    """

    layer: str
    call: int
    shape: tuple[int, ...]
    reference: np.ndarray | None = None
    dead: np.ndarray | None = None
    input_shape: tuple[int, ...] = ()
    resolution: float = 0.0
    identity: int | None = None

    def moved(self, elements: int) -> np.ndarray:
        """Return an (element,) mask, False for the identity, whose discrepancy is 0 by construction.

        >>> LayerContext("fc", 0, (10,), identity=0).moved(3).tolist()
        [False, True, True]
        """
        return np.arange(elements) != (-1 if self.identity is None else self.identity)


@dataclass(frozen=True)
class UnitValues:
    """Per-unit values of one layer, and what goes into the layer's own value.

    Args:
        values: (replicate, unit...): replicate 0 from all samples, the others without one group.
        counted: (unit...) the units whose mean is the layer's value.
        dead, sparse, infinite, masked: units left out, by reason; masked ones left the image.
        ratio: (replicate,) ratio of the layer's means, for measures that are ratios.
        null: (unit...) the value expected when the pairing is destroyed, or None.
        note: what a reader of the layer's value should know.
        uncovered: why the layer's value can have no interval that covers; "" where it can.
        reach: how many times as wide its interval is to be.
        examined: (unit...) the units that were looked at, where those are not all.
    """

    values: np.ndarray
    counted: np.ndarray
    dead: int = 0
    sparse: int = 0
    infinite: int = 0
    ratio: np.ndarray | None = None
    null: np.ndarray | None = None
    masked: int = 0
    note: str = ""
    uncovered: str = ""
    reach: float = 1.0
    examined: np.ndarray | None = None

    @property
    def units(self) -> int:
        """How many units were looked at."""
        return self.counted.size if self.examined is None else int(self.examined.sum())

    def layer_values(self) -> np.ndarray:
        """(replicate,) mean over the counted units that have a value; NaN where none has."""
        kept = self.counted & np.isfinite(self.values)
        counts = kept.reshape(len(kept), -1).sum(axis=1)
        sums = np.where(kept, self.values, 0.0).reshape(len(kept), -1).sum(axis=1)
        return np.divide(sums, counts, out=np.full(len(kept), np.nan), where=counts > 0)

    def layer_null(self) -> float:
        """Mean of the null over the counted units."""
        if self.null is None or not self.counted.any():
            return float("nan")
        return float(self.null[self.counted].mean())


@dataclass(frozen=True)
class ElementValues:
    """A curve over the elements, whose mean is the layer's value.

    Args:
        values: (replicate, element): replicate 0 from all samples, each other without one group.
        uncovered: why the values have no intervals that cover; "" if they have.
        rare: (element,) elements whose own value has no interval.
        counted: (element,) elements that enter the mean; None for all. Values of the identity that are known
            beforehand, such as a flip rate of 0, do not count; see `LayerContext.moved`.
    """

    values: np.ndarray
    uncovered: str = ""
    rare: np.ndarray | None = None
    counted: np.ndarray | None = None

    def layer_values(self) -> np.ndarray:
        """Return (replicate,) the mean over counted elements that have a value; NaN if none has.

        >>> ElementValues(np.array([[0.0, 1.0, np.nan, 0.5]]), counted=np.arange(4) > 0).layer_values()
        array([0.75])
        """
        kept = ~np.isnan(self.values) & (True if self.counted is None else self.counted)
        sums, counts = np.where(kept, self.values, 0.0).sum(axis=1), kept.sum(axis=1)
        return np.divide(sums, counts, out=np.full(len(kept), np.nan), where=counts > 0)


@dataclass(frozen=True)
class LayerValues:
    """(replicate,) one number of a layer that no unit has a part of, such as a distance between vectors.

    Args:
        values: replicate 0 from all samples, the others without one group.
        null: the value expected when the pairing is destroyed.
        undefined: how many terms were left out because they have no value (a zero vector's cosine); None
            if every term of this kind of value has one.
        note: what a reader of the value should know, such as why there is none.
        uncovered: why the value can have no interval that covers; "" where it can.
        reach: how many times as wide its interval must be to cover, as found by simulation.
    """

    values: np.ndarray
    null: float = float("nan")
    undefined: int | None = None
    note: str = ""
    uncovered: str = ""
    reach: float = 1.0


# The axis of a curve of elements that no one number stands for, such as a position in the data.
BY_ELEMENT = "element"


@dataclass(frozen=True)
class CurveValues:
    """A curve along an axis of its own, which is not that of the elements; no one number stands for it.

    Args:
        values: (replicate, point): replicate 0 from all samples, the others without one group.
        parameter: what the axis is, with its unit: "frequency_cpp"; `BY_ELEMENT`: that of the elements, whose
            own places and labels then stand in the result.
        x: (point,) places on the axis.
        labels: (point,) the places in words.
        units: (unit..., point) the curve of each unit or channel, which the result keeps as a map.
    """

    values: np.ndarray
    parameter: str
    x: tuple[float, ...]
    labels: tuple[str, ...]
    units: np.ndarray | None = None


Values = UnitValues | ElementValues | LayerValues | CurveValues


@dataclass(frozen=True, eq=False)
class Batch:
    """Positions, keys and partners of the samples in one forward.

    Args:
        indices: (sample,) positions in the data.
        keys: (sample,) integers that identify the samples; draws depend only on (seed, key).
        partners: (sample,) position in the batch of each sample's partner, -1 for none.
        seed: seed of the draws.
    """

    indices: np.ndarray
    keys: np.ndarray
    partners: np.ndarray
    seed: int


@dataclass(frozen=True)
class Probe(abc.ABC):
    """Further inputs that are forwarded with each sample's orbit, through the model once for all measures.

    Equal probes of several measures are forwarded once.
    """

    @property
    @abc.abstractmethod
    def name(self) -> str:
        """By which a statistic finds the responses: `block.probe(name)`."""

    @abc.abstractmethod
    def columns(self, elements: int) -> int:
        """How many inputs it adds to each sample, beside an orbit of that many elements."""

    @property
    def unsettled(self) -> bool:
        """Whether `settled` must be called before `inputs`."""
        return False

    def settled(self, orbits: Iterable[tuple[Tensor, Tensor]]) -> Probe:
        """The probe with what it must know of all inputs, from batches of (samples, their orbits)."""
        return self

    @abc.abstractmethod
    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """(sample, column, ...) inputs.

        Args:
            x: (sample, ...) the untransformed samples.
            orbit: (sample, element, ...) their orbits.
            batch: positions, keys and partners of the samples.
        """


@dataclass(frozen=True)
class Identity(Probe):
    """The untransformed input. Costs nothing where the transform has an identity element."""

    @property
    def name(self) -> str:
        """Its name, "identity"."""
        return "identity"

    def columns(self, elements: int) -> int:
        """One."""
        return 1

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """The samples themselves."""
        return x[:, None]


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


class Measure(abc.ABC):
    """A frozen dataclass of options with a formula. One file in `invariscope.measures` is one family.

    A concrete measure registers itself under the snake_case of its name, and with that appears in
    the listings, the documentation, the report's legend and the shared tests.
    """

    scope: ClassVar[str] = "layers"
    """"layers", or "output": a measure of the model's final output alone."""

    summary: ClassVar[str]
    """One plain sentence on what the number says, shown in reports."""

    reading: ClassVar[str]
    """How to read a value, and when it misleads."""

    range: ClassVar[tuple[float, float]] = (0.0, float("inf"))
    """Smallest and largest possible value."""

    ranges: ClassVar[Mapping[str, tuple[float, float]]] = {}
    """The same of the outputs whose values have narrower bounds."""

    single: ClassVar[frozenset[str]] = frozenset()
    """Outputs without an interval, whose one replicate is all samples: p-values of fewer are larger."""

    ideals: ClassVar[Mapping[str, float]] = {}
    """The value of a perfectly invariant or equivariant layer, by output, where that is not 0; NaN: none."""

    absolute: ClassVar[frozenset[str]] = frozenset()
    """Outputs in units of the activation, of which no size is small by itself."""

    beside_noise: ClassVar[Mapping[str, str]] = {}
    """Outputs in units of the distance between samples, each with that which divides it by noise's."""

    positions: ClassVar[frozenset[str]] = frozenset()
    """Outputs that are positions in a list: whole numbers, of which a mean over classes says nothing."""

    unit_only: ClassVar[frozenset[str]] = frozenset()
    """Outputs to be read in maps alone: a layer's mean of its units' p-values says nothing."""

    floorless: ClassVar[frozenset[str]] = frozenset()
    """Outputs without a floor: positions, and numbers into which the transformed inputs do not enter."""

    of_partners: ClassVar[tuple[str, ...]] = ()
    """Globs of the outputs that depend on a sample's partner, besides every `null` of a paired statistic."""

    maps_differ: ClassVar[bool] = False
    """Whether a feature map gives other outputs than a flat layer of the same values."""

    needs_labels: ClassVar[bool] = False
    """Whether the measure means nothing without class labels."""

    needs_action: ClassVar[bool] = False
    """Whether the transform must say what it does to feature maps."""

    needs_orbit: ClassVar[bool] = True
    """Whether responses to the elements are read; otherwise the probes alone are forwarded."""

    named_options: frozenset[str]
    """The options that the caller named; a preset contradicts those only."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
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
        """Whether a row of that name can be one of this measure's; see `owner` for a run of several."""
        return row == self.label or row.startswith(f"{self.label}.")

    @property
    def options(self) -> dict[str, Any]:
        """The options that this instance was made with; objects among them as they are written."""
        given = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.init}  # type: ignore[arg-type]
        return {name: value if isinstance(value, _PLAIN) else repr(value) for name, value in given.items()}

    def bounds(self, output: str) -> tuple[float, float]:
        """Smallest and largest possible value of that output."""
        return self.ranges.get(output, self.range)

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
        """Whether the number means something for inputs that were transformed and brought back.

        A measure that uses the action on feature maps must heed `Block.restored`, and say so here.
        """
        return not self.needs_action

    @property
    def probes(self) -> tuple[Probe, ...]:
        """What must be forwarded besides the orbits."""
        return ()

    @abc.abstractmethod
    def statistics(self) -> tuple[Statistic, ...]:
        """The statistics whose final values `evaluate` takes, in this order."""

    @abc.abstractmethod
    def evaluate(self, finals: tuple[Any, ...], layer: LayerContext) -> Mapping[str, Values]:
        """Values by output name; a measure with one output calls it "".

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
        An oracle with a third argument `keys` gets the samples' keys.
        """

    @classmethod
    @abc.abstractmethod
    def examples(cls) -> tuple[Measure, ...]:
        """Instances with every option that changes the formula, for the shared tests."""

    @classmethod
    @abc.abstractmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Cases worked out by hand."""

    @classmethod
    def source(cls) -> str:
        """The publication that the docstring names, on one line."""
        _, _, after = (inspect.getdoc(cls) or "").partition("Source:\n")
        return " ".join(line.strip() for line in after.split("\n\n")[0].splitlines())

    @classmethod
    def explain(cls) -> str:
        """The summary, how to read the number, and the class's own documentation."""
        return f"{cls.summary}\n\n{cls.reading}\n\n{inspect.getdoc(cls) or ''}"


def owner(row: str, measures: Iterable[Measure]) -> Measure:
    """Which of the measures a row is one of: "stability.petrini2021.D" is no output of "stability"."""
    return max((measure for measure in measures if measure.owns(row)), key=lambda measure: len(measure.label))


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
