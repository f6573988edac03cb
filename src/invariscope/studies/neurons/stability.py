"""How stable single neurons are to local deformations of what they see."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from invariscope.anatomy.partial_forward import up_to
from invariscope.common.autocast import without_autocast
from invariscope.common.registry import refuse_unknown_options
from invariscope.data.sources import Source, as_source, held
from invariscope.data.window import Window
from invariscope.intervals import GROUPS, MIN_PER_GROUP
from invariscope.results.result import Result
from invariscope.studies.neurons.cost import Cost
from invariscope.studies.neurons.crops import field_of
from invariscope.studies.neurons.deformations import KINDS
from invariscope.studies.neurons.experiment import CALIBRATION, PatchExperiment
from invariscope.studies.neurons.rows import as_result, row_of
from invariscope.studies.neurons.settings import NeuronSettings

_LOG = logging.getLogger(__name__)


@without_autocast()
def neuron_stability(
    model: nn.Module,
    layer: str | Sequence[str],
    images: Any,
    *,
    deformations: Sequence[str] = KINDS,
    patches: str = "random",
    top_k: int = 16,
    pivot: str = "centre",
    neurons: int | Sequence[int] | None = None,
    amplitude: float = 1.0,
    norm: str = "rms",
    draws: int = 1,
    samples: int | None = None,
    min_firing: int = 20,
    batch_size: int = 256,
    seed: int = 0,
    label: str | None = None,
) -> Result:
    r"""How far local deformations of its receptive field move a neuron's response.

    .. math:: \alpha_n = \frac{\langle (a_n(\tau x) - a_n(x))^2 \rangle}{\langle (a_n(x) - a_n(z))^2 \rangle}

    for the neuron of each feature map, x a patch of the size of its receptive field, z a random patch of
    another image, τ a translation, rotation, compression or shear. 0: the response does not notice it; 1: it
    changes as much as from one patch to another.

    Measured on crops, which a neuron answers as it does within the image (this is checked), so a thousand
    patches cost little. What a deformation brings in from outside the window is read from the image; windows
    stay as far from its edges as that takes, where there is room, and edges are repeated where not.

    Caveats: a field of 1 px rms about the centre moves the border of a window by more than 1 px and its
    middle by less, and every neuron weighs its window otherwise. Bilinear reading blurs: very fine patterns
    move a little by that alone.

    Args:
        model: a `torch.nn.Module`.
        layer: a module's dotted name, or several.
        images: what `iv.measure` takes as data: (n, C, H, W) images, with labels or without.
        deformations: of "translation", "rotation", "compression", "shear".
        patches: "random": one of each image; "maximal": where each neuron responds most, in each image;
            "top_k": its strongest `top_k` of those.
        top_k: how many images that is.
        pivot: deform about the "centre" of the window, or about the "centroid" of what the neuron responds
            to: of its squared input gradient, over 32 random patches.
        neurons: feature maps by number, or how many to draw; None measures all.
        amplitude: see `norm`.
        norm: "rms": `amplitude` is the rms displacement over the window in pixels. "frobenius": it is the
            Frobenius norm of the displacement's gradient; of translations the length in pixels.
        draws: deformations of each kind and patch, with random directions and signs.
        samples: take a seeded subset of this many images.
        min_firing: neurons that respond to fewer random patches are left out, and counted.
        batch_size: crops a forward; whole images are taken an eighth as many.
        seed: for places, directions and subsets; draws depend on (seed, image) alone.
        label: the model's name in tables and plots.
    Returns:
        A `Result`: a row `neuron_stability.rotation` (and so on) a layer, the mean over live neurons with a
        jackknife interval over images, the ratio of means beside it; and maps of one value a neuron.
    Raises:
        ValueError: an unknown layer or option; a layer without receptive field, or with one larger than the
            images; one whose neurons answer crops otherwise; fewer than two images.
        TypeError: no module.
    Source:
        The ratio of Tomasini et al. 2022, arXiv:2210.01506, for one neuron and one kind of deformation.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU())
    >>> found = neuron_stability(net, "1", torch.rand(64, 1, 12, 12), deformations=["rotation"])
    >>> found.table["measure"].tolist(), found.maps["neuron_stability.rotation", "1"].shape
    (['neuron_stability.rotation'], (4,))
    """
    given = {name: value for name, value in locals().items() if name in NeuronSettings.__dataclass_fields__}
    settings, started = NeuronSettings(**given), time.perf_counter()
    source, window = _gathered(model, images, settings)
    rows, maps, costs = [], {}, []
    for name, experiment in _layers(model, layer, window, settings):
        costs.append(_cost(name, experiment))
        _LOG.info("neuron stability of %s", costs[-1])
        with up_to(model, name) as run, torch.no_grad():
            measured = experiment.measured(run, name)
        sizes = np.bincount(measured.group, minlength=GROUPS)
        reason = _no_interval(sizes, settings)
        for kind, deformation in enumerate(settings.deformations):
            full = f"neuron_stability.{deformation}"
            values = measured.values(kind, min_firing=min_firing, replicates=not reason)
            count = len(measured.rest)
            rows.append(row_of(full, name, values, sizes, samples=count, draws=draws, reason=reason))
            maps[full, name, "all", 0] = experiment.placed(values.values[0])
    rows.sort(key=lambda row: settings.deformations.index(row["measure"].partition(".")[2]))
    seconds = time.perf_counter() - started
    return as_result(model, source, window, rows, maps, costs, settings, label=label, seconds=seconds)


def neuron_stability_cost(
    model: nn.Module, layer: str | Sequence[str], images: Any, **options: Any
) -> list[Cost]:
    """What `neuron_stability` with these arguments will cost: a count for each layer, before it starts.

    Args:
        model, layer, images: as for `neuron_stability`.
        options: its options, the label aside.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU())
    >>> (found,) = neuron_stability_cost(net, "1", torch.rand(64, 1, 12, 12))
    >>> found.crops, found.whole_images, round(found.equivalent)
    (324, 4, 60)
    """
    refuse_unknown_options(NeuronSettings, options, name="neuron_stability")
    settings = NeuronSettings(**options)
    _, window = _gathered(model, images, settings)
    return [_cost(name, experiment) for name, experiment in _layers(model, layer, window, settings)]


def _gathered(model: nn.Module, images: Any, settings: NeuronSettings) -> tuple[Source, Window]:
    """All images in memory."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"neurons are those of a torch.nn.Module; got {type(model).__name__}")
    few = "a change of patch needs at least two; an interval, 64"
    source = as_source(images, samples=settings.samples, seed=settings.seed, few=few)
    (window,) = held(source, settings.seed).windows()
    if len(window) < 2:
        raise ValueError(f"got {len(window)} image: {few}")
    return source, window


