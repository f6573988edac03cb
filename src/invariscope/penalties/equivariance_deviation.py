"""Empirical equivariance deviation as a training penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from torch import Tensor

from invariscope.actions.feature_actions import FeatureAction, SpatialAction, TrivialAction
from invariscope.actions.fitted_action import FittedAction
from invariscope.block import Block
from invariscope.measures.equivariance_deviation import EquivarianceDeviation as Measured
from invariscope.penalties.base import Penalty, ratio
from invariscope.statistics.discrepancy import Discrepancy
from invariscope.statistics.probes import Probe


@dataclass(frozen=True, kw_only=True)
class EquivarianceDeviation(Penalty):
    """How far responses are from moving as the group says they should, under one choice of the action.

    .. math:: E = \\langle d(f(gx),\\; g\\,\\hat f(x)) \\rangle_{x, g}, \\qquad
        E_0 = \\langle d(f(gx),\\; g\\,\\hat f(z)) \\rangle

    `EquivarianceDeviation` of the measures, of one batch, from the very same formulas: −1 is perfect for
    cosines, 0 for distances and KL. Pairs with a zero vector are left out.

    Caveats: the penalty can fall without the network becoming equivariant: distances if responses shrink, and
    all of them if responses barely differ between samples (a large common offset brings every cosine to −1).
    `to_null` guards against both: it divides by E₀, the same with f̂ of another sample z of the batch (1 + E
    by 1 + E₀ for cosines). It still falls if samples lie further apart; `fixed_denominator` removes that
    gradient, and with it what keeps responses from shrinking.

    Args:
        transform, layers, output, elements, seed: see `Penalty`. kind="output" reads the model's output,
            whatever `layers` says. Elements can be drawn under the trivial and the spatial action alone.
        kind, distance, reference, exclude_identity, feature_action: as of the measure.
        to_null: relative to the null: 0 is equivariant, 1 no more so than for another sample.
        fixed_denominator: the null counts as a constant in the gradient.

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
        """The measure whose formulas these are."""
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
                "a fitted action needs many samples, and a penalty sees one batch: take another "
                "feature_action, and measure the fitted one with iv.measure"
            )
        if self.elements is not None and not isinstance(action, TrivialAction | SpatialAction):
            raise ValueError(
                f"the action {action.name!r} belongs to the whole group, of which elements={self.elements} "
                "draws a part: leave out elements, or take the trivial or the spatial action"
            )

    @property
    def _probes(self) -> tuple[Probe, ...]:
        return self.measured.probes

    @property
    def _fewest(self) -> int:
        return 1 if self.measured.needs_action else 2

    @property
    def _candidates(self) -> Sequence[int]:
        left_out = self.transform.identity if self.exclude_identity else None
        return [j for j in range(len(self.transform)) if j != left_out]

    @property
    def _of_output(self) -> bool:
        return self.measured.scope == "output"

    def _value(self, block: Block) -> Tensor:
        (statistic,) = self.measured.statistics()
        assert isinstance(statistic, Discrepancy)
        rows = statistic.rows(block)
        value = rows["gap"].sum() / rows["count"].sum().clamp_min(1)
        if not self.to_null:
            return value
        null = rows["null_gap"].sum() / rows["null_count"].sum().clamp_min(1)
        offset = float(self.measured.distance == "cosine")  # for which −1 is perfect
        return ratio(offset + value, offset + null, fixed=self.fixed_denominator)
