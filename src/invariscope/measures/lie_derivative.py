"""Lie derivatives: the rate at which a representation departs from equivariance (Gruver et al. 2023)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.checks import refuse_other
from invariscope.generators import Derivatives, Generator, as_generators
from invariscope.generators.derivatives import INTERPOLATIONS
from invariscope.measures.base import KnownAnswer, SampleMeasure
from invariscope.measures.values import LayerContext, LayerValues, Output
from invariscope.statistics.base import Statistic
from invariscope.statistics.kept.sample_table import Columns, SampleRows
from invariscope.statistics.probes import Batch, Probe, Untransformed
from invariscope.statistics.rounding import quotient
from invariscope.statistics.sample_spread import SampleSpread

ACTIONS = ("spatial", "trivial")
DEFAULT = ("translation_x", "translation_y", "rotation", "scale")
LEGACY = "legacy_lee"


@dataclass(frozen=True)
class AlongGenerators(Probe):
    """Two inputs for each generator: x + h X x, then x − h X x.

    Args:
        generators: the generators X.
        steps: (generator,) h.
        interpolation: how the images are interpolated.
    """

    generators: tuple[Generator, ...]
    steps: tuple[float, ...]
    interpolation: str

    @property
    def name(self) -> str:
        """Unique name, which contains the generators and steps."""
        named = zip((generator.name for generator in self.generators), self.steps, strict=True)
        return f"{self.interpolation} along " + ", ".join(f"{name} {step:g}" for name, step in named)

    def columns(self, elements: int) -> int:
        """Return two columns per generator."""
        return 2 * len(self.generators)

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return (sample, column, ...) inputs."""
        at = Derivatives(x, self.interpolation)
        moves = [h * generator.tangent(at) for generator, h in zip(self.generators, self.steps, strict=True)]
        return torch.stack([x + sign * move for move in moves for sign in (1, -1)], dim=1)


