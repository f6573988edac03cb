"""Stability of single neurons to local deformations of their receptive fields."""

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
from invariscope.common.progress import Tick, ticking
from invariscope.common.registry import refuse_unknown_options
from invariscope.data.sources import Source, as_source, held
from invariscope.data.window import Window
from invariscope.intervals import GROUPS, MIN_PER_GROUP
from invariscope.results.result import Result
from invariscope.studies.neurons.cost import Cost
from invariscope.studies.neurons.crops import field_of
from invariscope.studies.neurons.deformations import KINDS
from invariscope.studies.neurons.experiment import PatchExperiment
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
    progress: bool | Tick = True,
    label: str | None = None,
) -> Result:
    r"""Measure how much a neuron's response changes when its receptive field is locally deformed.

    .. math:: \alpha_n = \frac{\langle (a_n(\tau x) - a_n(x))^2 \rangle}{\langle (a_n(x) - a_n(z))^2 \rangle}

    Each feature map is one neuron n. x is a patch of the size of its receptive field, z a random patch of
    another image, and τ a translation, rotation, compression or shear. At 0 the response is unaffected; at 1
    it changes as much as between two patches.

    Responses are measured on crops, on which a neuron responds as within the image (this is checked), so that
    a thousand patches cost little. Pixels that a deformation brings in from outside the window are read from
    the image. Windows keep the necessary distance from image edges if possible; otherwise, edge pixels are
    repeated.

    Caveats: a field of 1 px rms about the centre displaces the border of a window by more than 1 px and its
    centre by less, and neurons weight their windows differently. The blur of bilinear interpolation alone
    changes very fine patterns slightly.

    Args:
        model: a `torch.nn.Module`.
        layer: dotted name of a module, or several names.
        images: data as for `iv.measure`: (n, C, H, W) images, with or without labels.
        deformations: any of "translation", "rotation", "compression", "shear".
        patches: "random": one patch per image; "maximal": the patch with the neuron's largest response in
            each image; "top_k": the `top_k` strongest of those.
        top_k: number of images for "top_k".
        pivot: fixed point of the deformations: the "centre" of the window, or the "centroid" of the neuron's
            squared input gradient over 32 random patches.
        neurons: indices of feature maps, or how many to draw; None measures all.
        amplitude: size of the deformations; see `norm`.
        norm: "rms": `amplitude` is the rms displacement over the window in pixels. "frobenius": it is the
            Frobenius norm of the displacement's gradient, and for translations the length in pixels.
        draws: deformations per kind and patch, with random directions and signs.
        samples: use a seeded subset of this many images.
        min_firing: neurons that respond to fewer random patches than this are excluded and counted.
        batch_size: crops per forward pass; whole images are forwarded in batches an eighth of that size.
        seed: seed of random places, directions and subsets; draws depend on (seed, image) alone.
        progress: True shows a bar; a function is called with (layers done, total layers).
        label: name of the model in tables and plots.
    Returns:
        A `Result` with one row `neuron_stability.rotation` (and so on) per layer: the mean over live neurons
        with a jackknife interval over images, and the ratio of means. Maps hold one value per neuron.
    Raises:
        ValueError: an unknown layer or option; a layer without a receptive field, or with one larger than the
            images; a layer whose neurons respond differently to crops; fewer than two images.
        TypeError: the model is not a module.
    Source:
        Tomasini et al. 2022, arXiv:2210.01506, the ratio for one neuron and one kind of deformation.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU())
    >>> found = neuron_stability(net, "1", torch.rand(64, 1, 12, 12), deformations=["rotation"])
    >>> found.table["measure"].tolist(), found.maps["neuron_stability.rotation", "1"].shape
    (['neuron_stability.rotation'], (4,))
    """
    started = time.perf_counter()
    settings = NeuronSettings(
        deformations=deformations, patches=patches, top_k=top_k, pivot=pivot, neurons=neurons,
        amplitude=amplitude, norm=norm, draws=draws, samples=samples, min_firing=min_firing,
        batch_size=batch_size, seed=seed,
    )  # fmt: skip
    source, window = _gathered(model, images, settings)
    rows, maps, costs = [], {}, []
    experiments = _layers(model, layer, window, settings)
    for name, experiment, measured in _measured(model, experiments, costs, progress):
        sizes = np.bincount(measured.group, minlength=GROUPS)
        reason = _no_interval(sizes, settings)
        for kind, deformation in enumerate(settings.deformations):
            full = f"neuron_stability.{deformation}"
            values = measured.values(kind, min_firing=min_firing, replicates=not reason)
            count = len(measured.rest)
            rows.append(row_of(full, name, values, sizes, samples=count, draws=draws, reason=reason))
            maps[full, name, "all", 0] = experiment.placed(values.values[0])
    rows.sort(key=lambda row: settings.deformations.index(row.measure.partition(".")[2]))
    seconds = time.perf_counter() - started
    return as_result(model, source, window, rows, maps, costs, settings, label=label, seconds=seconds)


