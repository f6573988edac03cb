"""`iv.lie_derivative`: how fast a network's output leaves its symmetry, and through which layers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from functools import cache, partial, reduce
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.anatomy.forward_mode import NotForwardError, pushforward
from invariscope.anatomy.layer_gradients import Trace, traced
from invariscope.common.autocast import without_autocast
from invariscope.common.checks import integer
from invariscope.common.draws import Draws, Stream
from invariscope.common.registry import unknown
from invariscope.data.sources import Source, as_source
from invariscope.data.window import Fingerprint, Window
from invariscope.generators import Derivatives
from invariscope.measures.lie_derivative import DEFAULT, LieDerivative
from invariscope.readers.base import as_reader
from invariscope.readers.prediction import OutputChoice, Prediction
from invariscope.results.result import Result
from invariscope.studies.lie.contributions import contributions
from invariscope.studies.lie.rows import Terms, as_result

# An output of at most so many values is differentiated value by value, a larger one along random directions.
EXACT_OUTPUTS = 64
_DTYPES = {"float64": torch.float64, "float32": torch.float32}


@without_autocast()
def lie_derivative(
    model: nn.Module,
    data: Any,
    *,
    generators: Any = DEFAULT,
    layerwise: bool = True,
    interpolation: str = "",
    preset: str | None = None,
    probes: int = 32,
    samples: int | None = None,
    batch_size: int = 16,
    output: OutputChoice = None,
    precision: str = "float64",
    seed: int = 0,
    label: str | None = None,
) -> Result:
    r"""Lie derivatives of a network's output, exactly, and what each layer adds to them.

    .. math:: L_X f = \sum_k t_k, \quad t_k = df_{N:k+1}\, L_X f_k, \quad
        \mathrm{LEE} = \frac{\langle\|L_X f\|^2\rangle}{\dim Y}
        = \frac{1}{\dim Y} \sum_k \Big( \langle\|t_k\|^2\rangle
        + \sum_{l \ne k} \langle t_k \cdot t_l \rangle \Big)

    Computed by automatic differentiation, of a copy of the model. For any `torch.nn.Module` with
    image inputs (n, C, H, W), branches, shared modules and residual sums included: modules without children
    are layers, and so are the operations between them. What remains, such as in-place operations, is the
    layer "(other operations)". The terms add up to the derivative before norms are taken; their norms do not,
    for layers undo or repeat each other.

    Caveats: a layer's term depends on the action that its input and output are held to. Where a map becomes
    a vector all action ends, so that flattening carries whatever the later layers would have to undo.

    Args:
        model: a `torch.nn.Module`.
        data: as for `iv.measure`; no labels are needed.
        generators, interpolation, preset: as for `LieDerivative`.
        layerwise: also the layers; otherwise the output alone, by forward differentiation, which costs two to
            three forwards a generator however large the output is.
        probes: random directions that layers are seen along where the output has more than 64 values
            (Hutchinson's estimator, whose standard error is in the rows' `probe_error`); smaller outputs are
            differentiated value by value.
        samples: take a seeded subset of this many.
        batch_size: images a forward; memory grows with it, the generators and the layers.
        output: the part of the model's output to differentiate, as for `iv.measure`.
        precision: "float64", in which terms add up to ten digits and more, or "float32", which is faster.
        seed: for subsets and directions.
        label: the model's name in tables and plots.
    Returns:
        A `Result` with `lie_derivative.rotation` (and so on) of the output, the LEE, and for each layer
        `.term`, ⟨‖t_k‖²⟩/dim Y; `.cross`, what its products with the other terms add; and `.share`, the sum
        of both, ⟨t_k · L f⟩/dim Y: shares add up to the LEE. `maps["lie_derivative.rotation.products",
        "output"]` holds ⟨t_k · t_l⟩/dim Y.
    Raises:
        TypeError: no module, no images.
        ValueError: fewer than two samples; an option that does not exist; an output that gradients cannot
            reach, without a single tensor with one row per sample, or that changes when layers are watched.
    Source:
        Gruver, Finzi, Goldblum and Wilson 2023, arXiv:2210.02984, section 4.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(), nn.Flatten(), nn.Linear(98, 3))
    >>> found = lie_derivative(net, torch.rand(4, 1, 9, 9), generators="rotation").table
    >>> shares = found[found["measure"] == "lie_derivative.rotation.share"]
    >>> shares["layer"].tolist(), bool(abs(shares["value"].sum() / found["value"].iloc[0] - 1) < 1e-9)
    (['0', '1', '2', '3'], True)
    """
    for name, value in (("probes", probes), ("batch_size", batch_size)):
        integer(name, value, least=1)
    if precision not in _DTYPES:
        raise unknown("precision", str(precision), _DTYPES)
    measure = LieDerivative(generators=generators, interpolation=interpolation, preset=preset)
    started, digest = time.perf_counter(), Fingerprint()
    source = as_source(data, samples=samples, seed=seed)
    derive = _deriver(model, measure, layerwise=layerwise, precision=precision, probes=probes, seed=seed)
    prediction: Prediction | None = None
    parts: list[tuple[Terms, np.ndarray]] = []
    for batch in _batches(source, batch_size, digest):
        if prediction is None:
            prediction = as_reader(model, output=output).inspect(batch.inputs).prediction
        parts.append((derive(batch.inputs, batch.keys, prediction), batch.groups))
    if not parts:
        raise ValueError("the data are empty: the iterable gave no batch")
    terms, groups = reduce(Terms.followed_by, [part for part, _ in parts]), [own for _, own in parts]
    seconds = time.perf_counter() - started
    data = digest.hexdigest()
    own = {"groups": np.concatenate(groups), "label": label, "seconds": seconds, "seed": seed}
    return as_result(model, source, terms, measure, data, **own)


_Derive = Callable[[Tensor, np.ndarray, Prediction], Terms]


def _deriver(
    model: nn.Module, measure: LieDerivative, *, layerwise: bool, precision: str, probes: int, seed: int
) -> _Derive:
    """From images and their keys to what the layers add, or to the whole alone."""
    dtype = _DTYPES[precision]
    options = {"layerwise": layerwise, "dtype": dtype, "probes": probes, "seed": seed}
    backward = cache(partial(_backward, model, measure, **options))
    if layerwise:
        return backward()
    forward = _forward(model, measure, dtype=dtype)

    def derive(inputs: Tensor, keys: np.ndarray, prediction: Prediction) -> Terms:
        try:
            return forward(inputs, prediction)
        except NotForwardError:
            return backward()(inputs, keys, prediction)

    return derive


def _forward(
    model: nn.Module, measure: LieDerivative, *, dtype: torch.dtype
) -> Callable[[Tensor, Prediction], Terms]:
    """The whole derivative, one generator after the other."""
    push = pushforward(model, dtype=dtype)

    def derive(inputs: Tensor, prediction: Prediction) -> Terms:
        x = push.feed(inputs)
        at, size = Derivatives(x, measure.interpolation), (x.shape[-2], x.shape[-1])
        found = []
        for flow in measure.flows:
            output, change = push(x, flow.tangent(at), prediction)
            if output.ndim == 4 and flow.moves_maps:
                change = change - flow.tangent(Derivatives(output, measure.interpolation), input_size=size)
            found.append(change)
        return Terms.of_output(x, torch.stack(found, dim=1))

    return derive


def _backward(
    model: nn.Module,
    measure: LieDerivative,
    *,
    layerwise: bool,
    dtype: torch.dtype,
    probes: int,
    seed: int,
) -> _Derive:
    """Every layer's part, along each value of the output or along random directions."""
    run = traced(model, layerwise=layerwise, dtype=dtype)

    def derive(inputs: Tensor, keys: np.ndarray, prediction: Prediction) -> Terms:
        trace = run(inputs, prediction)
        if not trace.output.requires_grad:
            raise ValueError(
                "gradients cannot reach the input from the model's output: an operation between them has "
                "none (detach, argmax). Measure with iv.LieDerivative(), which takes differences of forwards."
            )
        exact = trace.output[0].numel() <= EXACT_OUTPUTS
        along = _axes(trace) if exact else _signs(trace, keys, probes=probes, seed=seed)
        found = contributions(trace, measure.flows, along, interpolation=measure.interpolation)
        return Terms.of(trace, found, exact=exact)

    return derive