@dataclass(frozen=True, kw_only=True)
class LieDerivative(SampleMeasure):
    """How fast a representation departs from equivariance when its input is transformed.

    Rate at which a representation departs from equivariance, for infinitesimal transformations.

    .. math:: L_X f(x) = \\left.\\frac{d}{dt}\\right|_0 \\rho_{out}(-t)\\, f(\\rho_{in}(t)\\, x)
        = df(X_{in} x) - X_{out} f(x), \\qquad
        \\mathrm{LEE} = \\frac{\\langle \\|L_X f\\|^2 \\rangle}{\\dim Y}

    Shapes: responses (sample, unit...) to the images and to x ± h X x, to one non-negative number per layer
    and generator, in squared units of the response per squared unit of t. The transform's elements are not
    used and not forwarded for this measure; each generator costs two forward passes per image. On feature
    maps, ρ_out moves the maps as the image moves, scaled to their size; on flat layers it is trivial, so that
    equivariance means invariance there. X_in is computed from the B-spline through the pixels, with edges
    replicated; df is a central difference.

    `rotation` is the LEE of that generator, `rotation.absolute` the mean of |L_X f| over units, and
    `rotation.relative` ⟨‖L_X f‖²⟩ / ⟨‖f(x) − f(z)‖²⟩ over pairs of samples, which is comparable between
    layers.

    Caveats: do not compare values of different generators, since pixels, radians and factors are different
    units. The derivative at t = 0 does not describe large movements. Any layer of shape (a, b, c) is treated
    as `a` maps of b × c positions; tokens are treated as flat layers. The difference averages over the kinks
    of ReLU and max-pooling within the step (1 to 2 % less than the derivative in an untrained SimpleConv),
    but a smaller step would be lost in the rounding of float32. Low precision (bf16) makes differences
    meaningless. `iv.lie_derivative` differentiates exactly.

    Reading:
        0: the layer moves exactly as its input does (flat layers: it does not change). Larger: faster
        departure, per squared pixel, radian or factor. Compare layers by `relative`, and do not compare
        generators. A derivative does not describe large movements.

    Args:
        generators: names ("translation_x", "translation_y", "rotation", "scale", "shear_x", "shear_y",
            "hyperbolic", "blur", "intensity"), callables (x, t), or `iv.generators` objects. Shifts are in
            pixels, angles in radians, blur in squared pixels of variance.
        action: on feature maps, "spatial" as above, or "trivial", which measures invariance.
        interpolation: "spline", or "fourier" for periodic images, on which shifts are exact.
        step: factor by which each generator's own step is multiplied.
        preset: "legacy_lee": the published estimator, the automatic derivative of a bilinear sampling grid
            from −1 to 1. Its shifts are in half images, and its one-sided derivative is off by tens of
            percent on fine patterns. The published code uses the network's probabilities and reports
            `absolute`; the paper uses squares.

    Raises:
        ValueError: an unknown option, one that contradicts the preset, or a step that is not positive.
        TypeError: inputs that are not images.

    Source:
        Gruver, Finzi, Goldblum and Wilson 2023, arXiv:2210.02984, eq. 3 and 4.

    >>> brighter = LieDerivative(generators="intensity", step=2000)  # h = 1
    >>> responses = np.array([[[1.0], [3.0], [0.0]]])  # f(x), f(x + h X x), f(x − h X x)
    >>> float(brighter.oracle(responses, None)["intensity"])
    2.25
    """

    generators: Any = DEFAULT
    action: str = "spatial"
    interpolation: str = ""
    step: float = 1.0
    preset: str | None = None

    maps_differ: ClassVar[bool] = True
    needs_orbit: ClassVar[bool] = False

    def __post_init__(self) -> None:
        refuse_other(self, preset=(None, LEGACY), action=ACTIONS)
        if self.preset is not None and self.interpolation not in ("", "bilinear"):
            came = f"interpolation={self.interpolation!r}"
            raise ValueError(f"preset={self.preset!r} implies interpolation='bilinear', but got {came}")
        chosen = self.interpolation or ("bilinear" if self.preset else "spline")
        object.__setattr__(self, "interpolation", chosen)
        refuse_other(self, interpolation=INTERPOLATIONS)
        if isinstance(self.step, bool) or not 0 < self.step < float("inf"):
            raise ValueError(
                f"step, which multiplies the generators' own steps, must be positive; got {self.step!r}"
            )
        object.__setattr__(self, "generators", _written(self.generators))
        if chosen == "bilinear" and any(generator.name == "blur" for generator in self.flows):
            raise ValueError(
                "blur needs second derivatives, which bilinear interpolation lacks; leave it out"
            )
        object.__setattr__(self, "reads", (Untransformed(), AlongGenerators(self.flows, self._steps, chosen)))

    @property
    def flows(self) -> tuple[Generator, ...]:
        """The generators as objects."""
        return as_generators(self.generators)

    @property
    def _steps(self) -> tuple[float, ...]:
        return tuple(self.step * generator.step for generator in self.flows)

    def outputs(self) -> dict[str, Output]:
        """Describe three outputs per generator."""
        titles = {"": "speed", ".absolute": "absolute speed", ".relative": "speed among samples"}
        return {
            f"{flow.name}{suffix}": Output(f"{flow.name}: {title}", floor=False)
            for flow in self.flows
            for suffix, title in titles.items()
        }

    def rows(self, block: Block) -> Columns:
        """Return (sample, generator) ‖L f‖² and the means of (L f)² and |L f| over units.

        Here L f = df(X x) − X f, in the precision of the responses. Rounding of the sums is negligible
        compared with rounding in the forward passes, which the division by the step magnifies.
        """
        pairs, at = _at_least_single(block.probe(self.reads[1].name)), self._maps(block)
        size = block.input_shape[-2:] if len(block.input_shape) == 3 else None
        found: dict[str, list[Tensor]] = {"norms": [], "squares": [], "absolute": []}
        for number, (generator, step) in enumerate(zip(self.flows, self._steps, strict=True)):
            change = (pairs[:, 2 * number] - pairs[:, 2 * number + 1]).div_(2 * step)
            if at is not None and generator.moves_maps:
                change -= generator.tangent(at, input_size=size)  # type: ignore[arg-type]
            flat = change.flatten(1)
            norms = flat.square().sum(1).double()
            found["norms"].append(norms)
            found["squares"].append(norms / flat.shape[1])
            found["absolute"].append(flat.abs_().sum(1).double() / flat.shape[1])
        return {name: torch.stack(columns, dim=1) for name, columns in found.items()}

    def _maps(self, block: Block) -> Derivatives | None:
        """Return the untransformed responses if they are feature maps on which the generators act."""
        responses = block.rest()
        moving = self.action == "spatial" and responses.ndim == 4
        return Derivatives(_at_least_single(responses), self.interpolation) if moving else None

    def statistics(self) -> tuple[Statistic, ...]:
        """Return Lie derivatives per sample, and distances between samples."""
        return SampleRows(self), SampleSpread()

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, LayerValues]:
        """Return the LEE of each generator."""
        table, spread = finals
        norms, squares, absolute = (table.means(name) for name in ("norms", "squares", "absolute"))
        apart = spread.distance()
        found = {}
        for number, generator in enumerate(self.flows):
            found[generator.name] = LayerValues(squares[:, number])
            found[f"{generator.name}.absolute"] = LayerValues(absolute[:, number])
            found[f"{generator.name}.relative"] = LayerValues(quotient(norms[:, number], apart))
        return found

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition map by map, with SciPy's spline through each row and column."""
        rest, columns = activations[:, 0], 2 * len(self.flows)
        pairs = activations[:, activations.shape[1] - columns :]
        n = len(rest)
        apart = np.mean(
            [np.sum((rest[i] - rest[k]) ** 2) for i in range(n) for k in range(n) if i != k] or [0]
        )
        found: dict[str, np.ndarray] = {}
        for number, (flow, step) in enumerate(zip(self.flows, self._steps, strict=True)):
            change = (pairs[:, 2 * number] - pairs[:, 2 * number + 1]) / (2 * step)
            if flow.moves_maps and self.action == "spatial" and rest.ndim == 4:
                change = change - naive_tangent(flow.name, rest, self.interpolation)
            found[flow.name] = np.asarray(np.mean(change**2))
            found[f"{flow.name}.absolute"] = np.asarray(np.mean(np.abs(change)))
            if apart > 0:
                found[f"{flow.name}.relative"] = found[flow.name] * rest[0].size / apart
        return found

    @classmethod
    def examples(cls) -> tuple[LieDerivative, ...]:
        """Return every generator, action and interpolation."""
        rest = ("shear_x", "shear_y", "hyperbolic", "blur", "intensity")
        few = ("translation_x", "rotation")
        invariant, repeating = (
            cls(generators=few, action="trivial"),
            cls(generators=few, interpolation="fourier"),
        )
        return (cls(), cls(generators=rest), invariant, repeating, cls(preset=LEGACY, step=3.0))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return a flat layer whose response changes by 1.5 per unit of t, and an invariant one."""
        flat = [[[1.0, 0.0], [3.0, 7.0], [0.0, 7.0]], [[0.0, 1.0], [4.0, 7.0], [1.0, 7.0]]]
        options = {"generators": "intensity", "step": 2000.0}
        values = {"intensity": 2.25 / 2, "intensity.absolute": 0.75, "intensity.relative": 2.25 / 2}
        return KnownAnswer.each(options, flat, values)


def _at_least_single(values: Tensor) -> Tensor:
    """Convert half precision and integers to float32: a difference has no more digits than its terms."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _written(given: Any) -> tuple[Any, ...]:
    """Replace generators by their names, if they have one, so that options can be stored."""
    from invariscope.generators.flows import NAMES, named

    flows = as_generators(given)
    return tuple(f.name if f.name in NAMES and f == named(f.name) else f for f in flows)


