"""Equivariance under the transformation's own action on feature maps (Quiroga et al. 2019, 2020)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch

from invariscope.actions.feature_actions import SpatialAction
from invariscope.actions.kept_positions import LOST, kept_positions
from invariscope.block import Block
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.naive_actions import naive_errors
from invariscope.measures.relative_errors import mean_error
from invariscope.measures.values import LayerContext, LayerValues, Output, UnitValues, drawing_error
from invariscope.measures.variance import NormalizedVariance, SampleVariance, TransformationVariance
from invariscope.statistics.base import Statistic
from invariscope.statistics.discrepancy import Discrepancy
from invariscope.statistics.moments.orbit_moments import OrbitMoments
from invariscope.statistics.moments.orbit_state import OrbitState
from invariscope.statistics.moments.variances import Moments
from invariscope.statistics.rounding import quotient
from invariscope.unit_draw import UnitDraw

# Arrays of `Moments` with and without a leading replicate axis.
_WITH_LEAD = ("squared", "moving", "within", "total", "row_deviations", "element_deviation")
_PLAIN = ("unusual", "mean")


@dataclass
class UndoneState:
    """Sums of responses with the action undone, and the units that no element moved out of the image.

    Args:
        moments: sums per unit (all units, or the drawn ones), including units that left the image.
        kept: (unit...) mask of the units that did not.
    """

    moments: OrbitState
    kept: np.ndarray

    @property
    def counts(self) -> np.ndarray:
        """(bucket,) number of samples."""
        return self.moments.counts

    @property
    def double(self) -> bool:
        """Whether the activations were float64."""
        return self.moments.double


@dataclass(frozen=True)
class UndoneFinal:
    """Moments of the units that were kept.

    Args:
        moments: moments whose arrays are (replicate, kept unit).
        kept: (unit...) mask of those units in the layer.
    """

    moments: Moments
    kept: np.ndarray


@dataclass(frozen=True)
class UndoneMoments(Statistic):
    """The sums of `OrbitMoments` for b_ij = t_j⁻¹ a(t_j x_i), and the units for which they are meaningful.

    Args:
        spread: as for `OrbitMoments`.
        mask: leave out units that some element moves out of the image, for any sample.
    """

    needs_maps: ClassVar[bool] = True
    spread: str = "variance"
    mask: bool = True

    @property
    def drawable(self) -> bool:
        """Return True: each unit has its own sums, and units are drawn after whole maps are moved back."""
        return True

    @property
    def _sums(self) -> OrbitMoments:
        return OrbitMoments(self.spread)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return True."""
        return True

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the same as `OrbitMoments`."""
        return self._sums.bucket_bytes(units, elements)

    def stratum_bytes(self, units: int, elements: int) -> int:
        """Return the same as `OrbitMoments`."""
        return self._sums.stratum_bytes(units, elements)

    def init(self, block: Block, *, buckets: int, pilot: Any = None) -> UndoneState:
        """Return an empty state, or reject a layer without an action."""
        moments = self._sums.init(block.with_orbits(block.undone()).drawn, buckets=buckets)
        kept = np.ones(moments.shape, bool)
        return UndoneState(moments, kept & _kept(block) if self.mask else kept)

    def update(self, state: UndoneState, block: Block) -> None:
        """Add a block's orbits after undoing the action."""
        if self.mask and block.per_sample:
            state.kept &= _kept(block)
        undone = block.undone()
        # Units that left the image must not affect which samples are decisive.
        gone = torch.from_numpy(~state.kept).to(undone.device)
        drawn = block.with_orbits(undone).drawn
        self._sums.update(state.moments, replace(drawn, values=drawn.values.masked_fill(gone, 0.0)))

    @property
    def first_samples(self) -> int:
        """Return the same as `OrbitMoments`."""
        return self._sums.first_samples

    def restarted(self, state: UndoneState, *, classes: bool = True) -> UndoneState:
        """Return a state without samples, with the same references."""
        return UndoneState(self._sums.restarted(state.moments, classes=classes), state.kept)

    def enlarge(self, state: UndoneState, buckets: int) -> None:
        """Append empty buckets."""
        self._sums.enlarge(state.moments, buckets)

    def pack(self, state: UndoneState) -> dict[str, np.ndarray]:
        """Return the sums and the mask as arrays."""
        return self._sums.pack(state.moments) | {"kept": state.kept}

    def unpack(self, arrays: dict[str, np.ndarray]) -> UndoneState:
        """Restore the sums and the mask from arrays."""
        moments = {name: array for name, array in arrays.items() if name != "kept"}
        return UndoneState(self._sums.unpack(moments), arrays["kept"].astype(bool))

    def merge(self, first: UndoneState, second: UndoneState) -> UndoneState:
        """Return the sums of both states, for the units that are kept in both."""
        return UndoneState(self._sums.merge(first.moments, second.moments), first.kept & second.kept)

    def finalize(self, state: UndoneState, groups: list[list[int]]) -> UndoneFinal:
        """Return moments of the kept units in the given groups of buckets."""
        return _of_kept(self._sums.finalize(state.moments, groups), state.kept)

    def finalize_strata(self, state: UndoneState, buckets: np.ndarray) -> Sequence[UndoneFinal]:
        """Return the same of each of several strata."""
        return [_of_kept(own, state.kept) for own in self._sums.finalize_strata(state.moments, buckets)]


