"""Simulate populations with known values, from which `benchmarks.coverage` draws samples.

A layer of 4 channels of 3 × 3 units responds to 40,000 samples under 4 elements, the first of which is the
identity, and to as many noisy versions. Samples are drawn with replacement, so the values of the population
are the true values. The activations of a trained network for 8,000 images are another population.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from invariscope.zoo import ImageData, build, load, train

ELEMENTS = 4
SHAPE = (4, 3, 3)
SAMPLES, IMAGES = 40_000, 8_000
COPIES = 4  # samples per cluster
_TURN = np.array([0.0, 0.3, 0.6, 0.3], np.float32)  # effect of each element that is common to all samples
_LAYERS = {"real maps": ("relu5", 4), "real vector": ("fc1_relu", None)}


@dataclass(frozen=True, eq=False)
class Population:
    """Responses from which samples are drawn.

    Args:
        responses: (sample, element and noisy version, unit...) float32.
        scores: (sample, element and noisy version, class) of the output.
        labels: (sample,) classes.
        together: number of consecutive samples that are copies of each other.
    """

    responses: np.ndarray
    scores: np.ndarray
    labels: np.ndarray
    together: int = 1

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one response."""
        return self.responses.shape[2:]

    @property
    def classes(self) -> int:
        """The number of classes."""
        return int(self.labels.max()) + 1


@dataclass(frozen=True)
class Recipe:
    """Description of a simulated population.

    Args:
        classes: number of classes.
        sensitivity: function of a generator and the labels that returns how strongly elements change the
            responses to each sample.
        normal: function of a generator and a leading shape that draws standard normal drives.
        least: (unit...) threshold of the drive, or None for linear units.
        together: number of consecutive samples that are copies of each other.
    """

    classes: int = 2
    sensitivity: Callable[[np.random.Generator, np.ndarray], np.ndarray] | None = None
    normal: Callable[[np.random.Generator, tuple[int, ...]], np.ndarray] | None = None
    least: np.ndarray | None = None
    together: int = 1


def _scales() -> np.ndarray:
    return np.linspace(0.2, 1.0, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)


def _normal(rng: np.random.Generator, lead: tuple[int, ...]) -> np.ndarray:
    return rng.standard_normal((*lead, *SHAPE), dtype=np.float32)


def _heavy(rng: np.random.Generator, lead: tuple[int, ...]) -> np.ndarray:
    """Draw differences between samples from Student's t with 5 degrees of freedom, and the rest normally."""
    if len(lead) > 1:
        return _normal(rng, lead)
    return (rng.standard_t(5, (*lead, *SHAPE)) / (5 / 3) ** 0.5).astype(np.float32)


def _of_factors(rng: np.random.Generator, lead: tuple[int, ...]) -> np.ndarray:
    """Draw 36 units from 10 factors."""
    loadings = np.random.default_rng(5).standard_normal((10, int(np.prod(SHAPE)))).astype(np.float32)
    loadings /= np.linalg.norm(loadings, axis=0)
    return (rng.standard_normal((*lead, 10), dtype=np.float32) @ loadings).reshape(*lead, *SHAPE)


