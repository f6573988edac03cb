"""Empirical equivariance deviation as a training penalty."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from invariscope.actions.feature_actions import FeatureAction, SpatialAction, TrivialAction
from invariscope.actions.fitted_action import FittedAction
from invariscope.block import Block
from invariscope.measures.equivariance_deviation import EquivarianceDeviation as Measured
from invariscope.penalties.base import Penalty, PenaltyNeeds, ratio
from invariscope.statistics.discrepancy import Discrepancy


@dataclass(frozen=True, kw_only=True)
class EquivarianceDeviation(Penalty):
    """Deviation of responses from equivariance under a chosen action of the group.

    .. math:: E = \\langle d(f(gx),\\; g\\,\\hat f(x)) \\rangle_{x, g}, \\qquad
        E_0 = \\langle d(f(gx),\\; g\\,\\hat f(z)) \\rangle

    The measure `EquivarianceDeviation` of one batch, from the same formulas: −1 is perfect for cosines, 0 for
    distances and KL. Pairs with a zero vector are left out.

    Caveats: the penalty can decrease without equivariance: distances if responses shrink, and all kinds if
    responses barely differ between samples (a large common offset brings every cosine to −1). `to_null`
    prevents both. It divides by E₀, which uses f̂ of another sample z of the batch (for cosines, it divides 1
    + E by 1 + E₀), and still decreases if the responses of different samples move further apart.
    `fixed_denominator` removes the gradient of the null, but this gradient also keeps responses from
    shrinking.

    Args:
        transform, layers, output, elements, seed: see `Penalty`. kind="output" reads the model's output and
            ignores `layers`. `elements` requires the trivial or the spatial action.
        kind, distance, reference, exclude_identity, feature_action: as in the measure.
        to_null: divide by the null, so that 0 means equivariant, and 1 no better than for another sample.
        fixed_denominator: treat the null as a constant in the gradient.

    Source:
        Kvinge et al. 2022, arXiv:2210.03773, definition 3.

    >>> import torch
    >>> from invariscope.transforms import QuarterTurns
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Conv2d(1, 2, 1)  # equivariant whatever its weights
    >>> images = torch.rand(4, 1, 3, 3, dtype=torch.float64)
    >>> penalty = EquivarianceDeviation(QuarterTurns(), layers="*", kind="channelwise", distance="l2")
    >>> print(penalty(model.double(), images).item())
    0.0
    """

    kind: str = "latent"
    distance: str = ""
    reference: str = "kernel"
    exclude_identity: bool = False
    feature_action: FeatureAction | str | None = None
    to_null: bool = False
    fixed_denominator: bool = False

    @cached_property
    def measured(self) -> Measured:
        """The measure that defines the formulas."""
        return Measured(
            kind=self.kind,
            distance=self.distance,
            reference=self.reference,
            exclude_identity=self.exclude_identity,
            feature_action=self.feature_action,
        )

    def _validate(self) -> None:
        action = self.measured.action
        if isinstance(action, FittedAction):
            raise ValueError(
                "a fitted action needs many samples, but a penalty sees one batch at a time: choose another "
                "feature_action, and use iv.measure for the fitted one"
            )
        if self.elements is not None and not isinstance(action, TrivialAction | SpatialAction):
            raise ValueError(
                f"the action {action.name!r} is defined on the whole group, but elements={self.elements} "
                "draws only part of it: leave out elements=, or choose the trivial or the spatial action"
            )

    @property
    def _needs(self) -> PenaltyNeeds:
        measured = self.measured
        fewest = 1 if measured.needs_action else 2
        return PenaltyNeeds(fewest, measured.probes, self.exclude_identity, measured.scope == "output")

    def _value(self, block: Block) -> Tensor:
        (statistic,) = self.measured.statistics()
        assert isinstance(statistic, Discrepancy)
        rows = statistic.rows(block)
        value = rows["gap"].sum() / rows["count"].sum().clamp_min(1)
        if not self.to_null:
            return value
        null = rows["null_gap"].sum() / rows["null_count"].sum().clamp_min(1)
        offset = float(self.measured.distance == "cosine")  # −1 is perfect for cosines
        return ratio(offset + value, offset + null, fixed=self.fixed_denominator)