def _of_kept(whole: Moments, kept: np.ndarray) -> UndoneFinal:
    """Return the moments of kept units."""
    arrays = {name: getattr(whole, name) for name in _WITH_LEAD + _PLAIN}
    chosen = {name: array[..., kept] for name, array in arrays.items() if array is not None}
    return UndoneFinal(replace(whole, samples=whole.samples.reshape(-1, 1), **chosen), kept)


def _kept(block: Block) -> np.ndarray:
    """Return a (unit...) mask of the units that no element moves out of the image in any sample."""
    flags = kept_positions(block).all(0).all(0)
    return (
        (flags if block.draw is None else block.draw.take(flags.expand(1, *block.draw.shape))[0])
        .cpu()
        .numpy()
    )


_PARTS = {
    "": NormalizedVariance,
    "transformation_variance": TransformationVariance,
    "sample_variance": SampleVariance,
}
_SMALLER = "coarser than the inputs: only shifts by whole strides can be exact"


@dataclass(frozen=True, kw_only=True)
class SameEquivariance(Measure):
    """How far a feature map is from moving as the image does.

    Variance of maps that were moved back along the orbit, relative to their variance across samples.

    .. math:: b_{ij} = t_j^{-1} a(t_j x_i), \\quad
        SE_u = \\frac{\\langle \\mathrm{Var}_j\\, b_{ij,u} \\rangle_i}
                    {\\langle \\mathrm{Var}_i\\, b_{ij,u} \\rangle_j}, \\quad
        \\mathrm{direct} = \\left\\langle
            \\frac{\\|a(t_j x_i) - t_j a(x_i)\\|}{\\|t_j a(x_i)\\|} \\right\\rangle_{i,\\, t_j \\ne 1}

    Shapes: activations (sample, element, channel, row, column) to one value per unit for the normalized
    variance of b (the rows named after the measure), its `transformation_variance` and its `sample_variance`;
    `direct` is one number per layer. The action is the one declared by the transform: image transforms move
    the map as they move the image, scaled to the map's size. Layers without an action are left out, with the
    reason in the result's `provenance["skipped"]`. This applies to flat layers under a rotation, to maps with
    channels last, and to transforms without a declared action or inverse.

    The variances compare the b of one sample with each other, and with those of other samples. `direct`
    compares with the response to the untransformed input, relative to that response, and leaves out pairs
    with t a(x) = 0 (counted in the row's `undefined`).

    Caveats: near blank image borders, a unit of b can vary between elements but hardly between samples; its
    ratio is then huge, and so is the mean over units. Compare that mean with the ratio of means reported with
    it. Equivariance under an action that also permutes channels or changes their sign is not detected. A
    constant map is both equivariant and invariant. Strides that move a map's grid off the image's centre
    break equivariance to turns and flips, whatever the filters. Interpolation blurs, so that even a perfect
    network does not reach 0 at oblique angles. Any layer of shape (a, b, c) is treated as a map with `a`
    channels.

    Reading:
        0: the map moves exactly as the image does. About 1: once moved back, maps of one sample differ as
        much as those of different samples. `direct` is the error relative to the response itself. The values
        are not meaningful if the transformation permutes channels, or if strides move a map's grid off the
        image's centre.

    Args:
        spread: "variance", or "std" for means of standard deviations, as in the variance measures.
        mask: leave out units that left the image: a unit is kept if each element followed by its inverse
            returns it (at least 0.999 of a map of ones comes back or, if padding repeats the border, the
            content comes from less than half a pixel away). The variances keep units that all elements
            return; `direct` considers each element separately.
        min_firing: as in the variance measures.

    Raises:
        ValueError: an unknown option, or no layer with an action.

    Source:
        Quiroga et al. 2019, doi:10.1007/978-3-030-27713-0_9, for the variances; the direct error is the
        definition of equivariance, a(t x) = t a(x), with its relative deviation.

    >>> turned = np.array([[[1.0, 0.0], [0.0, 0.0]], [[0.0, 0.0], [1.0, 0.0]],
    ...                    [[0.0, 0.0], [0.0, 1.0]], [[0.0, 1.0], [0.0, 0.0]]])
    >>> SameEquivariance().oracle(turned[None, :, None], None)["direct"]
    array(0.)
    """

    fewest_elements: ClassVar[int] = 2

    spread: str = "variance"
    mask: bool = True
    min_firing: int = 20

    needs_action: ClassVar[bool] = True

    def __post_init__(self) -> None:
        for part in _PARTS.values():
            part(spread=self.spread, min_firing=self.min_firing)
        if not isinstance(self.mask, bool):
            raise TypeError(f"mask must be True or False; got {self.mask!r}")

    def outputs(self) -> dict[str, Output]:
        """Describe the variances of the responses moved back, and the error of `EquivarianceError`."""
        return {
            "": Output("normalized variance after moving back"),
            "transformation_variance": Output("variance after moving back", unit="activation"),
            "sample_variance": Output("variance across samples"),
            "direct": Output("relative error"),
        }

    def statistics(self) -> tuple[UndoneMoments, Discrepancy]:
        """Return moments of the responses moved back, and the errors per sample and element."""
        mask = "if_known" if self.mask else ""
        errors = Discrepancy(mask=mask, partner=False, exclude_identity=True)
        return UndoneMoments(self.spread, self.mask), errors

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, UnitValues | LayerValues]:
        """Return variances per unit, and the error of the layer."""
        final, table = finals
        parts = {name: self._part(final, cls, layer) for name, cls in _PARTS.items()}
        return parts | {"direct": mean_error(table)}

    def _part(self, final: UndoneFinal, cls: Any, layer: LayerContext) -> UnitValues:
        measure = cls(spread=self.spread, min_firing=self.min_firing)
        # The mask tolerates an action's error of a thousandth, so smaller variances are not resolved.
        resolution = 0.0 if final.kept.all() else LOST
        of_kept = replace(layer, shape=(int(final.kept.sum()),), dead=None, draw=None)
        of_kept = replace(of_kept, resolution=resolution)
        values = measure.evaluate((final.moments, final.moments), of_kept)[""]
        if layer.draw is not None:
            values = replace(values, draw=layer.draw)
            if values.ratio is not None:
                values = replace(values, **_drawn_ratio(values.ratio, self.spread, final, layer.draw))
        return _in_place(values, final.kept, note="" if cls is not NormalizedVariance else _note(layer))

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition for quarter turns, which move no value out of the image."""
        turns = range(activations.shape[1])
        undone = np.stack([np.rot90(activations[:, k], -k, axes=(-2, -1)) for k in turns], axis=1)
        spread = np.var if self.spread == "variance" else np.std
        with np.errstate(divide="ignore", invalid="ignore"):
            along = spread(undone, axis=1, ddof=1).mean(axis=0)
            across = spread(undone, axis=0, ddof=1).mean(axis=0) if len(undone) > 1 else np.nan * along
            ratio = along / across
        found = {"": ratio, "transformation_variance": along, "sample_variance": across}
        return found | {"direct": np.array(np.mean(naive_errors(activations, SpatialAction())))}

    @classmethod
    def examples(cls) -> tuple[SameEquivariance, ...]:
        """Return instances with both spreads, with and without the mask."""
        return (cls(), cls(mask=False), cls(spread="std"))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples with one feature map each; one map follows the turns, the other stays."""
        follows = [np.rot90([[3.0, 0.0], [0.0, 4.0]], k) for k in range(4)]
        stays = [np.array([[2.0, 0.0], [0.0, 0.0]])] * 4
        maps = np.stack([follows, stays])[:, :, None]
        # The second sample's corner, moved back, visits all four positions: a variance of 1 in each.
        along = np.full((1, 2, 2), 0.5)
        # Across samples: half the squared difference from 3 0 0 4, with the corner at each of the positions.
        across = np.array([[[(1 + 9 + 9 + 9) / 8, 4 / 8], [4 / 8, (16 + 16 + 16 + 4) / 8]]])
        return (
            KnownAnswer({}, maps, along, output="transformation_variance"),
            KnownAnswer({}, maps, across, output="sample_variance"),
            KnownAnswer({}, maps, along / across),
            KnownAnswer({}, maps, 2**0.5 / 2, output="direct"),
        )


