"""Reject or report responses that are not finite, change shape, or depend on chance or the batch."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np

from invariscope.block import Block
from invariscope.common.samples import Inputs, kind_of, shape_of
from invariscope.common.wording import listed
from invariscope.engine.needs import Needs
from invariscope.engine.options import Options
from invariscope.readers.base import FailedForward, Inspection, LayerKey, Reader
from invariscope.readers.batch_dependence import Dependence


def finite_samples(block: Block) -> tuple[Block, int]:
    """Return the block without samples that have a non-finite response, and the number of these samples."""
    finite = _finite(block)
    if finite.all():
        return block, 0
    return block.repeated(finite.astype(np.int64)), int((~finite).sum())


def _finite(block: Block) -> np.ndarray:
    """Return a (sample,) mask of the samples whose responses are all finite, including those to probes."""
    everything = replace(block, elements=block.width).orbits()
    return everything.flatten(2).isfinite().all(2).all(1).cpu().numpy()


class NonFiniteResponse(ValueError):
    """Raised if a response is NaN, infinite, or so large that differences overflow."""


def refuse_nonfinite(key: LayerKey, block: Block) -> None:
    """Raise the error of `non_finite` if a response is NaN or infinite."""
    # A sum is cheap and propagates NaN and infinity, but finite values may overflow: check each one then.
    if not block.values.sum().isfinite() and not block.values.isfinite().all():
        raise non_finite(key, block)


def non_finite(key: LayerKey, block: Block) -> NonFiniteResponse:
    """Return the error that names the layer, the number of non-finite values, and their samples."""
    values = block.values
    nans, infinite = int(values.isnan().sum()), int(values.isinf().sum())
    if nans + infinite == 0:
        return NonFiniteResponse(
            f"layer {key[0]!r} (call {key[1]}) gave responses up to {float(values.abs().max()):.3g}, whose "
            f"differences overflow {str(values.dtype).removeprefix('torch.')}. Scale the model's responses "
            "down, measure with precision='float64', or select other layers."
        )
    finite = _finite(block)
    bad = block.indices[~finite]
    return NonFiniteResponse(
        f"layer {key[0]!r} (call {key[1]}) gave {nans} NaN and {infinite} infinite values (of "
        f"{values.numel()}), in sample {listed(bad, limit=5)}. Fix the model or the data. "
        "iv.measure(..., nonfinite='skip') leaves such samples out and counts them."
    )


def other_shape(came: tuple[int, ...], expected: tuple[int, ...] | None, *, rows: int) -> str:
    """Return why a reading's shape is wrong; "" if it is that of the trial pass, with one row per input.

    Args:
        came: shape of the reading, rows first.
        expected: unit shape found by the inspection; None if the layer was not inspected.
        rows: number of inputs of the forward pass, each of which must have a row.
    """
    if expected is not None and came[1:] != tuple(expected):
        before = tuple(expected)
        return f"its shape changed between forward passes: units of shape {before} at first, {came[1:]} now"
    if came[:1] != (rows,):
        return f"its responses have shape {came} for {rows} inputs, instead of one row per input"
    return ""


def refuse_other_shape(key: LayerKey, problem: str) -> None:
    """Raise ValueError with the problem that `other_shape` found, if any."""
    if problem:
        raise ValueError(
            f"layer {key[0]!r} (call {key[1]}): {problem}. A unit must be the same in every forward pass: "
            "pad the inputs to one size, name the batch axis with batch_axis=, or select other layers with "
            "layers="
        )


def refuse_what_needs_tensors(x: Inputs, needs: Needs, options: Options) -> None:
    """Raise TypeError for measures and options that require all inputs to be in one tensor."""
    asked = [*needs.of_tensors, *(["floor=True"] if options.floor else [])]
    if asked:
        raise TypeError(
            f"{listed(asked)} need{'s' * (len(asked) == 1)} each sample to be a single tensor; got "
            f"{kind_of(x[0])}. Choose other measures or options, or pass tensors"
        )


def inspected(
    reader: Reader, probe: Inputs, options: Options, *, samples: int, of_output: bool
) -> Inspection:
    """Inspect the model in a trial forward pass of a few inputs.

    Args:
        reader: reads the model.
        probe: (sample, ...) a few of the transformed inputs.
        options: determine device and precision.
        samples: number of samples, for the error message if the model fails.
        of_output: whether the prediction is measured and must exist; otherwise, at least one layer must.
    Raises:
        ValueError: the model fails on these inputs, no layer can be read, or the model returns no prediction.
    """
    try:
        inspection = reader.inspect(probe, device=options.device, precision=options.precision)
    except FailedForward as error:
        raise error.among((samples, *shape_of(probe))) from error.__cause__
    if of_output and inspection.prediction.problem:
        raise ValueError(inspection.prediction.problem)
    if not of_output:
        refuse_unreadable(inspection)
    return inspection


def refuse_unreadable(inspection: Inspection) -> None:
    """Raise ValueError if no layer can be read, listing the first reasons."""
    skipped = inspection.layers
    if inspection.readable:
        return
    if not skipped:
        raise ValueError("the model's forward pass produces no tensor, so there is no layer to measure")
    reasons = listed((f"{info.layer!r}: {info.status}" for info in skipped), limit=5, separator="; ")
    if any("batch_axis=" in info.status for info in skipped):
        advice = "Pass batch_axis= to say which axis holds the batch, or select other layers."
    else:
        advice = (
            "Measures need real floating-point values with one row per sample: select such layers, or wrap "
            "the model so that it returns them."
        )
    raise ValueError(f"none of the {len(skipped)} selected layers can be measured ({reasons}). {advice}")


def refuse_unstable(found: Dependence, options: Options) -> list[str]:
    """Raise ValueError if the output depends on chance or the batch; with unstable="measure", only warn.

    A layer that depends on the batch is not an error if the output does not.

    Returns:
        Notes for the result.
    """
    if options.unstable == "measure":
        if not found:
            return []
        warnings.warn(str(found), stacklevel=4)
        return [str(found)]
    if found.chance and not options.refuses_chance:
        return [str(found)]
    if found.chance or found.output:
        raise unstable(str(found))
    return []


def unstable(found: str) -> ValueError:
    """Return the error for responses that depend on something besides the input."""
    return ValueError(
        f"{found} Measured values would not be due to the transformation alone. "
        "To measure it anyway, pass unstable='measure' (--unstable measure); for a model that draws random "
        "numbers, repeats=8 also measures what its own randomness causes."
    )
