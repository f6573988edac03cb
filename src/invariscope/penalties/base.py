"""The base class of penalties: one forward pass of a batch's orbits, and a formula for the responses."""

from __future__ import annotations

import abc
from dataclasses import KW_ONLY, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.block import Block, Membership
from invariscope.common.autocast import without_autocast
from invariscope.common.checks import set_integers
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

_STRIDE = 0x9E3779B97F4A7C15  # odd, so that steps and seeds do not collide
_OUTPUT: LayerKey = ("output", 0)


@dataclass(frozen=True)
class PenaltyNeeds:
    """The requirements of a penalty's formula.

    Args:
        fewest: smallest number of elements that the formula needs.
        probes: inputs to forward besides the orbits.
        without_identity: never draw the identity, and do not count it among the elements.
        of_output: penalise the model's output instead of layers.
    """

    fewest: int
    probes: tuple[Probe, ...] = ()
    without_identity: bool = False
    of_output: bool = False


@dataclass(frozen=True)
class Penalty(abc.ABC):
    """A measure of one batch as a loss: penalty(model, x) is a scalar, differentiable in the parameters.

    The batch's orbits and the measure's other inputs pass through the model in one forward pass, in the
    model's current mode and under the caller's autocast; the formula itself is computed without autocast. The
    value is the mean over layers; a layer in which nothing varies contributes 0.

    Args:
        transform: as in `iv.measure`.
        layers: as in `iv.measure`; each layer must have the batch on its first axis.
        output: for penalties on the output, the part to penalise: a name, an index or a function; None: the
            only floating-point tensor in the output with the batch on its first axis.
        elements: number of elements to draw at each step, without repeats; None: all.
        seed: seed of all draws.
    """

    transform: Any
    _: KW_ONLY
    layers: Selection = None
    output: OutputChoice = None
    elements: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "transform", as_transform(self.transform))
        fewest, most = self._needs.fewest, len(self._candidates)
        if most < fewest:
            besides = " besides the identity" if self._needs.without_identity else ""
            needed = f"{fewest} element{'s' * (fewest > 1)}{besides}"
            raise ValueError(f"{type(self).__name__} needs at least {needed}; the transform has {most}")
        set_integers(self, elements=fewest, besides=(None,))
        if self.elements is not None and self.elements > most:
            raise ValueError(
                f"elements must be at most {most}, the number of elements to draw from; got {self.elements}"
            )
        as_output_choice(self.output)
        self._validate()

    @abc.abstractmethod
    def _validate(self) -> None:
        """Raise ValueError or TypeError for invalid options."""

    @property
    @abc.abstractmethod
    def _needs(self) -> PenaltyNeeds:
        """The requirements of the formula."""

    @abc.abstractmethod
    def _value(self, block: Block) -> Tensor:
        """Return the value of the formula for one layer, a scalar; 0 if it is undefined."""

    @property
    def draws(self) -> bool:
        """Whether anything is drawn at random, so that `step` must be given."""
        drawn_probes = any(probe.name != "identity" for probe in self._needs.probes)
        return self.elements is not None or self.transform.per_sample or drawn_probes

    def __call__(self, model: nn.Module, x: Tensor, *, step: int | None = None) -> Tensor:
        """Return the mean over layers, a scalar; NaN if a response is NaN or infinite.

        Args:
            model: the model in training.
            x: (sample, ...) a batch of at least two samples, without augmentation.
            step: number of the training step. Draws depend only on the seed, the step, and positions in the
                batch. Step 0 draws the same as `iv.measure` with the same seed.
        Raises:
            ValueError: a pattern that matches no layer, fewer than two samples, `step` missing.
            TypeError: the model is not a module, or the transform cannot act on the data.
        """
        found = self.by_layer(model, x, step=step)
        return torch.stack(list(found.values())).mean()

    def by_layer(self, model: nn.Module, x: Tensor, *, step: int | None = None) -> dict[LayerKey, Tensor]:
        """Return the penalty of each layer, {(layer, call): scalar}, from one forward pass."""
        if self.draws and step is None:
            raise ValueError("the penalty draws at random: pass step=, the number of the training step")
        if len(x) < 2:
            raise ValueError(f"a penalty compares samples, so x must have at least two; got {len(x)}")
        seed, transform = self.seed + _STRIDE * (step or 0), self._drawn(step)
        batch = Batch(np.arange(len(x)), np.arange(len(x)), partners(len(x)), seed)
        with without_autocast():
            laid = lay_out(transform, self._needs.probes, x, batch=batch)
        if self._needs.of_output:
            read = {_OUTPUT: output_in_graph(model, laid.rows, output=self.output)}
        else:
            read = responses_in_graph(model, laid.rows, layers=self.layers)
        block = _block(laid, transform, x, batch)
        with without_autocast():
            return {key: self._of_layer(replace(block, values=_widened(v))) for key, v in read.items()}

    def _of_layer(self, block: Block) -> Tensor:
        """Return the value of one layer; NaN, as are its gradients, if a response is NaN or infinite."""
        finite = block.values.detach().isfinite().all()
        return self._value(block) * torch.where(finite, 1.0, torch.nan)

    def drawn_elements(self, step: int | None = None) -> tuple[int, ...]:
        """Return the positions of the elements that a step forwards, in order."""
        if self.elements is None:
            return tuple(range(len(self.transform)))
        draws = Draws(self.seed, np.array([step or 0]), len(self._candidates), Stream.PENALTY_ELEMENT)
        order = np.argsort(draws.uniform()[0], kind="stable")[: self.elements]
        return tuple(sorted(self._candidates[place] for place in order.tolist()))

    @cached_property
    def _candidates(self) -> list[int]:
        """Positions of the elements from which a step draws."""
        left_out = self.transform.identity if self._needs.without_identity else None
        return [j for j in range(len(self.transform)) if j != left_out]

    def _drawn(self, step: int | None) -> Transform:
        whole: Transform = self.transform
        return whole if self.elements is None else Chosen(whole, self.drawn_elements(step))


def _widened(values: Tensor) -> Tensor:
    """Return half-precision values, such as those computed under autocast, in float32."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _block(laid: ForwardRows, transform: Transform, x: Tensor, batch: Batch) -> Block:
    """Return the block of a layer without its values, which are filled in later."""
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
    """Return above / below, elementwise; 0, without a gradient, unless `below` is positive.

    Args:
        fixed: treat `below` as a constant in the gradient.
    """
    divisor = below.detach() if fixed else below
    defined = divisor > 0
    # Division by zero would give a NaN gradient even if its result is discarded.
    found = above / torch.where(defined, divisor, torch.ones_like(divisor))
    return torch.where(defined, found, torch.zeros_like(found))
