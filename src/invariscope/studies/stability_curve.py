"""`iv.stability_curve`: how far a network's answers move as the inputs are moved further and further."""

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
# The first of these bumps that was reached says which images are shown.
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
    """Stability to smooth deformations of rising size, to noise of equal size, and toward another sample.

    .. math:: D(r), \\quad G(r), \\quad R(r) = D(r)/G(r), \\quad G(r)/r^2, \\qquad r = \\|\\eta\\|

    Every sample is forwarded once as it is and three times for each temperature: deformed, with noise of
    the norm of that very displacement, and moved as far toward the sample beside it. All curves come from
    this one pass.

    Args:
        model, data: as `iv.measure` takes them; the data are images (n, C, H, W), with labels for accuracy.
        radii: how many temperatures, in equal ratios from T1/15 to 2·T2; or the temperatures themselves.
        cutoff: largest number of half waves of the deformations.
        interpolation: of the deformations, "bilinear", "cubic" or "gaussian".
        layers: "output" for the output alone, or which layers besides it, as `iv.measure` takes them; None:
            every layer.
        samples: a seeded subset of this many samples.
        seed: of that subset and of everything drawn.
        options: further options of `iv.measure`, such as batch_size, device, precision, label.

    Returns:
        A `Result`. `curves` holds against the radius, with intervals over samples: "stability_curve.D", ".G",
        ".R", ".G_toward", ".G_over_r2", ".G_toward_over_r2"; ".accuracy", ".probability" and ".flips", with
        "_noise" and "_toward" behind the name for the other two; the same of each layer under
        "layer_stability_curve". `table` holds "stability_curve.bump" (and "_noise", "_toward"), the radius at
        which half of the predictions have flipped. `examples` keeps images at that radius, which the report
        shows; `provenance["curve"]` says which radius that is.

    Raises:
        ValueError: data that can be walked only once, images too small for the cutoff, options that
            `iv.measure` refuses.
        TypeError: data that are no images.

    Source:
        Petrini et al. 2021, arXiv:2105.02468, sections 2 and 3 and appendix.
    """
    _refuse_own(options)
    who = {name: options.pop(name, None) for name in ("ids", "clusters")}
    last = as_reader(model).channels_last
    source = as_source(data, samples=samples, seed=seed, channels_last=last, **who)
    refuse_second_walk(source, "the size of the images must be known before the first forward")
    few = _first(source)
    ladder = _ladder(few, radii, c=cutoff, interpolation=interpolation)
    wanted: list[Measure] = [StabilityCurve()]
    if layers != OUTPUT:
        wanted.append(LayerStabilityCurve())
        options["layers"] = layers
    result = measure(model, source, ladder, measures=wanted, seed=seed, **options)
    return _illustrated(result, few, ladder, seed=seed)


def _refuse_own(options: dict[str, Any]) -> None:
    """Raises a TypeError for options of `iv.measure` that the curves set themselves."""
    for name in ("transform", "measures"):
        if name in options:
            raise TypeError(f"stability_curve chooses {name}= itself; for others call iv.measure")


def _first(source: Source) -> Window:
    """The first samples: a few pairs of neighbours."""
    for window in source.windows():
        return window.part(0, min(_SHOWN, len(window)))
    raise ValueError("the data are empty: the iterable gave no batch")


def _ladder(few: Window, radii: int | Sequence[float], *, c: int, interpolation: str) -> DeformationLadder:
    x = few.inputs
    if x.ndim != 4 or not x.is_floating_point():
        raise TypeError(
            f"a stability curve deforms images (n, C, H, W) of floating values; got {tuple(x.shape[1:])} a "
            f"sample, of {x.dtype}. For other data call iv.measure with a transform and 'stability_curve'."
        )
    if isinstance(radii, int):
        size = (x.shape[2], x.shape[3])
        return DeformationLadder.spanning(size, radii, c=c, interpolation=interpolation)
    return DeformationLadder(tuple(radii), c=c, interpolation=interpolation)


def _illustrated(result: Result, few: Window, ladder: Transform, *, seed: int) -> Result:
    """With a few samples, deformed, noisy and on their way, at the element nearest the bump."""
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
    """(sample, element, ...) inputs as the pass forwarded them, by what they are."""
    x, batch = few.inputs.detach(), Batch(few.indices, few.keys, few.partners, seed)
    orbit = ladder.orbit(x, indices=batch.indices, keys=batch.keys, seed=seed)
    return {
        "as it is": x[:, None].expand_as(orbit),
        "deformed": orbit,
        "noise": EqualNoise().inputs(x, orbit, batch=batch),
        "toward another": TowardNeighbour().inputs(x, orbit, batch=batch),
    }
