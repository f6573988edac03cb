"""Normalized variance and its relatives, beside those of `tmeasures`."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks.coming_from.comparison import Numbers, Row
from invariscope import zoo

TITLE = "tmeasures"
PACKAGES = ("tmeasures", "numpy")
TABLES = {
    "agreement": [
        Row("default", "normalized variance of the ReLU, defaults of both"),
        Row("std", '`spread="std"`: means of standard deviations, not of variances'),
        Row("preset", '`preset="tmeasures"`: also, sparse units count, and dead units count as 1', 1e-6),
        Row("ratio", '`AverageFeatureMaps` and `preset="tmeasures", pool="ratio"`', 1e-6),
        Row("tv", '`TransformationVariance` and `preset="tmeasures"`: dead units are left out of the mean'),
        Row("tv_all", "mean over the map, which includes the zeros of dead units", 1e-6),
        Row(
            "goodfellow",
            '`GoodfellowInvariance`, mean over finite units, and `Goodfellow(preset="tmeasures")`',
        ),
        Row(
            "goodfellow_normal",
            "their definition: threshold at the mean + 2.33 standard deviations, all units, 0/0 is 1",
            1e-6,
        ),
    ],
    "faults": [
        Row("batch_norm", "batch normalisation before `nn.ReLU()`", 1e-6),
        Row("in_place", "the same layer before `nn.ReLU(inplace=True)`"),
        Row("calls", "values reported for a convolution that runs twice"),
        Row("layers", "layers read in a network whose last operations are `torch.relu(x - 0.1)`"),
        Row("moved", "largest change of `running_mean` by measuring a network in training mode"),
        Row("angle", "degrees by which the 45° element turns a blob"),
    ],
}
RELU = "2"


class Twice(nn.Module):
    """A convolution that runs twice, followed by functional operations."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 1, 3, padding=1), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.act(self.conv(self.act(self.conv(x)))) - 0.1)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    """Return a module with weights drawn from seed 0."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return make()


def network(*, in_place: bool = False) -> nn.Module:
    """Return the network of the page."""
    layers = [nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(in_place), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(784, 10))


def data() -> tuple[Tensor, iv.Rotation]:
    """Return the images and the transform."""
    return zoo.load("mnist_subset", samples=64).images, iv.Rotation.circle(16)


def blob() -> Tensor:
    """Return an image (1, 65, 65) of a Gaussian blob 15 pixels to the right of the centre."""
    x = torch.arange(65.0) - 32
    return torch.exp(-((x - 15) ** 2 + x[:, None] ** 2) / 8)[None]


def angle(image: Tensor) -> float:
    """Return the direction of an image's centre of mass in degrees, counter-clockwise."""
    x = torch.arange(image.shape[-1]) - (image.shape[-1] - 1) / 2
    across, down = (image.sum(axis)[0] @ x / image.sum() for axis in (1, 2))
    return math.degrees(math.atan2(-down, across))


def ours() -> Numbers:
    """Return our numbers."""
    (images, circle), model = data(), seeded(network).eval()

    def measured(measure: Any, net: nn.Module = model) -> Any:
        return iv.measure(net, images, circle, measures=[measure], progress=False)

    def value(measure: Any, layer: str = RELU, net: nn.Module = model) -> float:
        table = measured(measure, net).table
        return float(table[(table.layer == layer) & (table.measure == measure.name)].value.iloc[0])

    preset = iv.NormalizedVariance(preset="tmeasures")
    variance = iv.TransformationVariance(preset="tmeasures")
    twice = measured(preset, seeded(Twice)).table
    training = seeded(network)
    before = training[1].running_mean.clone()
    value(preset, net=training)
    turned = iv.Rotation([0, 45]).orbit(blob()[None])[0, 1]
    return {
        "default": value(iv.NormalizedVariance()),
        "std": value(iv.NormalizedVariance(spread="std")),
        "preset": value(preset),
        "ratio": value(iv.NormalizedVariance(preset="tmeasures", pool="ratio")),
        "tv": value(variance),
        "tv_all": float(measured(variance).maps["transformation_variance", RELU].mean()),
        "goodfellow": value(iv.Goodfellow(preset="tmeasures")),
        "goodfellow_normal": firing_score(model, images, circle),
        "batch_norm": value(preset, "1"),
        "in_place": value(preset, "1", seeded(lambda: network(in_place=True)).eval()),
        "calls": ", ".join(f"{one:.4f}" for one in twice[twice.layer == "conv"].value),
        "layers": ", ".join(f"`{layer}`" for layer in dict.fromkeys(twice.layer)),
        "moved": float((training[1].running_mean - before).abs().max()),
        "angle": angle(turned),
    }


@torch.no_grad()
def firing_score(model: nn.Module, images: Tensor, transform: iv.Rotation) -> float:
    """Return the mean of L/G of the ReLU's units, with G and L as `tmeasures` reports them.

    A unit fires above the mean plus 2.33 standard deviations of its untransformed responses. G is how often
    it fires on untransformed inputs, and L how often on the orbits of all inputs. 0/0 is 1; x/0 is left out.
    """
    orbit = transform.orbit(images)
    responses = model[:3](orbit.flatten(0, 1)).unflatten(0, orbit.shape[:2]).double()
    plain = model[:3](images).double()
    limit = plain.mean(0) + 2.3263478740408408 * plain.std(0)
    rest, along = (plain > limit).double().mean(0), (responses > limit).double().mean((0, 1))
    score = torch.where((rest == 0) & (along == 0), 1.0, along / rest)
    return float(score[score.isfinite()].mean())


def theirs() -> Numbers:
    """Return the numbers of `tmeasures`."""
    import tmeasures.pytorch as tm
    from tmeasures.pytorch.transformations.affine import RotationTransformation

    from benchmarks.peers import tmeasures_result

    (images, circle), model = data(), seeded(network).eval()

    def values(measure: str, *options: Any, net: nn.Module = model, layer: int = 2) -> np.ndarray:
        found = tmeasures_result(measure, net, images, circle, *options)
        return np.asarray(found.layers[layer], float)

    variance = "NormalizedVarianceInvariance"
    training, twice = seeded(network), tmeasures_result(variance, seeded(Twice), images, circle)
    before = training[1].running_mean.clone()
    values(variance, net=training)
    default = float(values(variance).mean())
    transformation = float(values("TransformationVarianceInvariance").mean())
    scores = np.asarray(
        tmeasures_result("GoodfellowInvariance", model, images, circle, lookup=False).layers[2], float
    )
    firing = float(scores[np.isfinite(scores)].mean())
    eighth = float(angle(RotationTransformation(0.25)(blob())))  # 1 is half a turn
    return {
        "default": default,
        "std": default,
        "preset": default,
        "ratio": float(values(variance, tm.AverageFeatureMaps()).mean()),
        "tv": transformation,
        "tv_all": transformation,
        "goodfellow": firing,
        "goodfellow_normal": firing,
        "batch_norm": float(values(variance, layer=1).mean()),
        "in_place": float(
            values(variance, net=seeded(lambda: network(in_place=True)).eval(), layer=1).mean()
        ),
        "calls": f"{np.asarray(twice.layers[0], float).mean():.4f}",
        "layers": ", ".join(f"`{name}`" for name in twice.layer_names),
        "moved": float((training[1].running_mean - before).abs().max()),
        "angle": eighth,
    }
