"""`iv.assert_invariant` and `iv.assert_equivariant`."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor

from invariscope.actions.feature_actions import ActionByLayer
from invariscope.checking.reading import tried_actions, verdict_of
from invariscope.checking.session import current
from invariscope.checking.tolerances import roundings
from invariscope.checking.verdict import SymmetryError, Verdict
from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.common.globs import matches
from invariscope.common.registry import unknown
from invariscope.data.sources import Source, as_source, refuse_second_walk
from invariscope.engine.api import measure
from invariscope.engine.assemble import NoLayerError
from invariscope.engine.pipeline import untouched_generators
from invariscope.measures.equivariance_error import EquivarianceError
from invariscope.readers.base import Inspection, LayerKey, Reader, as_reader
from invariscope.results.result import Result
from invariscope.transforms import as_transform
from invariscope.transforms.base import Transform

_FEW = "each response is compared with another sample's, the null, for which at least two are needed"


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
) -> Verdict:
    r"""Fails unless the output, or the layers named, stay the same when inputs are transformed.

    .. math:: \|a(t_j x_i) - a(x_i)\| \le \tau_j\, \|a(x_i)\| \quad \text{for every sample and element}

    Misleads: a network that does not look at its input is invariant. The failure, and the verdict, hold the
    same number for another sample's response, `null`, which is then 0 too.

    Args:
        model, data, transform: as for `iv.measure`.
        layers: names, globs, or a list of them; None: the model's output.
        below: the largest relative error that passes; None: a tolerance derived for each layer and element.
            It is what rounding explains (`checking.tolerances.Rounding`) and, for elements that are not
            exact on the pixel grid, ‖a(t⁻¹t x) − a(x)‖ / ‖a(x)‖ at worst: what interpolation causes.
        samples: a seeded subset of this many samples.
        seed: of the subset and of what the transform draws; None: that of the test session, or 0.
        precision, device, batch_size, unstable, gradients: as for `iv.measure`.
        output: the part of the model's output to check, as for `iv.measure`.

    Returns:
        The verdict, with the decisive error of every layer checked.

    Raises:
        SymmetryError: an `AssertionError` that names the first layer that breaks the symmetry, the element,
            the sample, the error, the tolerance, and how to see it again.
        ValueError, TypeError: as `iv.measure`; no tolerance can be derived.

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
) -> Verdict:
    r"""Fails unless every layer moves as the transform says when inputs are transformed.

    .. math:: \|a(t_j x_i) - t_j a(x_i)\| \le \tau_j\, \|t_j a(x_i)\| \quad
        \text{for every sample and element}

    Misleads: a layer that does not look at its input is equivariant, and an action that is not named may fit
    by chance, as for elements that hardly move anything. Name the actions of a network whose actions you
    know. Units whose content comes from outside the image are left out.

    Args:
        model, data, transform: as for `iv.measure`.
        feature_action: what an element should do to a layer's response: an action, a list of actions any one
            of which will do, or a mapping from layers to actions, {"conv*": "regular", "fc": "trivial"}.
            Actions are "trivial", "spatial", "regular", "vector", `FibreAction` and `MatrixAction`. None: any
            of "spatial", "regular" (where the elements are a group) and "trivial".
        layers: names, globs, or a list of them; None: every layer, or those that the mapping names.
        below: the largest relative error that passes; None: a tolerance derived as for `assert_invariant`,
            to which ‖t⁻¹t a(x) − a(x)‖ / ‖a(x)‖ is added, what the action itself loses on that layer.
        samples, seed, precision, device, batch_size, unstable, output, gradients: as for `assert_invariant`.
            Parts of the output are layers: for a class `Net` that returns {"energy": ..., "forces": ...} they
            are "Net" and "Net[forces]".

    Returns:
        The verdict, with the decisive error of every layer checked.

    Raises:
        SymmetryError: an `AssertionError` that names the first layer, in the order in which they run, that
            breaks the symmetry, the element, the sample, the error, the tolerance, and how to see it again.
        ValueError, TypeError: as `iv.measure`; a layer does not have the action; the action needs a group and
            the elements are none; no tolerance can be derived.

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
    return _asserted("equivariant", model, data, elements, wanted, below, options)


def _natural(transform: Transform) -> tuple[str, ...]:
    """The actions that a layer may have when nobody says which."""
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
    options["seed"] = (session.seed or 0) if options["seed"] is None else options["seed"]
    options["samples"] = session.samples if options["samples"] is None else options["samples"]
    inexact = not all(transform.exact)
    _refuse_tolerance(below, transform)
    last = as_reader(model).channels_last
    source = as_source(data, seed=options["seed"], few=_FEW, channels_last=last)
    refuse_second_walk(source, "the layers are looked at before they are measured")
    inspection, inputs = _looked_at(model, source, transform, wanted, options)
    floor = below is None and inexact
    result = _measured(model, source, transform, wanted, floor=floor, **options)
    _refuse_undefined(result, wanted)
    device = str(options["device"] or as_reader(model).device)
    rounding = roundings(inspection, model, inputs=inputs, device=device)
    keys = source.keys_by_position if transform.per_sample else None
    about = (rounding, below, options, _kinds(inspection))
    verdict = verdict_of(what, result, wanted, transform, *about, keys=keys)
    if session.hears is not None:
        session.hears(verdict.summary)
    if verdict.broken:
        raise SymmetryError(verdict)
    return verdict


def _refuse_tolerance(below: float | None, transform: Transform) -> None:
    if below is None:
        if not all(transform.exact) and not transform.invertible:
            raise ValueError(
                f"no tolerance can be derived: elements of {type(transform).__name__} may interpolate, and "
                "have no inverse that would tell by how much. Give below=, the largest relative error that "
                "passes; for callables, declare Elements([...], inverses=[...])."
            )
        return
    if isinstance(below, bool) or not isinstance(below, (int, float)) or not 0 <= below < math.inf:
        raise ValueError(f"below is a relative error, a number from 0 on such as 0.01; got {below!r}")


def _looked_at(
    model: Any, source: Source, transform: Transform, wanted: EquivarianceError, options: dict[str, Any]
) -> tuple[Inspection, int]:
    """Every layer of the model in order, and the values of one input."""
    window = next(iter(source.windows()))
    first = window.part(0, min(3, len(window))).inputs
    with untouched_generators():
        transform.check(first)
        moved = transform.orbit(first, seed=options["seed"])
        if any(action.name == "spatial" for action in wanted.actions):
            # Says what to declare, where the transform has no action at all.
            size = (first.shape[2], first.shape[3]) if first.ndim == 4 else None
            transform.act(moved, input_size=size, seed=options["seed"])
        how = {"device": options["device"], "precision": options["precision"]}
        reader = as_reader(model, output=options["output"], gradients=options["gradients"])
        inspection = reader.inspect(moved[:, 0], **how)
        if wanted.of == "output":
            _refuse_output(inspection)
        everything = partial(_every_name, model, moved[:, 0], how, gradients=options["gradients"])
        for action in wanted.actions:
            _refuse_unmatched(action, [info.layer for info in inspection.layers], everything)
    return inspection, first[0].numel()


def _every_name(model: Any, x: Tensor, how: dict[str, Any], *, gradients: bool) -> list[str]:
    """Return all names that `layers=` may select, including containers and parts of their outputs."""
    everything = model
    if not isinstance(model, Reader):
        everything = as_reader(model, layers=lambda info: True, gradients=gradients)
    return [info.layer for info in everything.inspect(x, **how).layers]


def _kinds(inspection: Inspection) -> dict[LayerKey, str]:
    """The classes of the layers that are modules; operations bear theirs in their names."""
    own = (info for info in inspection.layers if not info.kind.startswith("function"))
    return {(info.layer, info.call): info.kind for info in own}


def _refuse_output(inspection: Inspection) -> None:
    """Raise TypeError for a model without a single output that can be judged."""
    if inspection.prediction.problem:
        raise TypeError(f"{inspection.prediction.problem} Or name layers with layers=.")


def _refuse_unmatched(action: Any, names: list[str], everything: Callable[[], list[str]]) -> None:
    """Raise ValueError for a pattern of a mapping that matches no layer.

    Args:
        names: of the layers that are read by default.
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
        return measure(model, source, transform, measures=wanted, progress=False, intervals=False, **options)
    except NoLayerError as error:
        error.add_note("Name other layers with layers=, or another action with feature_action=.")
        raise


def _lacks(wanted: EquivarianceError, layer: str) -> str:
    """Which actions a layer lacks, by what they are called."""
    called = ", ".join(map(repr, tried_actions(wanted, layer)))
    return f"does not have the action {called}" if called else "has no action"


def _refuse_undefined(result: Result, wanted: EquivarianceError) -> None:
    """Raises a ValueError if some of the layers asked for do not have the action."""
    missing = [entry for entry in result.provenance["skipped"] if entry.get("measure") == wanted.label]
    if missing:
        first = missing[0]
        reason = str(first["reason"]).removeprefix(f"{wanted.label}: ").rstrip(".")
        count = "one such layer" if len(missing) == 1 else f"{len(missing)} such layers"
        raise ValueError(
            f"layer {first['layer']!r} {_lacks(wanted, str(first['layer']))}: {reason} "
            f"({count}). Leave them out with layers=, or say what each should do: "
            f"feature_action={{{first['layer']!r}: 'trivial', '*': ...}}."
        )
