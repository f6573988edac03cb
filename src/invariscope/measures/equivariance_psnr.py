"""Equivariance of image-to-image models, in decibels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from invariscope.block import Block, NotApplicableError
from invariscope.measures.base import KnownAnswer, SampleMeasure
from invariscope.measures.values import ElementValues, LayerContext, LayerValues, Output, Values
from invariscope.statistics.discrepancy import Discrepancy
from invariscope.statistics.kept.sample_table import Columns, SampleTable
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.rounding import quotient

_ERRORS = Discrepancy(distance="squared_l2", mask="always", exclude_identity=True)
_ROUNDING = float(np.finfo(np.float32).eps) ** 2
_BEST = float(-10 * np.log10(_ROUNDING))


@dataclass(frozen=True, kw_only=True)
class EquivariancePSNR(SampleMeasure):
    """How exactly an output image follows the movement of the input image, in decibels.

    Peak signal-to-noise ratio between the output for a transformed input and the transformed output.

    .. math:: \\mathrm{PSNR} = 10 \\log_{10} \\frac{I_{max}^2}{\\sum M e^2 / \\sum M}, \\qquad
        e = f(t_j x_i) - t_j f(x_i)

    Shapes: output images (sample, element, channel, row, column) to one number in decibels, and one per
    element in `result.curves`. Numerator and denominator are each summed over all samples, values and
    elements (except the identity), so that a good sample cannot hide a bad one as it would in a mean of
    decibels. M is 1 for values that t_j and its inverse return to their position, and 0 for those whose
    content comes from outside the image. A mean square error below rounding is raised to (eps·I_max)², with
    the eps of single precision, so a perfect model has 138.5 dB. The null compares with the output for
    another sample.

    Caveats: a constant image is perfectly equivariant. Interpolation of the inputs lowers the ratio even for
    a perfect model: compare with the floor and the null.

    Reading:
        Larger is better; 20 dB is a root mean square error of a tenth of the range, and 40 dB is a hundredth.
        The null compares with another sample's image. Only values that stay inside the image count.

    Args:
        peak: I_max, the range of the output's values.

    Raises:
        ValueError: a peak that is not positive; outputs that are not images; a transform without an action.

    Source:
        Karras et al. 2021, arXiv:2106.12423, EQ-T and EQ-R, whose elements are drawn at random.

    >>> image = np.array([[[1.0, 0.0], [0.0, 0.0]]])
    >>> still = np.stack([image] * 2)[None]  # should turn by a quarter; two of four values are wrong
    >>> print(EquivariancePSNR().oracle(still, None)[""].round(2))
    3.01
    """

    peak: float = 1.0

    scope: ClassVar[str] = "output"
    needs_action: ClassVar[bool] = True
    reads = (Untransformed(),)
    paired = True

    def __post_init__(self) -> None:
        if not 0 < self.peak < float("inf"):
            raise ValueError(f"peak, the range of the output's values, must be positive; got {self.peak!r}")

    def outputs(self) -> dict[str, Output]:
        """Describe the ratio over all elements, and by element."""
        return {
            "": Output("signal-to-noise ratio (dB)", (-float("inf"), _BEST), ideal=_BEST),
            "by_element": Output("ratio by element (dB)", (-float("inf"), _BEST), ideal=_BEST),
        }

    def rows(self, block: Block) -> Columns:
        """Return squared errors per sample and element over the values that stay inside the image."""
        if block.values.ndim != 4:
            raise NotApplicableError(
                "outputs must be images (sample, channel, height, width); "
                f"got (sample, {', '.join(map(str, block.values.shape[1:]))})"
            )
        return _ERRORS.rows(block)

    def moves_positions(self, layer: str, axes: int) -> bool:
        """Return True: outputs are images."""
        return True

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return decibels over all elements, and per element."""
        (table,) = finals

        def pooled(part: SampleTable, along: Any = None, error: str = "") -> np.ndarray:
            counted = part[f"{error}count"] > 0
            squares = (part[f"{error}gap"] * counted).sum(axis=along)
            return self._decibels(squares, (part["units"] * counted).sum(axis=along))

        null = pooled(table, error="null_")
        return {
            "": LayerValues(table.replicates(pooled), float(null)),
            "by_element": ElementValues(table.replicates(lambda part: pooled(part, 0))),
        }

    def _decibels(self, errors: np.ndarray, counts: np.ndarray) -> np.ndarray:
        return -10 * np.log10(np.maximum(quotient(errors, counts) / self.peak**2, _ROUNDING))

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition for quarter turns, which move no value out of the image."""
        errors = np.array(
            [
                [np.mean((orbit[j] - np.rot90(orbit[0], j, axes=(1, 2))) ** 2) for orbit in activations]
                for j in range(1, activations.shape[1])
            ]
        )
        decibels = [10 * np.log10(self.peak**2 / part.mean()) for part in errors]
        return {
            "": np.array(10 * np.log10(self.peak**2 / errors.mean())),
            "by_element": np.array([np.nan, *decibels]),
        }

    @classmethod
    def examples(cls) -> tuple[EquivariancePSNR, ...]:
        """Return instances with two values of `peak`."""
        return (cls(), cls(peak=255.0))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return a corner that stays (half of the values are off by 1), one that turns, and a small error."""
        corner = np.array([[1.0, 0.0], [0.0, 0.0]])
        still = np.tile(corner, (2, 4, 1, 1, 1))
        turning = np.stack([np.rot90(corner, k) for k in range(4)])[None, :, None].repeat(2, axis=0)
        off = turning + np.array([0.0, 0.1, 0.1, 0.1])[:, None, None, None]
        return (
            KnownAnswer({}, still, 10 * np.log10(2)),
            KnownAnswer({"peak": 10.0}, still, 20 + 10 * np.log10(2)),
            KnownAnswer({}, turning, _BEST),
            KnownAnswer({}, off, 20.0),
            KnownAnswer({}, off, [np.nan, 20.0, 20.0, 20.0], output="by_element"),
        )