def naive_tangent(name: str, maps: np.ndarray, interpolation: str) -> np.ndarray:
    """Return X x for maps x (sample, channel, row, column) of the inputs' size, with X given by name."""
    if name == "intensity":
        return maps
    height, width = maps.shape[-2:]
    slope_x, slope_y = (_naive_derivative(maps, axis, 1, interpolation) for axis in (3, 2))
    if name == "blur":
        return np.sum([_naive_derivative(maps, axis, 2, interpolation) for axis in (3, 2)], axis=0) / 2
    x, y = np.arange(width) - (width - 1) / 2, (np.arange(height) - (height - 1) / 2)[:, None]
    half_x, half_y = ((width - 1) / 2, (height - 1) / 2) if interpolation == "bilinear" else (1, 1)
    x, y = x / half_x, y / half_y
    none = 0 * (x + y)
    velocity = {
        "translation_x": (none + 1, none),
        "translation_y": (none, none + 1),
        "rotation": (none + y, none - x),
        "scale": (none + x, none + y),
        "shear_x": (none + y, none),
        "shear_y": (none, none + x),
        "hyperbolic": (none + y, none + x),
    }[name]
    return -half_x * velocity[0] * slope_x - half_y * velocity[1] * slope_y


def _naively_weighed(curvatures: np.ndarray, axis: int) -> np.ndarray:
    """Return (before + 10 · here + after)/12, mirrored at both ends."""
    n = curvatures.shape[axis]
    wider = np.pad(curvatures, [(int(k == axis),) * 2 for k in range(curvatures.ndim)], mode="reflect")
    before, here, after = (wider.take(range(k, k + n), axis=axis) for k in range(3))
    return (before + 10 * here + after) / 12


def _naive_derivative(maps: np.ndarray, axis: int, order: int, interpolation: str) -> np.ndarray:
    from scipy.interpolate import CubicSpline

    n = maps.shape[axis]
    if interpolation == "spline":
        found = CubicSpline(np.arange(n), maps, axis=axis, bc_type="clamped")(np.arange(n), order)
        return found if order == 1 else _naively_weighed(found, axis)
    if interpolation == "bilinear":
        return np.diff(maps, axis=axis, append=maps.take([-1], axis=axis))
    waves = np.fft.fftfreq(n) * (np.abs(np.fft.fftfreq(n)) != 0.5)
    shifts = np.arange(n)[:, None] - np.arange(n)[None, :]
    matrix = -(2 * np.pi * waves[:, None, None] * np.sin(2 * np.pi * waves[:, None, None] * shifts)).mean(0)
    return np.moveaxis(np.moveaxis(maps, axis, -1) @ matrix.T, -1, axis)