def _layers(
    model: nn.Module, layer: str | Sequence[str], window: Window, settings: NeuronSettings
) -> Iterator[tuple[str, PatchExperiment]]:
    """Every layer with how it is measured; all are checked before the first one is."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), window.inputs)
    images = window.inputs.to(device=weight.device, dtype=weight.dtype)
    names = [layer] if isinstance(layer, str) else list(layer)
    if not names:
        raise ValueError("no layer given: name one, or several")
    found = []
    for name in names:
        field = field_of(model, name, images.shape[1:], reach=settings.ensemble.reach)
        with up_to(model, name) as run, torch.no_grad():
            maps = run(images[:1]).shape[1]
        chosen = settings.chosen(name, maps)
        found.append(
            (name, PatchExperiment(field, images, window.keys, window.groups, chosen, maps, settings))
        )
    yield from found


def _cost(name: str, experiment: PatchExperiment) -> Cost:
    settings = experiment.settings
    return Cost.of(
        name,
        image=experiment.field.image,
        crop=experiment.field.crop,
        images=len(experiment.images),
        neurons=len(experiment.neurons),
        versions=len(settings.deformations) * settings.draws,
        patches=settings.patches,
        top_k=settings.top_k,
        centroid=settings.pivot == "centroid",
        calibration=CALIBRATION,
    )


def _no_interval(sizes: np.ndarray, settings: NeuronSettings) -> str:
    """Why no interval can be issued; empty where one can."""
    if settings.patches == "top_k":
        return "no interval: the strongest patches are no random sample of images"
    if sizes.min() < MIN_PER_GROUP:
        return f"no interval: a group has {sizes.min()} images, {MIN_PER_GROUP} are needed"
    return ""
