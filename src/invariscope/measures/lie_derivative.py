"""Lie derivatives: the speed at which a representation leaves its symmetry (Gruver et al. 2023)."""

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
from invariscope.measures.naive_tangents import naive_tangent
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
    """x ± h X x for each generator, plus first: two inputs a generator.

    Args:
        generators: X.
        steps: (generator,) h.
        interpolation: of the images.
    """

    generators: tuple[Generator, ...]
    steps: tuple[float, ...]
    interpolation: str

    @property
    def name(self) -> str:
        """Its name; other generators or steps are another probe."""
        named = zip((generator.name for generator in self.generators), self.steps, strict=True)
        return f"{self.interpolation} along " + ", ".join(f"{name} {step:g}" for name, step in named)

    def columns(self, elements: int) -> int:
        """Two a generator."""
        return 2 * len(self.generators)

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """(sample, column, ...) inputs."""
        at = Derivatives(x, self.interpolation)
        moves = [h * generator.tangent(at) for generator, h in zip(self.generators, self.steps, strict=True)]
        return torch.stack([x + sign * move for move in moves for sign in (1, -1)], dim=1)


@dataclass(frozen=True, kw_only=True)
class LieDerivative(SampleMeasure):
    """How fast a representation departs from moving with its input.

    How fast a representation departs from moving with its input, for infinitesimal movements.

    .. math:: L_X f(x) = \\left.\\frac{d}{dt}\\right|_0 \\rho_{out}(-t)\\, f(\\rho_{in}(t)\\, x)
        = df(X_{in} x) - X_{out} f(x), \\qquad
        \\mathrm{LEE} = \\frac{\\langle \\|L_X f\\|^2 \\rangle}{\\dim Y}

    Shapes: responses (sample, unit...) to the images and to x ± h X x, to one number a layer and generator,
    from 0, in squared units of the response by squared units of t. The elements of the transform do not
    matter, and are not forwarded for this measure; each generator costs two forwards an image. On feature
    maps ρ_out moves the maps as the image moves, scaled to their size; on flat layers it is trivial, so that
    there an equivariant network has to be an invariant one. X_in is computed from the B-spline through the
    pixels, with edges that go on as they are; df is a central difference.

    `rotation` is the LEE of that generator, `rotation.absolute` the mean of |L_X f| over units, and
    `rotation.relative` ⟨‖L_X f‖²⟩ / ⟨‖f(x) − f(z)‖²⟩ over pairs of samples: comparable between layers.

    Misleads: a generator is compared with itself only, since pixels, radians and factors have different
    units. The derivative at t = 0 says nothing of large movements. Any layer of shape (a, b, c) is taken for
    a maps of b × c; tokens are not, and count as invariant or not. A
    difference averages over the kinks of ReLU and max-pooling within the step (1 to 2 % less than the
    derivative in a SimpleConv, untrained), a smaller step drowns in the rounding of float32, and low
    precision (bf16) leaves nothing of a difference; `iv.lie_derivative` differentiates exactly.

    Reading:
        0: the layer moves exactly as its input does (flat layers: it does not change). Larger: faster
        departure, by squared pixel, radian or factor. Compare layers by `relative`, and one generator with
        itself only. It is a derivative and says nothing of large movements.

    Args:
        generators: names ("translation_x", "translation_y", "rotation", "scale", "shear_x", "shear_y",
            "hyperbolic", "blur", "intensity"), callables (x, t), or `iv.generators` objects. Shifts are in
            pixels, angles in radians, blur in squared pixels of variance.
        action: on feature maps, "spatial" as above, or "trivial": how far they are from invariant.
        interpolation: "spline", or "fourier" for images that repeat, on which shifts are exact.
        step: multiplies each generator's own step.
        preset: "legacy_lee": the published estimator, the automatic derivative of a bilinear sampling grid
            from −1 to 1. Its shifts count halves of the image, and as its derivative is one-sided it is tens
            of percent off on fine patterns. The published code takes the network's probabilities and reports
            `absolute`; the paper squares.

    Raises:
        ValueError: an option that does not exist, or contradicts the preset; a step that is not above 0.
        TypeError: no images.

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
            raise ValueError(f"preset={self.preset!r} means interpolation='bilinear', but got {came}")
        chosen = self.interpolation or ("bilinear" if self.preset else "spline")
        object.__setattr__(self, "interpolation", chosen)
        refuse_other(self, interpolation=INTERPOLATIONS)
        if isinstance(self.step, bool) or not 0 < self.step < float("inf"):
            raise ValueError(
                f"step multiplies the generators' own steps: a number above 0; got {self.step!r}"
            )
        object.__setattr__(self, "generators", _written(self.generators))
        if chosen == "bilinear" and any(generator.name == "blur" for generator in self.flows):
            raise ValueError(
                "blur needs second derivatives, which bilinear interpolation has not; leave it out"
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
        """Three numbers per generator."""
        titles = {"": "speed", ".absolute": "absolute speed", ".relative": "speed among samples"}
        return {
            f"{flow.name}{suffix}": Output(f"{flow.name}: {title}", floor=False)
            for flow in self.flows
            for suffix, title in titles.items()
        }

    def rows(self, block: Block) -> Columns:
        """(sample, generator) L f(x) = df(X x) − X f(x): ‖L f‖², means of (L f)² and |L f| over units.

        In the precision of the responses: beside the rounding of the forwards, which a difference divides
        by the step, that of the sums is nothing.
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
        """The responses to the untransformed inputs, if they are feature maps that should move."""
        responses = block.rest()
        moving = self.action == "spatial" and responses.ndim == 4
        return Derivatives(_at_least_single(responses), self.interpolation) if moving else None

    def statistics(self) -> tuple[Statistic, ...]:
        """Lie derivatives of each sample, and how far samples lie apart."""
        return SampleRows(self), SampleSpread()

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, LayerValues]:
        """LEE of each generator."""
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
        """The definition, map by map, with SciPy's spline through each row and column."""
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
        """Every generator, action and interpolation."""
        rest = ("shear_x", "shear_y", "hyperbolic", "blur", "intensity")
        few = ("translation_x", "rotation")
        invariant, repeating = (
            cls(generators=few, action="trivial"),
            cls(generators=few, interpolation="fourier"),
        )
        return (cls(), cls(generators=rest), invariant, repeating, cls(preset=LEGACY, step=3.0))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """A flat layer whose response changes by 1.5 a unit of t, beside one that is invariant."""
        flat = [[[1.0, 0.0], [3.0, 7.0], [0.0, 7.0]], [[0.0, 1.0], [4.0, 7.0], [1.0, 7.0]]]
        options = {"generators": "intensity", "step": 2000.0}
        values = {"intensity": 2.25 / 2, "intensity.absolute": 0.75, "intensity.relative": 2.25 / 2}
        return KnownAnswer.each(options, flat, values)


def _at_least_single(values: Tensor) -> Tensor:
    """Half precision and integers as float32: a difference has no more digits than its terms."""
    return values if values.dtype in (torch.float32, torch.float64) else values.float()


def _written(given: Any) -> tuple[Any, ...]:
    """Names where the generator has one that stands for it, so that options can be written down."""
    from invariscope.generators.flows import NAMES, named

    flows = as_generators(given)
    return tuple(f.name if f.name in NAMES and f == named(f.name) else f for f in flows)