def _drawn_ratio(ratio: np.ndarray, spread: str, final: UndoneFinal, draw: UnitDraw) -> dict[str, Any]:
    """Return the ratio of means estimated from drawn units, and its error due to the draw.

    Args:
        ratio: (replicate,) the ratio with all units weighted equally; NaN for replicates without a value.
    """
    moments, weights = final.moments, draw.weights[final.kept]
    above, below = moments.transformation_variance, moments.sample_variance
    if spread == "std":
        above, below = moments.transformation_deviation, moments.sample_deviation
    ratio = np.where(np.isnan(ratio), np.nan, quotient(above @ weights, below @ weights))
    terms = np.zeros((2, draw.count))
    terms[:, final.kept] = above[0], below[0]
    return {"ratio": ratio, "ratio_error": drawing_error(terms[0], terms[1], draw)}


def _in_place(values: UnitValues, kept: np.ndarray, *, note: str) -> UnitValues:
    """Put the values of the kept units at their positions among all units; NaN elsewhere."""
    lead, masked = len(values.values), int((~kept).sum())
    whole, null = np.full((lead, *kept.shape), np.nan), np.full(kept.shape, np.nan)
    whole[:, kept] = values.values
    counted = np.zeros(kept.shape, bool)
    counted[kept] = values.counted
    if values.null is not None:
        null[kept] = values.null
    lost = f"{masked} of {kept.size} units leave the image under some element and are left out"
    notes = [part for part in (lost if masked else "", note) if part]
    return replace(
        values,
        values=whole,
        counted=counted,
        null=None if values.null is None else null,
        masked=masked,
        note="; ".join(notes),
    )


def _note(layer: LayerContext) -> str:
    """Return a caution for maps on a coarser grid than the input's."""
    if len(layer.shape) != 3 or len(layer.input_shape) != 3:
        return ""
    sides = zip(layer.shape[1:], layer.input_shape[1:], strict=True)
    return _SMALLER if any(side <= 0.6 * whole for side, whole in sides) else ""
