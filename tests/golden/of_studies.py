"""What returns a result of its own, comparisons, the monitor, and saving."""

from __future__ import annotations

import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import nn

import invariscope as iv

from . import inputs
from .cases import add, case
from .of_options import TURNS, quick

ANGLES = iv.Rotation.circle(6)
IMAGES = inputs.smooth_images(72)


def conv_net(seed: int = 0) -> nn.Module:
    """Convolutions with receptive fields smaller than the images."""
    stem = [nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Conv2d(4, 3, 3), nn.ReLU()]
    return inputs.filled(nn.Sequential(*stem, nn.Flatten(), nn.Linear(3 * 64, 3)), seed)


def curve(**options: Any) -> iv.Result:
    data = (IMAGES, inputs.labels())
    return iv.stability_curve(conv_net(), data, **({"radii": 4, "progress": False, "rows": "all"} | options))


def worst(transform: Any, **options: Any) -> iv.Result:
    return iv.worst_element(conv_net(), IMAGES, transform, progress=False, rows="all", **options)


def lie(**options: Any) -> iv.Result:
    return iv.lie_derivative(conv_net(), IMAGES[:10], **options)


def neurons(**options: Any) -> iv.Result:
    return iv.neuron_stability(conv_net(), **({"layer": "2", "images": IMAGES} | options))


for _name, _options in {
    "default": {},
    "layers": {"layers": ["0", "5"]},
    "radii": {"radii": [1e-4, 1e-3, 3e-3], "cutoff": 2, "interpolation": "cubic", "samples": 66, "seed": 2},
}.items():
    add(f"stability_curve/{_name}", partial(curve, **_options))

for _name, _transform, _options in [
    ("angles", ANGLES, {}),
    ("half-circle", iv.Rotation.range(-90, 90, 7), {"tolerance": 2.0, "samples": 20, "seed": 1}),
    ("shifts", iv.Translation([(dx, 0) for dx in (-2, -1, 0, 1, 2)]), {"layers": ["0", "5"]}),
    ("scales", iv.Scale([0.8, 1.0, 1.25]), {}),
]:
    add(f"worst_element/{_name}", partial(worst, _transform, **_options))

for _name, _options in {
    "default": {},
    "output-only": {"layerwise": False},
    "generators": {"generators": ["shear_x", "hyperbolic", "blur", "intensity"]},
    "legacy": {"preset": "legacy_lee", "generators": "rotation"},
    "fourier": {"interpolation": "fourier", "samples": 6, "batch_size": 4, "seed": 3},
    "function": {"generators": [lambda x, t: x * (1 + t)], "layerwise": False},
}.items():
    add(f"lie_derivative/{_name}", partial(lie, **_options))


@case("lie_derivative/probes")
def _probes() -> iv.Result:
    model = inputs.filled(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.Conv2d(2, 1, 3)))
    return iv.lie_derivative(model, IMAGES[:4], generators="rotation", probes=5, seed=2)


@case("lie_derivative/float32", tolerance=1e-4)
def _float32() -> iv.Result:
    model = conv_net().float()
    return iv.lie_derivative(model, IMAGES[:6].float(), generators="scale", precision="float32")


for _name, _options in {
    "default": {},
    "layers": {"layer": ["0", "3"], "deformations": ["rotation", "shear"]},
    "maximal": {"patches": "maximal", "neurons": 2, "draws": 2},
    "top": {"patches": "top_k", "top_k": 5, "norm": "frobenius", "amplitude": 0.3},
    "centroid": {"pivot": "centroid", "samples": 50, "seed": 4, "batch_size": 32, "neurons": [0, 2]},
}.items():
    add(f"neuron_stability/{_name}", partial(neurons, **_options))


@case("neuron_stability/cost")
def _cost() -> list[float]:
    costs = iv.neurons.neuron_stability_cost(
        conv_net(), ["0", "2"], IMAGES, patches="maximal", pivot="centroid"
    )
    return [float(value) for one in costs for value in (one.neurons, *one.crop, one.crops, one.equivalent)]


@case("illustrate/features")
def _illustrate() -> Any:
    result = quick(conv_net(), IMAGES, ANGLES, measures=["normalized_variance"])
    return iv.illustrate(result, conv_net(), IMAGES, ANGLES, sample=4).examples


@case("illustrate/other-measure")
def _illustrate_other() -> Any:
    result = quick(conv_net(), IMAGES, TURNS, measures=["transformation_variance"])
    return iv.illustrate(result, conv_net(), IMAGES, TURNS, measure="transformation_variance").examples


@case("local_decomposition/fields")
def _decomposition() -> list[Any]:
    field = iv.Diffeomorphism(3, delta_px=1.0).field([0], size=(12, 14), seed=1)[0]
    found = [iv.local_decomposition(field), iv.local_decomposition(field, (4, 2), stride=3)]
    norms = ("compression", "shear", "rotation", "compression_norm", "shear_norm", "rotation_norm")
    return [*found, *(getattr(one, name) for one in found for name in norms)]


@case("receptive_field/fields")
def _receptive_fields() -> list[Any]:
    model = inputs.filled(
        nn.Sequential(
            nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(2, 2, 3, dilation=2)
        )
    )
    names = [name for name, _ in model.named_children()]
    return [
        iv.receptive_field(model, name, (1, 18, 20), method=m) for name in names for m in ("auto", "gradient")
    ]


def _three() -> list[iv.Result]:
    options: dict[str, Any] = {"measures": ["normalized_variance", "anova", "prediction"], "by_class": True}
    options["layers"] = ["relu", "fc"]
    data = (inputs.images(160), inputs.labels(160))
    return [quick(inputs.net(seed=seed), data, label=f"net {seed}", **options) for seed in range(3)]


add("compare/two", lambda: iv.compare(*_three()[:2]))
add("compare/three", lambda: iv.compare(_three()))


@case("compare/overall")
def _overall() -> list[float]:
    results = _three()
    return [one.overall(stratum=s) for one in results for s in ("all", "0", "mean")]


@case("compare/xarray")
def _xarray() -> Any:
    try:
        found = quick().to_xarray()
    except ImportError:  # an extra
        return "Dataset"
    return type(found).__name__


@case("monitor/training")
def _monitor() -> dict[str, Any]:
    data = (inputs.images(), inputs.labels())
    monitor = iv.Monitor(
        data, TURNS, every=2, measures=["normalized_variance", "prediction"], samples=70, seed=3, rows="all"
    )
    model = inputs.net()
    for epoch in range(4):
        monitor(model, epoch)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.mul_(1.1)
    monitor.measure(model, 4)
    with tempfile.TemporaryDirectory() as folder:
        loaded = iv.monitor.load_history(monitor.save(Path(folder) / "history"))
        results = dict(loaded.results)
    times = monitor.times[["epoch", "measured"]]
    return {"table": monitor.table, "loaded": loaded.table, "times": times, "results": results}


@case("saving/round-trip")
def _round_trip() -> iv.Result:
    options = {"measures": ["normalized_variance", "prediction"], "baseline": "random", "draws": 3}
    result = quick(layers=["conv", "fc"], **options)
    with tempfile.TemporaryDirectory() as folder:
        return iv.load(result.save(Path(folder) / "run"))


@case("models/shuffled-channels")
def _shuffled() -> iv.Result:
    return quick(iv.weights.shuffled_channels(conv_net(), seed=3), IMAGES, measures=["normalized_variance"])
