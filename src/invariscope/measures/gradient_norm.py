"""Gradient norm: sensitivity of a representation to arbitrary small changes of the input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.block import Block
from invariscope.common.checks import set_integers
from invariscope.common.draws import Draws, Stream
from invariscope.measures.base import KnownAnswer, SampleMeasure
from invariscope.measures.values import LayerContext, LayerValues, Output
from invariscope.statistics.base import Statistic
from invariscope.statistics.displacements import SampleDisplacements
from invariscope.statistics.kept.sample_table import Columns, SampleRows, SampleTable
from invariscope.statistics.probes import Batch, Probe
from invariscope.statistics.rounding import quotient
from invariscope.statistics.sample_spread import SampleSpread

_AN_ERROR = "no interval: the value is itself an error estimate, over directions rather than samples"


@dataclass(frozen=True)
class TinySteps(Probe):
    """x + h·u and x − h·u for isotropic directions u of norm √d, with d the number of input values.

    Args:
        draws: number of directions.
        step: h, the root mean square change of an input value.
    """

    draws: int
    step: float

    @property
    def name(self) -> str:
        """Unique name of the probe."""
        return f"{self.draws} steps of {self.step:g}"

    def columns(self, elements: int) -> int:
        """Return two columns per direction."""
        return 2 * self.draws

    def inputs(self, x: Tensor, orbit: Tensor, *, batch: Batch) -> Tensor:
        """Return (sample, 2·draws, ...) displaced inputs: all forward steps, then all backward steps."""
        if not x.is_floating_point():
            raise TypeError(
                f"gradient_norm displaces the inputs, so they must be floating-point; got {x.dtype}"
            )
        draws = Draws(batch.seed, batch.keys, self.draws, Stream.GRADIENT_STEP)
        size = x[0].numel()
        normal = torch.from_numpy(draws.normal(size))
        ways = normal * (size**0.5 / normal.norm(dim=2, keepdim=True))
        steps = self.step * ways.to(x.device, x.dtype).reshape(len(x), self.draws, *x.shape[1:])
        return x[:, None] + torch.cat([steps, -steps], dim=1)


@dataclass(frozen=True, kw_only=True)
class GradientNorm(SampleMeasure):
    """How strongly a representation reacts to arbitrary changes of the input.

    Norm of a representation's gradient, and its response to noise of the same size as the transformation.

    .. math:: \\|\\nabla f\\| = \\sqrt{\\langle \\|J(x)\\|_F^2 \\rangle_x}, \\qquad
        \\|J\\|_F^2 = E_u \\|J u\\|^2 \\approx
        E_u \\frac{\\|f(x + hu) - f(x - hu)\\|^2}{4 h^2}, \\quad \\|u\\|^2 = d

    Shapes: activations (sample, element, unit...) to numbers per layer: the root mean square over samples of
    the Frobenius norm of the Jacobian J of all units with respect to all d input values (the row named after
    the measure); `probe_error`, its standard error due to the finite number of directions, for fixed samples;
    `relative`, the norm divided by the root mean square distance between samples, which makes it comparable
    between layers. `moved` and `noisy` are the root mean square displacements of the representation under the
    transformation and under isotropic noise of the same norm, both divided by that distance, and
    `moved_to_noisy` is their ratio.

    The gradient is estimated by central differences along random directions, with steps of root mean square
    `step` per value; no derivative is computed. Curvature biases it (of order h², at the kinks of ReLU of
    order h), and rounding in the forward passes adds about (eps·‖f‖ / (h‖∇f‖))².

    Caveats: an invariant network and an insensitive one both have a small `moved`. Only if `noisy` stays
    large has the network learned to ignore the transformation in particular.

    Reading:
        `moved_to_noisy` near 1: the transformation acts like noise of the same size; well below 1: the
        network ignores the transformation in particular. A small gradient means insensitivity, not
        invariance. Norms depend on the units of inputs and activations; `relative` only on those of the
        inputs.

    Args:
        draws: directions per sample; each costs two forward passes.
        step: h, in the units of the inputs.

    Raises:
        ValueError: fewer than two directions, or a step that is not positive.
        TypeError: inputs that are not floating point.

    Source:
        Kvinge et al. 2022, arXiv:2210.03773, on invariance that is mere insensitivity; for the estimator, the
        stochastic trace of Hutchinson 1989, doi:10.1080/03610918908812806.

    >>> columns = [0.0, 3.0, 0.0, 4.0, 1.0, 1.0, -1.0, -1.0]  # two elements, their noise, two steps each way
    >>> responses = np.array([columns, [x + 5 for x in columns]])[..., None]
    >>> print(GradientNorm(draws=2, step=0.5).oracle(responses, None)[""])
    2.0
    """

    draws: int = 4
    step: float = 1e-3

    def __post_init__(self) -> None:
        set_integers(self, draws=2, what="directions")
        if not 0 < self.step < float("inf"):
            raise ValueError(f"step must be positive, in the units of the inputs; got {self.step!r}")
        object.__setattr__(self, "reads", (TinySteps(self.draws, self.step),))

    def outputs(self) -> dict[str, Output]:
        """Describe the gradient norm (absolute and relative), its error, and the displacements."""
        return {
            "": Output("gradient norm", floor=False),
            "probe_error": Output("error due to random directions", interval=False, floor=False),
            "relative": Output("gradient norm relative to sample distances", floor=False),
            "moved": Output("displacement by the transformation", noise_ratio="moved_to_noisy"),
            "noisy": Output("displacement by noise", floor=False),
            "moved_to_noisy": Output("displacement relative to noise"),
        }

    def rows(self, block: Block) -> Columns:
        """Return (sample, direction) "square": ‖f(x + h·u) − f(x − h·u)‖² / (4h²)."""
        forth, back = block.probe(self.reads[0].name).double().flatten(2).chunk(2, dim=1)
        return {"square": (forth - back).square().sum(2) / (4 * self.step**2)}

    def statistics(self) -> tuple[Statistic, ...]:
        """Return displacements, squared gradients, and distances between samples."""
        return SampleDisplacements(), SampleRows(self), SampleSpread()

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, LayerValues]:
        """Return all outputs of one layer."""
        displaced, gradients, spread = finals
        apart = np.sqrt(spread.distance())
        norm = gradients.replicates(lambda part: np.sqrt(part["square"].mean()))
        moved, noisy = (
            displaced.replicates(lambda part, name=name: np.sqrt(part[name].mean()))
            for name in ("moved", "noisy")
        )
        return {
            "": LayerValues(norm),
            "probe_error": LayerValues(np.array([_probe_error(gradients)]), uncovered=_AN_ERROR),
            "relative": LayerValues(quotient(norm, apart)),
            "moved": LayerValues(quotient(moved, apart)),
            "noisy": LayerValues(quotient(noisy, apart)),
            "moved_to_noisy": LayerValues(quotient(moved, noisy)),
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition; the elements are followed by as many noisy responses, and by the steps."""
        n, columns = activations.shape[:2]
        flat = activations.reshape(n, columns, -1)
        m = (columns - 2 * self.draws) // 2
        forth, back = flat[:, 2 * m : 2 * m + self.draws], flat[:, 2 * m + self.draws :]
        squares = (((forth - back) / (2 * self.step)) ** 2).sum(axis=2)
        pairs = [np.sum((flat[i, 0] - flat[k, 0]) ** 2) for i in range(n) for k in range(n) if i != k]
        moved = np.mean(((flat[:, 1:m] - flat[:, :1]) ** 2).sum(axis=2))
        noisy = np.mean(((flat[:, m + 1 : 2 * m] - flat[:, :1]) ** 2).sum(axis=2))
        return {
            "": np.sqrt(squares.mean()),
            "relative": np.sqrt(squares.mean() / np.mean(pairs)),
            "moved": np.sqrt(moved / np.mean(pairs)),
            "noisy": np.sqrt(noisy / np.mean(pairs)),
            "moved_to_noisy": np.sqrt(moved / noisy),
            "probe_error": np.sqrt(squares.var(axis=1, ddof=1).mean() / squares.size / squares.mean()) / 2,
        }

    @classmethod
    def examples(cls) -> tuple[GradientNorm, ...]:
        """Return instances with two numbers of directions and two step sizes."""
        return (cls(), cls(draws=2, step=0.5))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return two samples 5 apart, displaced by 3 by the element, 4 by noise, and 1 by steps of ½."""
        columns = np.array([0.0, 3.0, 0.0, 4.0, 1.0, 1.0, -1.0, -1.0])
        responses = np.stack([columns, columns + 5])[..., None]
        options = {"draws": 2, "step": 0.5}
        answers = {
            "": 2.0,
            "probe_error": 0.0,
            "relative": 0.4,
            "moved": 0.6,
            "noisy": 0.8,
            "moved_to_noisy": 0.75,
        }
        uneven = responses.copy()
        uneven[:, [4, 6]] += np.array([-1.0, 1.0])[:, None]  # squares of 0 and 4: their mean is 2
        return (
            *KnownAnswer.each(options, responses, answers),
            KnownAnswer(options, uneven, 2**0.5),
            # Variance 8 per sample, 4 squares in total: error √2 of a mean of 2, so ½ of its root.
            KnownAnswer(options, uneven, 0.5, output="probe_error"),
        )


def _probe_error(part: SampleTable) -> float:
    """Return the standard error due to the draws: that of the mean square, divided by twice its root."""
    squares = part["square"]
    mean = squares.mean()
    error = np.sqrt(squares.var(axis=1, ddof=1).mean() / squares.size)
    return float(error / (2 * np.sqrt(mean))) if mean > 0 else 0.0
