"""Analyses of weights, generators, and the networks and data of the zoo."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

import invariscope as iv

from . import inputs
from .cases import case


def pooled(seed: int = 0, size: int = 5) -> nn.Module:
    """A convolution, a mean over places, and a linear head."""
    parts = [nn.Conv2d(1, 6, size), nn.ReLU(), nn.Conv2d(6, 4, size), nn.ReLU(), nn.AdaptiveAvgPool2d(1)]
    return inputs.filled(nn.Sequential(*parts, nn.Flatten(), nn.Linear(4, 3)), seed)


@case("filters/spectrum")
def _spectrum() -> list[Any]:
    start, end = pooled(0), pooled(1)
    found = [iv.weights.filter_spectrum(end, "2"), iv.weights.filter_spectrum(end, "0", start=start)]
    facts = [(one.mean_frequency, one.ratio) for one in found]
    return [*found, *(fact for pair in facts for fact in pair), *(one.table for one in found)]


@case("filters/spectra-of-a-training")
def _spectra() -> list[Any]:
    recorder = iv.weights.SpectrumRecorder("0")
    for epoch in range(3):
        recorder(pooled(epoch), epoch)
    return [recorder.table, iv.weights.training_spectra({0: pooled(0), 4: pooled(1)})]


@case("filters/modes")
def _modes() -> list[Any]:
    modes = iv.weights.laplacian_modes(3, 4)
    filters = inputs.array(2, 3, 3, 4)
    return [modes.eigenvalues, iv.weights.mode_power(filters, modes)]


@case("filters/gabor", tolerance=1e-4)
def _gabor() -> list[Any]:
    """Planted functions with a little noise; a fit stops where its own tolerance is reached."""
    y, x = np.mgrid[:7, :7] - 3.0
    waves = [np.cos(0.9 * x + 0.4 * y + k) * np.exp(-(x**2 + y**2) / 9) for k in range(3)]
    fits = iv.weights.fit_gabor(np.stack(waves)[:, None] + 0.02 * inputs.array(3, 1, 7, 7))
    return [
        fits.r2,
        fits.median_r2,
        fits.frequency,
        fits.orientation_deg,
        fits.width_px,
        fits.filters,
        fits.fitted,
    ]


@case("filters/head")
def _head() -> list[Any]:
    found = iv.weights.head_frequency_correlation(pooled(), layer="2", permutations=99, seed=3)
    return [found, found.correlation, found.p_value, found.table]


@case("filters/rotation")
def _rotation() -> list[Any]:
    found = iv.weights.rotation_coupling(pooled(), first="0", second="2", permutations=99, seed=1)
    excess = iv.weights.rotation_excess(inputs.array(4, 1, 5, 5), angles=6)
    return [found, found.correlation, found.p_value, found.z, excess]


@case("filters/shuffled")
def _shuffled() -> list[Any]:
    return list(iv.weights.shuffled_channels(pooled(), seed=5).state_dict().values())


@case("generators/tangents")
def _generators() -> list[Any]:
    images = inputs.smooth_images(2)
    names = ["translation_x", "translation_y", "rotation", "scale", "shear_x", "shear_y", "hyperbolic"]
    found = iv.generators.as_generators([*names, "blur", "intensity", lambda x, t: x + t * x**2])
    kept: list[Any] = [[one.step, float(one.moves_maps)] for one in found]
    for interpolation in ("spline", "fourier", "bilinear"):
        at = iv.generators.Derivatives(images, interpolation)
        kept += [at.first[0], at.first[1]]
        kept += [one.tangent(at) for one in found if interpolation != "bilinear" or one.name not in ("blur",)]
    return kept


@case("zoo/networks", tolerance=1e-4)
def _networks() -> dict[str, Any]:
    """Every network of the registry on one image: its weights are drawn by torch."""
    image = inputs.images(2, side=32, channels=3).float()
    found = {}
    for name in sorted(iv.zoo.NETWORKS.names()):
        shape = (3, 32, 32)
        try:
            model = iv.zoo.build(name, input_shape=shape, classes=4, seed=1).eval()
        except (TypeError, ValueError) as error:
            found[name] = type(error).__name__
            continue
        with torch.no_grad():
            found[name] = [float(iv.zoo.parameter_count(model)), float(model(image).double().square().mean())]
    return found


@case("zoo/data", tolerance=1e-5)
def _data() -> list[Any]:
    digits = iv.zoo.load("mnist_subset", samples=12, seed=2)
    corrupted = [iv.zoo.corrupted(digits, f"{name}:3", seed=1).images for name in sorted(iv.zoo.CORRUPTIONS)]
    scales = iv.zoo.scale_detection(8, size=12, seed=3)
    return [digits.images, digits.labels, *corrupted, scales.images, scales.labels]


@case("zoo/constant-filters")
def _constant() -> Any:
    model = iv.zoo.constant_filters(3, filter_size=2, stride=2).double()
    with torch.no_grad():
        return model(inputs.images(2, side=16))


@case("zoo/training", tolerance=1e-3)
def _training() -> list[Any]:
    """Two epochs of a tiny network: losses, and accuracy at the end."""
    data = iv.zoo.load("mnist_subset", samples=64, seed=1)
    model = iv.zoo.build("simple_conv", filters=2, fc=4, seed=0)
    training = iv.zoo.train(model, data, epochs=2, batch_size=16, augmentation=iv.Rotation.circle(4), seed=5)
    losses = [float(entry["loss"]) for entry in training.history]
    return [losses, iv.zoo.evaluate(model, data, transform=iv.QuarterTurns(), seed=2)]