def _of_class(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return sensitivities, spaced geometrically from 0.3 for class 0 to 3 for class 9."""
    return 0.3 * 10 ** (labels / 9)


def _log_normal(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return np.exp(rng.standard_normal(len(labels)))


def _three_percent(rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    return np.where(rng.random(len(labels)) < 0.03, 20.0, 1.0)


def _rare() -> np.ndarray:
    """Return thresholds of units; at 2, about 1 in 20 samples activates the unit."""
    return np.linspace(0.8, 2.4, int(np.prod(SHAPE)), dtype=np.float32).reshape(SHAPE)


def _some_rare() -> np.ndarray:
    return np.where(np.arange(_rare().size).reshape(SHAPE) % 2 == 0, _rare(), 0).astype(np.float32)


_ZERO = np.zeros(SHAPE, np.float32)
RECIPES: dict[str, Recipe] = {
    "linear": Recipe(),
    "relu": Recipe(least=_ZERO),
    "heavy": Recipe(normal=_heavy),
    "mixed": Recipe(least=_some_rare()),
    "sparse": Recipe(least=_rare()),
    "classes": Recipe(classes=10, sensitivity=_of_class, least=_ZERO),
    "correlated": Recipe(normal=_of_factors, least=_ZERO),
    "log-normal": Recipe(sensitivity=_log_normal),
    "3 percent": Recipe(sensitivity=_three_percent),
    "copies": Recipe(together=COPIES, least=_ZERO),
}


@cache
def simulated(name: str) -> Population:
    """Return a simulated population."""
    recipe, rng = RECIPES[name], np.random.default_rng(99)
    labels = rng.integers(0, recipe.classes, SAMPLES // recipe.together)
    responses = _drives(recipe, rng, labels)
    if recipe.together > 1:
        labels = labels.repeat(recipe.together)
        responses = responses.repeat(recipe.together, axis=0)
        responses += 0.1 * rng.standard_normal(responses.shape, dtype=np.float32)
        responses[:, ELEMENTS:][:, :1] = responses[:, :1]
    if recipe.least is not None:
        np.maximum(responses - recipe.least, 0, out=responses)
    flat = responses.reshape(*responses.shape[:2], -1)
    scores = np.ascontiguousarray(flat[:, :, 9 : 9 + recipe.classes])
    return Population(responses, scores, labels, recipe.together)


def _drives(recipe: Recipe, rng: np.random.Generator, labels: np.ndarray) -> np.ndarray:
    """Return drives due to sample and class, and effects of elements on all and on single samples."""
    normal, count = recipe.normal or _normal, len(labels)
    away = normal(rng, (count, 2 * ELEMENTS)) * _scales()
    away[:, ELEMENTS] = 0
    away[:, :ELEMENTS] += _TURN[:, None, None, None] * _scales()
    away[:, 0] = 0
    if recipe.sensitivity is not None:
        away *= recipe.sensitivity(rng, labels).astype(np.float32)[:, None, None, None, None]
    away += normal(rng, (count,))[:, None] + _means(recipe.classes)[labels][:, None]
    return away


def _means(classes: int) -> np.ndarray:
    """Return (class, unit...) mean drives."""
    side = 0.7 * _scales()[None, ::-1]
    if classes == 2:
        return np.array([-1, 1], np.float32)[:, None, None, None] * side
    return np.random.default_rng(6).standard_normal((classes, *SHAPE)).astype(np.float32) * side


def real(name: str, data_dir: Path) -> Population:
    """Return activations of a SimpleConv after three epochs: some channels of a map, or a whole vector."""
    layer, channels = _LAYERS[name]
    found, labels = _activations(data_dir)
    return Population(np.ascontiguousarray(found[layer][:, :, :channels]), found["fc2"], labels)


@cache
def _activations(data_dir: Path) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return labels of 8,000 test images, and layer responses under quarter turns and noise of equal norm."""
    model, data = _trained(data_dir)
    kept: dict[str, list[np.ndarray]] = {"relu5": [], "fc1_relu": [], "fc2": []}
    hooks = [_keep(dict(model.named_children())[name], into) for name, into in kept.items()]
    noise = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for images in data.images.split(250):
            model(_versions(images, noise).flatten(0, 1))
    for hook in hooks:
        hook.remove()
    joined = {name: np.concatenate(parts) for name, parts in kept.items()}
    shaped = {name: part.reshape(len(data.labels), -1, *part.shape[1:]) for name, part in joined.items()}
    return shaped, data.labels.numpy()


def _keep(module: torch.nn.Module, into: list[np.ndarray]) -> Any:
    return module.register_forward_hook(lambda _, __, found: into.append(found[:, :64].numpy().copy()))


def _versions(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return quarter turns and noise of the same norm, (sample, element and noisy version, ...)."""
    turned = torch.stack([torch.rot90(images, k, (-2, -1)) for k in range(ELEMENTS)], dim=1)
    away = (turned - images[:, None]).flatten(2).norm(dim=2)
    normal = torch.randn(turned.flatten(2).shape, generator=generator)
    normal *= (away / normal.norm(dim=2))[..., None]
    return torch.cat([turned, images[:, None] + normal.reshape(turned.shape)], dim=1)


def _trained(data_dir: Path) -> tuple[torch.nn.Module, ImageData]:
    """Return the network and its test images."""
    data = load("mnist", split="train", data_dir=data_dir, samples=20_000).standardized()
    model = build("simple_conv", input_shape=data.shape, classes=10, seed=0, filters=8, fc=64)
    train(model, data, epochs=3, seed=0)
    test = load("mnist", data_dir=data_dir, samples=IMAGES).standardized(data.mean, data.std)
    return model.eval(), test