def _measured(
    model: nn.Module,
    experiments: Sequence[tuple[str, PatchExperiment]],
    costs: list[Cost],
    progress: bool | Tick,
) -> Iterator[tuple[str, PatchExperiment, Any]]:
    """Yield each layer with its measurement, append its cost, and report progress."""
    with ticking(progress, "deforming patches") as tick:
        for done, (name, experiment) in enumerate(experiments):
            costs.append(Cost.of(name, experiment))
            _LOG.info("neuron stability of %s", costs[-1])
            tick(done, len(experiments))
            with up_to(model, name) as run, torch.no_grad():
                measured = experiment.measured(run, name)
            yield name, experiment, measured
        tick(len(experiments), len(experiments))


def neuron_stability_cost(
    model: nn.Module, layer: str | Sequence[str], images: Any, **options: Any
) -> list[Cost]:
    """Return the cost of `neuron_stability` with these arguments, for each layer.

    Args:
        model, layer, images: as for `neuron_stability`.
        options: options of `neuron_stability` except `label`.

    >>> _ = torch.manual_seed(0)
    >>> net = nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU())
    >>> (found,) = neuron_stability_cost(net, "1", torch.rand(64, 1, 12, 12))
    >>> found.crops, found.whole_images, round(found.equivalent)
    (324, 4, 60)
    """
    refuse_unknown_options(NeuronSettings, options, name="neuron_stability")
    settings = NeuronSettings(**options)
    _, window = _gathered(model, images, settings)
    return [Cost.of(name, experiment) for name, experiment in _layers(model, layer, window, settings)]


def _gathered(model: nn.Module, images: Any, settings: NeuronSettings) -> tuple[Source, Window]:
    """Return the source and all its images in memory."""
    if not isinstance(model, nn.Module):
        raise TypeError(f"neuron_stability needs a torch.nn.Module; got {type(model).__name__}")
    few = "at least two are needed to compare patches, and 64 for an interval"
    source = as_source(images, samples=settings.samples, seed=settings.seed, few=few)
    (window,) = held(source, settings.seed).windows()
    if len(window) < 2:
        raise ValueError(f"got {len(window)} image; {few}")
    return source, window


def _layers(
    model: nn.Module, layer: str | Sequence[str], window: Window, settings: NeuronSettings
) -> list[tuple[str, PatchExperiment]]:
    """Return an experiment for every layer, after checking all of them."""
    weight = next((p for p in model.parameters() if p.is_floating_point()), window.inputs)
    images = window.inputs.to(device=weight.device, dtype=weight.dtype)
    names = [layer] if isinstance(layer, str) else list(layer)
    if not names:
        raise ValueError("no layer given; name at least one")
    experiments = []
    for name in names:
        field = field_of(model, name, images.shape[1:], reach=settings.ensemble.reach)
        with up_to(model, name) as run, torch.no_grad():
            maps = run(images[:1]).shape[1]
        chosen = settings.chosen(name, maps)
        experiment = PatchExperiment(field, images, window.keys, window.groups, chosen, maps, settings)
        experiments.append((name, experiment))
    return experiments


def _no_interval(sizes: np.ndarray, settings: NeuronSettings) -> str:
    """Return why there is no interval; "" if there is one."""
    if settings.patches == "top_k":
        return "no interval: the strongest patches are not a random sample of images"
    if sizes.min() < MIN_PER_GROUP:
        return f"no interval: the smallest group has {sizes.min()} of {MIN_PER_GROUP} images needed"
    return ""
