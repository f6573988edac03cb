"""`iv.lie_derivative`: the rate at which a network's output loses symmetry, and each layer's contribution."""

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
from invariscope.common.progress import Tick, ticking
from invariscope.common.registry import unknown
from invariscope.data.sources import Source, as_source
from invariscope.data.window import Fingerprint, Window
from invariscope.generators import Derivatives
from invariscope.measures.lie_derivative import DEFAULT, LieDerivative
from invariscope.readers.base import as_reader
from invariscope.readers.prediction import OutputChoice, PredictionSelector
from invariscope.results.result import Result
from invariscope.studies.lie.contributions import contributions
from invariscope.studies.lie.rows import Terms, as_result

# Outputs with at most this many values are differentiated exactly, larger outputs along random directions.
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
    progress: bool | Tick = True,
    label: str | None = None,
) -> Result:
    r"""Measure exact Lie derivatives of a network's output, and each layer's contribution to them.

    .. math:: L_X f = \sum_k t_k, \quad t_k = df_{N:k+1}\, L_X f_k, \quad
        \mathrm{LEE} = \frac{\langle\|L_X f\|^2\rangle}{\dim Y}
        = \frac{1}{\dim Y} \sum_k \Big( \langle\|t_k\|^2\rangle
        + \sum_{l \ne k} \langle t_k \cdot t_l \rangle \Big)

    Derivatives are computed by automatic differentiation on a copy of the model. This works for any
    `torch.nn.Module` with image inputs (n, C, H, W), including branches, shared modules and residual sums.
    Modules without children and the operations between them are layers; the remainder, such as in-place
    operations, is the layer "(other operations)". Terms add up to the derivative, but their norms do not add
    up to its norm, because layers cancel or reinforce each other.

    Caveats: a layer's term depends on the action assumed for its input and output. If a map is flattened to a
    vector, the action ends there, so the term of the flattening includes everything that later layers would
    have to undo.

    Args:
        model: a `torch.nn.Module`.
        data: as for `iv.measure`; labels are not needed.
        generators, interpolation, preset: as for `LieDerivative`.
        layerwise: whether to measure the layers too. If False, the output alone is measured by forward
            differentiation, at the cost of two to three forward passes per generator, whatever the size of
            the output.
        probes: number of random directions for layers if the output has more than 64 values (Hutchinson's
            estimator, with its standard error in `probe_error`). Smaller outputs are differentiated exactly.
        samples: use a seeded subset of this many samples.
        batch_size: images per forward pass; memory grows with it, and with the number of generators and
            layers.
        output: the part of the model's output to differentiate, as for `iv.measure`.
        precision: "float64", in which sums of terms agree with the whole to at least ten digits, or
            "float32", which is faster.
        seed: seed of the subset and the random directions.
        progress: as for `iv.measure`.
        label: name of the model in tables and plots.
    Returns:
        A `Result` with `lie_derivative.rotation` (and so on), the LEE of the output. Layers have `.term`,
        ⟨‖t_k‖²⟩/dim Y; `.cross`, the sum of its products with the other terms; and `.share`, the sum of both,
        ⟨t_k · L f⟩/dim Y. Shares add up to the LEE. `maps["lie_derivative.rotation.products", "output"]`
        holds ⟨t_k · t_l⟩/dim Y.
    Raises:
        TypeError: the model is not a module, or the data are not images.
        ValueError: fewer than two samples; an unknown option; an output from which gradients cannot reach the
            input, that is not a single tensor with one row per sample, or that changes when layers are
            observed.
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
    prediction: PredictionSelector | None = None
    parts: list[tuple[Terms, np.ndarray]] = []
    with ticking(progress, "differentiating") as tick:
        for batch in _batches(source, batch_size, digest):
            if prediction is None:
                prediction = as_reader(model, output=output).inspect(batch.inputs).prediction
            parts.append((derive(batch.inputs, batch.keys, prediction), batch.groups))
            tick(sum(len(own) for _, own in parts), source.length)
    if not parts:
        raise ValueError("the data are empty: the iterable yielded no batch")
    terms, groups = reduce(Terms.followed_by, [part for part, _ in parts]), [own for _, own in parts]
    return as_result(
        source,
        terms,
        measure,
        groups=np.concatenate(groups),
        fingerprint=digest.hexdigest(),
        model=as_reader(model).described(label),
        seconds=time.perf_counter() - started,
        seed=seed,
    )


_Derive = Callable[[Tensor, np.ndarray, PredictionSelector], Terms]


def _deriver(
    model: nn.Module, measure: LieDerivative, *, layerwise: bool, precision: str, probes: int, seed: int
) -> _Derive:
    """Return a function from images and keys to the terms of the layers, or of the output alone."""
    dtype = _DTYPES[precision]
    options = {"layerwise": layerwise, "dtype": dtype, "probes": probes, "seed": seed}
    backward = cache(partial(_backward, model, measure, **options))
    if layerwise:
        return backward()
    forward = _forward(model, measure, dtype=dtype)

    def derive(inputs: Tensor, keys: np.ndarray, prediction: PredictionSelector) -> Terms:
        try:
            return forward(inputs, prediction)
        except NotForwardError:
            return backward()(inputs, keys, prediction)

    return derive


def _forward(
    model: nn.Module, measure: LieDerivative, *, dtype: torch.dtype
) -> Callable[[Tensor, PredictionSelector], Terms]:
    """Return a function that differentiates the output by forward mode, one generator after another."""
    push = pushforward(model, dtype=dtype)

    def derive(inputs: Tensor, prediction: PredictionSelector) -> Terms:
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
    model: nn.Module, measure: LieDerivative, *, layerwise: bool, dtype: torch.dtype, probes: int, seed: int
) -> _Derive:
    """Return a function that finds the terms of the layers by backward mode."""
    run = traced(model, layerwise=layerwise, dtype=dtype)

    def derive(inputs: Tensor, keys: np.ndarray, prediction: PredictionSelector) -> Terms:
        trace = run(inputs, prediction)
        if not trace.output.requires_grad:
            raise ValueError(
                "gradients cannot reach the input from the model's output, because an operation such as "
                "detach or argmax stops them. Use iv.LieDerivative(), which uses finite differences."
            )
        exact = trace.output[0].numel() <= EXACT_OUTPUTS
        along = _axes(trace) if exact else _signs(trace, keys, probes=probes, seed=seed)
        found = contributions(trace, measure.flows, along, interpolation=measure.interpolation)
        return Terms.of(trace, found, exact=exact)

    return derive


def _batches(source: Source, size: int, digest: Fingerprint) -> Iterator[Window]:
    """Yield batches of images, and add them to the fingerprint."""
    for window in source.windows():
        digest.add(window)
        need_images(window.store)
        for low in range(0, len(window), size):
            yield window.part(low, min(low + size, len(window)))


def need_images(x: Tensor) -> None:
    """Raise TypeError unless `x` is a batch of floating-point images."""
    if x.ndim != 4 or not x.is_floating_point():
        came = f"{tuple(x.shape)} of {str(x.dtype).removeprefix('torch.')}"
        raise TypeError(f"Lie derivatives need floating-point images (n, C, H, W); got {came}")


def _axes(trace: Trace) -> Iterator[Tensor]:
    """Yield one direction per value of the output."""
    for number in range(trace.output[0].numel()):
        direction = torch.zeros_like(trace.output, memory_format=torch.contiguous_format)
        direction.view(len(direction), -1)[:, number] = 1
        yield direction


def _signs(trace: Trace, keys: np.ndarray, *, probes: int, seed: int) -> Iterator[Tensor]:
    """Yield random directions of ±1, keyed by seed, sample and probe."""
    for number in range(probes):
        draws = Draws(seed, keys, stream=Stream.OUTPUT_DIRECTION, path=(number,))
        values = np.sign(draws.normal(trace.output[0].numel()))
        yield torch.from_numpy(values).to(trace.output).reshape(trace.output.shape)
