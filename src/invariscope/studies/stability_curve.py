"""`iv.stability_curve`: stability of a network to deformations of increasing size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from invariscope.common.autocast import without_autocast
from invariscope.common.default_device import without_default_device
from invariscope.data.sources import Source, as_source, refuse_second_walk
from invariscope.data.window import Window
from invariscope.engine.api import measure
from invariscope.measures.base import Measure
from invariscope.measures.stability_curve import LayerStabilityCurve, StabilityCurve
from invariscope.readers.base import as_reader
from invariscope.results.result import Result
from invariscope.statistics.probes import Batch, EqualNoise, TowardNeighbour
from invariscope.transforms.base import Transform
from invariscope.transforms.deformation_ladder import DeformationLadder

OUTPUT = "output"
CURVE = StabilityCurve().name
# The first of these bumps that exists determines the images to show.
_BUMPS = ("bump_noise", "bump_toward", "bump")
_SHOWN = 4
_MOST_VALUES = 1 << 20


@without_autocast()
@without_default_device()
def stability_curve(
    model: Any,
    data: Any,
    *,
    radii: int | Sequence[float] = 30,
    cutoff: int = 3,
    interpolation: str = "bilinear",
    layers: Any = OUTPUT,
    samples: int | None = None,
    seed: int = 0,
    **options: Any,
) -> Result:
    """Measure stability to smooth deformations of increasing size, to noise and toward another sample.

    .. math:: D(r), \\quad G(r), \\quad R(r) = D(r)/G(r), \\quad G(r)/r^2, \\qquad r = \\|\\eta\\|

    Every sample is forwarded once unchanged and three times per temperature: deformed, with noise of the same
    norm as the change that the deformation makes, and moved by the same distance toward the neighbouring
    sample. All curves come from this single pass.

    Args:
        model, data: as for `iv.measure`; the data are images (n, C, H, W), with labels for accuracy.
        radii: number of temperatures, in equal ratios from T1/15 to 2·T2, or the temperatures themselves.
        cutoff: largest number of half waves of the deformations.
        interpolation: interpolation of the deformations: "bilinear", "cubic" or "gaussian".
        layers: "output" measures the output alone; otherwise, layers to measure in addition, as for
            `iv.measure`; None: every layer.
        samples: use a seeded subset of this many samples.
        seed: seed of the subset, the deformations and the noise.
        options: further options of `iv.measure`, such as batch_size, device, precision or label.

    Returns:
        A `Result`. `curves` holds, against the radius and with intervals over samples, "stability_curve.D",
        ".G", ".R", ".G_toward", ".G_over_r2" and ".G_toward_over_r2"; ".accuracy", ".probability" and
        ".flips", also with the suffixes "_noise" and "_toward"; and the same for each layer under
        "layer_stability_curve". `table` holds "stability_curve.bump" (and "_noise", "_toward"), the radius at
        which half of the predictions have flipped. `examples` holds images at that radius for the report, and
        `provenance["curve"]` states the radius.

    Raises:
        ValueError: the data can be read only once, images are too small for the cutoff, or an option is
            invalid.
        TypeError: the data are not images.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, sections 2 and 3 and appendix.
    """
    for name in ("transform", "measures"):
        if name in options:
            raise TypeError(f"stability_curve sets {name}= itself; call iv.measure for other choices")
    who = {name: options.pop(name, None) for name in ("ids", "clusters")}
    last = as_reader(model).channels_last
    source = as_source(data, samples=samples, seed=seed, channels_last=last, **who)
    refuse_second_walk(source, "the size of the images must be known before the first forward pass")
    few = _first(source)
    ladder = _ladder(few, radii, c=cutoff, interpolation=interpolation)
    wanted: list[Measure] = [StabilityCurve()]
    if layers != OUTPUT:
        wanted.append(LayerStabilityCurve())
        options["layers"] = layers
    result = measure(model, source, ladder, measures=wanted, seed=seed, **options)
    return _illustrated(result, few, ladder, seed=seed)


def _first(source: Source) -> Window:
    """Return the first samples, as a few pairs of neighbours."""
    for window in source.windows():
        return window.part(0, min(_SHOWN, len(window)))
    raise ValueError("the data are empty: the iterable yielded no batch")


def _ladder(few: Window, radii: int | Sequence[float], *, c: int, interpolation: str) -> DeformationLadder:
    x = few.inputs
    if x.ndim != 4 or not x.is_floating_point():
        raise TypeError(
            "stability_curve needs floating-point images (n, C, H, W); got samples of shape "
            f"{tuple(x.shape[1:])} and type {x.dtype}. For other data call iv.measure with a transform and "
            "'stability_curve'."
        )
    if isinstance(radii, int):
        size = (x.shape[2], x.shape[3])
        return DeformationLadder.spanning(size, radii, c=c, interpolation=interpolation)
    return DeformationLadder(tuple(radii), c=c, interpolation=interpolation)


def _illustrated(result: Result, few: Window, ladder: Transform, *, seed: int) -> Result:
    """Add images of a few samples to the result, at the element nearest the bump."""
    rows = {row.output: row.value for row in result.rows if row.layer == OUTPUT}
    found = {name: float(rows[name]) for name in _BUMPS if np.isfinite(rows.get(name, np.nan))}
    radii = np.array([point.x for point in result.curve_rows if point.measure == f"{CURVE}.D"])
    bump = next((name for name in _BUMPS if name in found), None)
    element = len(radii) - 1 if bump is None else int(np.abs(np.log(radii / found[bump])).argmin())
    about = {"shown_element": element, "shown_radius": float(radii[element]), "shown_for": bump or "largest"}
    images = {f"bump:{name}": part[:, element] for name, part in _versions(few, ladder, seed).items()}
    kept = {name: part.float().numpy() for name, part in images.items() if part.numel() <= _MOST_VALUES}
    provenance = result.provenance | {"curve": about | {"bumps": found}}
    return replace(result, provenance=provenance, examples=kept)


def _versions(few: Window, ladder: Transform, seed: int) -> dict[str, torch.Tensor]:
    """Return the forwarded inputs by kind, each (sample, element, ...)."""
    x, batch = few.inputs.detach(), Batch(few.indices, few.keys, few.partners, seed)
    orbit = ladder.orbit(x, indices=batch.indices, keys=batch.keys, seed=seed)
    return {
        "as it is": x[:, None].expand_as(orbit),
        "deformed": orbit,
        "noise": EqualNoise().inputs(x, orbit, batch=batch),
        "toward another": TowardNeighbour().inputs(x, orbit, batch=batch),
    }