def _batches(source: Source, size: int, digest: Fingerprint) -> Iterator[Window]:
    """A few images at a time."""
    for window in source.windows():
        digest.add(window)
        need_images(window.store)
        for low in range(0, len(window), size):
            yield window.part(low, min(low + size, len(window)))


def need_images(x: Tensor) -> None:
    """Raises a TypeError for what is no batch of floating images."""
    if x.ndim != 4 or not x.is_floating_point():
        came = f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"
        raise TypeError(f"Lie derivatives move images (n, C, H, W) of floating values; got {came}")


def _axes(trace: Trace) -> Iterator[Tensor]:
    """One direction for each value of the output."""
    for number in range(trace.output[0].numel()):
        direction = torch.zeros_like(trace.output, memory_format=torch.contiguous_format)
        direction.view(len(direction), -1)[:, number] = 1
        yield direction


def _signs(trace: Trace, keys: np.ndarray, *, probes: int, seed: int) -> Iterator[Tensor]:
    """Directions of ±1, drawn by (seed, key, number)."""
    for number in range(probes):
        draws = Draws(seed, keys, stream=Stream.OUTPUT_DIRECTION, path=(number,))
        values = np.sign(draws.normal(trace.output[0].numel()))
        yield torch.from_numpy(values).to(trace.output).reshape(trace.output.shape)
