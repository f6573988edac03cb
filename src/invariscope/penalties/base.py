"""What a penalty is: one forward of a batch's orbits, and a formula of the responses."""

from __future__ import annotations

import abc
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.block import Block, Membership
from invariscope.common.autocast import without_autocast
from invariscope.common.draws import Draws, Stream
from invariscope.engine.feature_motion import acting_elements
from invariscope.engine.needs import ForwardRows, lay_out
from invariscope.readers.base import LayerKey, Selection
from invariscope.readers.prediction import OutputChoice, as_output_choice
from invariscope.readers.torch.in_graph import output_in_graph, responses_in_graph
from invariscope.statistics.pairs import partners
from invariscope.statistics.probes import Batch, Probe
from invariscope.transforms import as_transform
from invariscope.transforms.base import Transform
from invariscope.transforms.machinery.chosen import Chosen

_STRIDE = 0x9E3779B97F4A7C15  # odd: steps and seeds do not meet
_OUTPUT: LayerKey = ("output", 0)


@dataclass(frozen=True)
class Penalty(abc.ABC):
    """A measure of one batch as a loss: penalty(model, x) is a scalar, whose gradient reaches the model.

    The batch's orbits, and what else the measure forwards, go through the model in one forward, in the mode
    in which the model is and under autocast if the caller is; the formula itself is computed without. The
    value is the mean over the layers; a layer in which nothing varies adds 0.

    Args:
        transform: as `iv.measure` takes it.
        layers: as `iv.measure` takes them; each must carry the batch on its first axis.
        output: for penalties on the output, the part to penalise: a name, an index or a function; None: the
            only floating-point tensor in the output whose first axis holds the batch.
        elements: how many of the transform's elements are drawn at each step, without repeats; None: all.
        seed: of everything drawn.
    """

    transform: Any
    _: KW_ONLY
    layers: Selection = None
    output: OutputChoice = None
    elements: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "transform", as_transform(self.transform))
        given, candidates = self.elements, len(self._candidates)
        whole = isinstance(given, int) and not isinstance(given, bool)
        if given is not None and not (whole and self._fewest <= given <= candidates):
            raise ValueError(
                f"elements is how many of the {candidates} elements are drawn at each step, at least "
                f"{self._fewest}; got {given!r}"
            )
        if candidates < self._fewest:
            raise ValueError(
                f"{type(self).__name__} needs at least {self._fewest} such elements; the transform has "
                f"{candidates}"
            )
        as_output_choice(self.output)
        self._validate()

    @abc.abstractmethod
    def _validate(self) -> None:
        """Raises for options that make no sense."""

    @property
    @abc.abstractmethod
    def _probes(self) -> tuple[Probe, ...]:
        """What is forwarded besides the orbits."""

    @property
    @abc.abstractmethod
    def _fewest(self) -> int:
        """How few elements the formula can do with."""

    @property
    @abc.abstractmethod
    def _candidates(self) -> Sequence[int]:
        """The elements from which some are drawn."""

    @property
    @abc.abstractmethod
    def _of_output(self) -> bool:
        """Whether the model's output is penalised, and no layer."""

    @abc.abstractmethod
    def _value(self, block: Block) -> Tensor:
        """The formula of one layer: a scalar, 0 where it has no value."""

    @property
    def draws(self) -> bool:
        """Whether chance takes part, so that `step` must be given."""
        return self.elements is not None or self.transform.per_sample or bool(_drawing(self._probes))

    def __call__(self, model: nn.Module, x: Tensor, *, step: int | None = None) -> Tensor:
        """The mean over layers, a scalar.

        Args:
            model: what is trained.
            x: (sample, ...) a batch, at least two samples, without augmentation.
            step: the number of the step, on which the draws depend and on the seed, and on nothing else; a
                sample's place in the batch takes the place of its index. Step 0 draws what `iv.measure` draws
                with the same seed.
        Raises:
            ValueError: a pattern that matches no layer, fewer than two samples, `step` missing.
            TypeError: no module, data that the transform cannot move.
        """
        found = self.by_layer(model, x, step=step)
        return torch.stack(list(found.values())).mean()

    def by_layer(self, model: nn.Module, x: Tensor, *, step: int | None = None) -> dict[LayerKey, Tensor]:
        """The same of each layer, {(layer, call): scalar}, from one forward."""
        if self.draws and step is None:
            raise ValueError("the penalty draws anew at each step: give step=, the number of the step")
        if len(x) < 2:
            raise ValueError(f"a penalty compares samples: a batch needs at least two, got {len(x)}")
        seed, transform = self.seed + _STRIDE * (step or 0), self._drawn(step)
        batch = Batch(np.arange(len(x)), np.arange(len(x)), partners(len(x)), seed)
        with without_autocast():
            laid = lay_out(transform, self._probes, x, batch=batch)
        if self._of_output:
            read = {_OUTPUT: output_in_graph(model, laid.rows, output=self.output)}
        else:
            read = responses_in_graph(model, laid.rows, layers=self.layers)
        block = _block(laid, transform, x, batch)
        with without_autocast():
            return {k: self._value(replace(block, values=_widened(values))) for k, values in read.items()}

    def drawn_elements(self, step: int | None = None) -> tuple[int, ...]:
        """Positions of the elements that a step forwards, in order."""
        if self.elements is None:
            return tuple(range(len(self.transform)))
        draws = Draws(self.seed, np.array([step or 0]), len(self._candidates), Stream.PENALTY_ELEMENT)
        order = np.argsort(draws.uniform()[0], kind="stable")[: self.elements]
        return tuple(sorted(self._candidates[place] for place in order.tolist()))

    def _drawn(self, step: int | None) -> Transform:
        whole: Transform = self.transform
        return whole if self.elements is None else Chosen(whole, self.drawn_elements(step))


def _widened(values: Tensor) -> Tensor:
    """Half precision, as autocast gives it, in float32."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _drawing(probes: Sequence[Probe]) -> list[Probe]:
    """The probes that draw: all but the untransformed input."""
    return [probe for probe in probes if probe.name != "identity"]


def _block(laid: ForwardRows, transform: Transform, x: Tensor, batch: Batch) -> Block:
    """What a statistic sees of a layer, its values still to come."""
    size = (x.shape[2], x.shape[3]) if x.ndim == 4 else None

    def act(maps: Tensor, indices: np.ndarray, keys: np.ndarray, inverse: bool) -> Tensor:
        who = {"indices": indices, "keys": keys, "seed": batch.seed}
        return transform.act(maps, inverse=inverse, input_size=size, **who)

    return Block(
        values=laid.rows,
        samples=len(x),
        elements=len(transform),
        sample_step=laid.sample_step,
        element_step=laid.element_step,
        membership=Membership(np.zeros((len(x), 1), np.int64)),
        indices=batch.indices,
        probes=laid.probes,
        partners=batch.partners,
        act=act,
        acting=acting_elements(transform, seed=batch.seed),
        per_sample=transform.per_sample,
        input_shape=tuple(x.shape[1:]),
    )


def ratio(above: Tensor, below: Tensor, *, fixed: bool) -> Tensor:
    """above / below, elementwise; 0, without a gradient, where below is not above 0.

    Args:
        fixed: below counts as a constant in the gradient.
    """
    divisor = below.detach() if fixed else below
    defined = divisor > 0
    # The division must not see a zero even where its result is thrown away: its gradient would be NaN.
    found = above / torch.where(defined, divisor, torch.ones_like(divisor))
    return torch.where(defined, found, torch.zeros_like(found))
