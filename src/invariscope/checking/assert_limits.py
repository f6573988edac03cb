"""`iv.assert_limits`."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from invariscope.checking.limit_verdict import LimitError, LimitVerdict
from invariscope.checking.limits import Limit, limits_of, needed, output_as_layer
from invariscope.checking.outcomes import judged, unmeasured
from invariscope.checking.session import current
from invariscope.data.sources import as_source
from invariscope.engine.api import measure
from invariscope.results.result import Result


def assert_limits(
    model: Any,
    data: Any,
    transform: Any,
    *,
    min: Mapping[str, float] | None = None,
    max: Mapping[str, float] | None = None,
    samples: int | None = None,
    seed: int | None = None,
    precision: str = "float32",
    device: str | None = None,
    batch_size: int | str = "auto",
    unstable: str = "refuse",
    output: Any = None,
    gradients: bool = False,
    preprocess: Callable[[Any], Any] | None = None,
    call: Callable[[Any, Any], Any] | None = None,
    pool: Any = None,
    repeats: int = 1,
    labels: Any = None,
    classes: Sequence[str] | None = None,
    clusters: Any = None,
    label: str | None = None,
) -> LimitVerdict:
    """Fail unless measured values stay within limits: a guard for a trained model.

    A limit maps "LAYER:MEASURE" to a number. LAYER is a layer's name or a glob; `output` is the model's
    prediction. MEASURE is a registry name or an expression, followed by a dot and one of its outputs if it
    has several: "output:consistency", "output:prediction.flips", "conv*:normalized_variance". All limits are
    checked in one measurement. Layers that a glob matches but that cannot be measured neither meet nor break
    a limit; the verdict lists them. A layer named in full must be measured.

    Caveats: the value over all samples decides, and its 95 % interval is only reported. A value without an
    interval, such as the rate of flips that never occur, can be checked too. Leave a margin of about the
    interval's width if the samples change between runs. A constant prediction is perfectly consistent: limit
    the accuracy too.

    Args:
        model, data, transform: as for `iv.measure`. Accuracy needs labels: pass (inputs, labels).
        min: {"LAYER:MEASURE": smallest value that passes}.
        max: {"LAYER:MEASURE": largest value that passes}.
        samples: use a seeded subset of this many samples; None: the test session's number, or all.
        seed: seed of the subset and of the transform's draws; None: the test session's seed, or 0.
        precision, device, batch_size, unstable, gradients, preprocess, call, pool: as for `iv.measure`.
        output: the part of the model's output that is its prediction, as for `iv.measure`.
        repeats: as for `iv.measure`. Above 1, the part of a value that is due to chance alone is subtracted
            before the comparison with `max`.
        labels, classes, clusters, label: as for `iv.measure`.

    Returns:
        The verdict: `outcomes` of all limits, with values and intervals, layers that were `unmeasured`, and
        the whole `result`.

    Raises:
        LimitError: an `AssertionError` that names every limit that is broken or has no value (such as a dead
            layer), with value, interval and number of samples.
        ValueError, TypeError: as for `iv.measure`; no limits; a limit that cannot be read, never holds, holds
            for every model, is not finite, or contradicts another one; an unknown layer, measure or output,
            with the closest names.

    >>> import torch, invariscope as iv
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(1, 3))
    >>> images = torch.randn(64, 1, 6, 6)
    >>> verdict = iv.assert_limits(model, images, iv.QuarterTurns(), max={"output:prediction.flips": 0.02})
    >>> [(outcome.name, outcome.value) for outcome in verdict.outcomes]
    [('output', 0.0)]
    """
    __tracebackhide__ = True
    limits, session = limits_of(min, max), current()
    seed = (session.seed or 0) if seed is None else seed
    if samples is None and session.samples is not None:
        tensors = preprocess is None and call is None
        samples = session.samples_of(as_source(data, structured=True, tensors=tensors).length)
    options = {"samples": samples, "seed": seed, "precision": precision, "device": device}
    options |= {"batch_size": batch_size, "unstable": unstable, "output": output, "gradients": gradients}
    options |= {"preprocess": preprocess, "call": call, "pool": pool, "repeats": repeats, "labels": labels}
    options |= {"classes": classes, "clusters": clusters, "label": label}
    result = _measured(limits, model, data, transform, options)
    outcomes, others = judged(limits, result), unmeasured(limits, result)
    verdict = LimitVerdict(tuple(outcomes), result, seed, samples, tuple(others))
    if session.on_verdict is not None:
        session.on_verdict(verdict.summary)
    if verdict.broken:
        raise LimitError(verdict)
    return verdict


def _measured(
    limits: Sequence[Limit], model: Any, data: Any, transform: Any, options: dict[str, Any]
) -> Result:
    __tracebackhide__ = True
    try:
        return measure(model, data, transform, **options, **needed(limits), progress=False, shard=False)
    except ValueError as error:
        clearer = output_as_layer(limits, error)
        if clearer is None:
            raise
        raise clearer from None
