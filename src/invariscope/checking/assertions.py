"""`iv.assert_invariant` and `iv.assert_equivariant`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from invariscope.actions.feature_actions import ActionByLayer
from invariscope.checking.reading import tried_actions, verdict_of
from invariscope.checking.session import current
from invariscope.checking.tolerances import roundings
from invariscope.checking.verdict import SymmetryError, Verdict
from invariscope.common.autocast import without_autocast
from invariscope.common.checks import integer, real, shown
from invariscope.common.default_device import without_default_device
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.common.samples import Inputs, nbytes_of
from invariscope.data.sources import Source, as_source, refuse_second_walk
from invariscope.engine.api import measure
from invariscope.engine.assemble import NoLayerError
from invariscope.engine.pipeline import untouched_generators
from invariscope.measures.equivariance_error import EquivarianceError
from invariscope.readers.base import Inspection, LayerKey, Reader, as_reader
from invariscope.results.result import Result
from invariscope.transforms import as_transform
from invariscope.transforms.base import Transform

_FEW = "the null compares each response with another sample's, so at least two are needed"


def assert_invariant(
    model: Any,
    data: Any,
    transform: Any,
    *,
    layers: Any = None,
    below: float | None = None,
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
) -> Verdict:
    r"""Fail unless the output, or every named layer, is unchanged when inputs are transformed.

    .. math:: \|a(t_j x_i) - a(x_i)\| \le \tau_j\, \|a(x_i)\| \quad \text{for every sample and element}

    Caveats: a network that ignores its input is invariant. The verdict also reports `null`, the error
    against another sample's response, which is 0 for such a network.

    Args:
        model, data, transform: as for `iv.measure`.
        layers: names, globs, or a list of them; None: the model's output.
        below: the largest relative error that passes. None derives a tolerance per layer and element: the
            effect of rounding (`checking.tolerances.Rounding`) plus, for elements that are inexact, such as
            those that interpolate, the effect of transforming inputs and back, the largest
            ‖a(t⁻¹t x) − a(x)‖ / ‖a(x)‖.
        samples: use a seeded subset of this many samples.
        seed: seed of the subset and of the transform's draws; None: the test session's seed, or 0.
        precision, device, batch_size, unstable, gradients, preprocess, call, pool: as for `iv.measure`.
        output: the part of the model's output to check, as for `iv.measure`.
        repeats: number of forward passes per input, as for `iv.measure`; above 1 for models that draw random
            numbers. What is compared with `below` (which must then be given) is each element's mean error
            over samples, minus the error that chance alone causes. Caveats: the two effects add in squares,
            so symmetry errors smaller than the effect of chance are underestimated.

    Returns:
        The verdict, with the decisive error of every checked layer.

    Raises:
        SymmetryError: an `AssertionError` that names the first layer that breaks the symmetry, the element,
            the sample, the error, the tolerance, and how to reproduce it.
        ValueError, TypeError: as for `iv.measure`, or no tolerance can be derived.

    >>> import torch, invariscope as iv
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), torch.nn.AdaptiveAvgPool2d(1))
    >>> iv.assert_invariant(model, torch.rand(8, 1, 6, 6), iv.QuarterTurns()).broken
    ()
    """
    __tracebackhide__ = True
    wanted = EquivarianceError(feature_action="trivial", of="output" if layers is None else "layers")
    options = {"precision": precision, "device": device, "batch_size": batch_size, "unstable": unstable}
    options |= {"layers": layers, "seed": seed, "samples": samples, "output": output, "gradients": gradients}
    options |= {"preprocess": preprocess, "call": call, "pool": pool, "repeats": repeats}
    return _asserted("invariant", model, data, as_transform(transform), wanted, below, options)


def assert_equivariant(
    model: Any,
    data: Any,
    transform: Any,
    *,
    feature_action: Any = None,
    layers: Any = None,
    below: float | None = None,
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
) -> Verdict:
    r"""Fail unless every layer responds to transformed inputs with the action of the transform.

    .. math:: \|a(t_j x_i) - t_j a(x_i)\| \le \tau_j\, \|t_j a(x_i)\| \quad
        \text{for every sample and element}

    Caveats: a layer that ignores its input is equivariant, and one of several actions may fit by chance, for
    instance if elements change the input little. Name the actions if you know them. Units whose content comes
    from outside the image are excluded.

    Args:
        model, data, transform: as for `iv.measure`.
        feature_action: expected action on a layer's response: an action, a list of accepted actions, or a
            mapping from layers to actions, such as {"conv*": "regular", "fc": "trivial"}. Actions are
            "trivial", "spatial", "regular", "vector", `FibreAction` and `MatrixAction`. None accepts
            "spatial", "regular" (if the elements form a group) and "trivial".
        layers: names, globs, or a list of them; None: every layer, or those that the mapping names.
        below: the largest relative error that passes. None derives a tolerance as for `assert_invariant` and
            adds ‖t⁻¹t a(x) − a(x)‖ / ‖a(x)‖, the loss of the action itself on that layer.
        samples, seed, precision, device, batch_size, unstable, output, gradients, repeats: as for
            `assert_invariant`. Parts of the output are layers: for a class `Net` that returns
            {"energy": ..., "forces": ...} they are "Net" and "Net[forces]".

    Returns:
        The verdict, with the decisive error of every checked layer.

    Raises:
        SymmetryError: an `AssertionError` that names the first layer, in execution order, that breaks the
            symmetry, the element, the sample, the error, the tolerance, and how to reproduce it.
        ValueError, TypeError: as for `iv.measure`; a layer does not have the action; the action needs a group
            but the elements do not form one; no tolerance can be derived.

    >>> import torch, invariscope as iv
    >>> _ = torch.manual_seed(0)
    >>> model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 1), torch.nn.Tanh())
    >>> verdict = iv.assert_equivariant(model, torch.rand(8, 1, 6, 6), iv.QuarterTurns())
    >>> [(layer.layer, layer.action) for layer in verdict.layers]
    [('0', 'spatial'), ('1', 'spatial')]
    """
    __tracebackhide__ = True
    elements = as_transform(transform)
    wanted = EquivarianceError(
        feature_action=_natural(elements) if feature_action is None else feature_action
    )
    if layers is None and isinstance(feature_action, Mapping) and "*" not in feature_action:
        layers = list(feature_action)
    options = {"precision": precision, "device": device, "batch_size": batch_size, "unstable": unstable}
    options |= {"layers": layers, "seed": seed, "samples": samples, "output": output, "gradients": gradients}
    options |= {"preprocess": preprocess, "call": call, "pool": pool, "repeats": repeats}
    return _asserted("equivariant", model, data, elements, wanted, below, options)


def _natural(transform: Transform) -> tuple[str, ...]:
    """Return the actions that are accepted by default."""
    return ("spatial", "trivial") if transform.table() is None else ("spatial", "regular", "trivial")


@without_autocast()
@without_default_device()
def _asserted(
    what: str,
    model: Any,
    data: Any,
    transform: Transform,
    wanted: EquivarianceError,
    below: float | None,
    options: dict[str, Any],
) -> Verdict:
    __tracebackhide__ = True
    session = current()
    seed = (session.seed or 0) if options["seed"] is None else options["seed"]
    options["seed"] = integer("seed", seed, least=0)
    inexact = not all(transform.exact)
    _refuse_tolerance(below, transform, options["repeats"])
    last = as_reader(model).channels_last
    how = {"structured": True, "tensors": options["preprocess"] is None and options["call"] is None}
    source = as_source(data, seed=options["seed"], few=_FEW, channels_last=last, **how)
    options["preprocess"] = options["preprocess"] or source.collate
    if options["samples"] is None:
        options["samples"] = session.samples_of(source.length)
    refuse_second_walk(source, "the layers are inspected before they are measured")
    inspection, inputs = _inspected(model, source, transform, wanted, options)
    floor = below is None and inexact
    if floor and not isinstance(next(source.windows()).store, Tensor):
        raise ValueError(
            "no tolerance can be derived: the effect of inexact elements can be measured only if the inputs "
            "are one tensor. Give below=, the largest relative error that passes"
        )
    result = _measured(model, source, transform, wanted, floor=floor, **options)
    _refuse_undefined(result, wanted)
    device = str(options["device"] or as_reader(model).device)
    rounding = roundings(inspection, model, inputs=inputs, device=device)
    keys = source.keys_by_position if transform.per_sample else None
    about = (rounding, below, options, _kinds(inspection))
    verdict = verdict_of(what, result, wanted, transform, *about, keys=keys)
    if session.on_verdict is not None:
        session.on_verdict(verdict.summary)
    if verdict.broken:
        natural = what == "equivariant" and wanted.feature_action == _natural(transform)
        raise SymmetryError(replace(verdict, types=_declared(model) if natural else ""))
    return verdict


def _declared(model: Any) -> str:
    """Return how to check the types that a module of the model declares; "" if none does."""
    known = {"out_type": "FibreAction", "irreps_out": "MatrixAction"}  # of escnn and e2cnn, and of e3nn
    for name, module in model.named_modules() if isinstance(model, nn.Module) else ():
        for attribute, action in known.items():
            if name and hasattr(module, attribute):
                given = f"{{{name!r}: iv.{action}(module.{attribute}), ...}}"
                return f"{name} declares its own, which is not checked here: feature_action={given}"
    return ""


def _refuse_tolerance(below: float | None, transform: Transform, repeats: int) -> None:
    if below is None:
        if repeats > 1:
            raise ValueError(
                f"no tolerance can be derived with repeats={repeats}: the error that chance causes differs "
                "from draw to draw. Give below=, the largest mean relative error beyond chance that passes"
            )
        if not all(transform.exact) and not transform.invertible:
            raise ValueError(
                f"no tolerance can be derived: elements of {type(transform).__name__} may be inexact, and "
                "without inverses the effect of that cannot be measured. Give below=, the largest "
                "relative error that passes; for callables, declare Elements([...], inverses=[...])."
            )
        return
    if not 0 <= real(below) < math.inf:
        raise ValueError(f"below must be a relative error of at least 0, such as 0.01; got {shown(below)}")


def _inspected(
    model: Any, source: Source, transform: Transform, wanted: EquivarianceError, options: dict[str, Any]
) -> tuple[Inspection, int]:
    """Return the inspection of all layers, and the number of values of one input."""
    window = next(iter(source.windows()))
    first = window.part(0, min(3, len(window))).inputs
    with untouched_generators():
        moved = transform.orbit(first, seed=options["seed"])
        if isinstance(first, Tensor) and any(action.name == "spatial" for action in wanted.actions):
            # Raises an error that says what to declare if the transform has no action.
            size = (first.shape[2], first.shape[3]) if first.ndim == 4 else None
            transform.act(moved, input_size=size, seed=options["seed"])
        how = {"device": options["device"], "precision": options["precision"]}
        reading = {name: options[name] for name in ("gradients", "preprocess", "call", "pool")}
        reader = as_reader(model, output=options["output"], **reading)
        inspection = reader.inspect(moved[:, 0], **how)
        if wanted.of == "output" and inspection.prediction.problem:
            raise TypeError(f"{inspection.prediction.problem} Or name layers with layers=.")
        everything = partial(_every_name, model, moved[:, 0], how, reading)
        for action in wanted.actions:
            _refuse_unmatched(action, [info.layer for info in inspection.layers], everything)
    return inspection, _numbers_in(first)


def _numbers_in(inputs: Inputs) -> int:
    """Return the number of values of one input; for samples of any type, the largest size in bytes."""
    if isinstance(inputs, Tensor):
        return inputs[0].numel()
    return max(nbytes_of(inputs[k : k + 1]) for k in range(len(inputs)))


def _every_name(model: Any, x: Inputs, how: dict[str, Any], reading: dict[str, Any]) -> list[str]:
    """Return all names that `layers=` may select, including containers and parts of their outputs."""
    everything = model
    if not isinstance(model, Reader):
        everything = as_reader(model, layers=lambda info: True, **reading)
    return [info.layer for info in everything.inspect(x, **how).layers]


def _kinds(inspection: Inspection) -> dict[LayerKey, str]:
    """Return the class of each layer that is a module; operations are named after their function."""
    own = (info for info in inspection.layers if not info.kind.startswith("function"))
    return {(info.layer, info.call): info.kind for info in own}


def _refuse_unmatched(action: Any, names: list[str], everything: Callable[[], list[str]]) -> None:
    """Raise ValueError for a pattern of a mapping that matches no layer.

    Args:
        names: names of the layers that are read by default.
        everything: returns all names; called only if a pattern matches none of `names`.
    """
    if not isinstance(action, ActionByLayer):
        return
    patterns = [pattern for pattern, _ in action.actions if pattern != "*"]
    missing = [pattern for pattern in patterns if not any(matches(pattern, name) for name in names)]
    known = everything() if missing else []
    for pattern in missing:
        if not any(matches(pattern, name) for name in known):
            raise unknown("layer of feature_action", pattern, known)


def _measured(
    model: Any, source: Source, transform: Transform, wanted: EquivarianceError, **options: Any
) -> Result:
    __tracebackhide__ = True
    try:
        how = {"progress": False, "intervals": False, "rows": "all", "shard": False} | options
        return measure(model, source, transform, measures=wanted, **how)
    except NoLayerError as error:
        error.add_note("Name other layers with layers=, or another action with feature_action=.")
        raise


def _lacks(wanted: EquivarianceError, layer: str) -> str:
    """Return a phrase that names the actions a layer lacks."""
    called = ", ".join(map(repr, tried_actions(wanted, layer)))
    return f"does not have the action {called}" if called else "has no action"


def _refuse_undefined(result: Result, wanted: EquivarianceError) -> None:
    """Raise ValueError if some of the requested layers do not have the action."""
    missing = [entry for entry in result.provenance["skipped"] if entry.get("measure") == wanted.label]
    if missing:
        first = missing[0]
        reason = str(first["reason"]).removeprefix(f"{wanted.label}: ").rstrip(".")
        count = "one such layer" if len(missing) == 1 else f"{len(missing)} such layers"
        raise ValueError(
            f"layer {first['layer']!r} {_lacks(wanted, str(first['layer']))}: {reason} "
            f"({count}). Exclude them with layers=, or give the action of each: "
            f"feature_action={{{first['layer']!r}: 'trivial', '*': ...}}."
        )
