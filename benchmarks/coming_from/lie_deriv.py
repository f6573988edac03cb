"""Lie derivatives, beside those of the published formula of `lie-deriv` (Gruver et al. 2023).

That code is on GitHub only, so `theirs` computes its definition instead: the derivative at t = 0 of the class
probabilities, by automatic differentiation through an affine grid and bilinear sampling, with images mirrored
at their edges; and the mean of its absolute values.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial

import torch
from torch import Tensor, nn
from torch.nn import functional

import invariscope as iv
from benchmarks.coming_from.comparison import Numbers, Row
from invariscope import zoo
from invariscope.zoo import build

TITLE = "lie-deriv, its formula"
PACKAGES = ()
TABLES = {
    "agreement": [
        Row("default", "rotation, defaults of both"),
        Row("probabilities", "probabilities, not log-probabilities"),
        Row("bilinear", '`preset="legacy_lee"`: the derivative of bilinear sampling'),
        Row("squares", "⟨L²⟩ of the paper, not ⟨\\|L\\|⟩ of the code"),
        Row("edges", "images that repeat their edge pixels, not mirrored", 1e-6),
        Row("code", "⟨\\|L\\|⟩ of the code, `rotation.absolute` of `iv.measure`", 1e-4),
        Row("shift", "shift along x, as the paper, edges as above: per half image, `legacy_lee`", 1e-6),
        Row("pixel", "per pixel: divided by 13.5²"),
        Row("spline", "spline, not bilinear sampling"),
    ],
    "truth": [
        Row("blob_wide", "blobs of σ = 2.5 px"),
        Row("blob_narrow", "blobs of σ = 1.4 px"),
    ],
}
HALF = 13.5  # half the distance between the outermost pixels of 28 × 28 images
Motion = Callable[[Tensor], list[list[Tensor]]]


def network() -> nn.Module:
    """Return a smooth network, whose derivatives do not depend on how ties are broken."""
    return build("simple_conv", filters=4, fc=16, activation="tanh", pooling="average")


def data() -> Tensor:
    """Return the images of the page."""
    return zoo.load("mnist_subset", samples=32).images


@cache
def ours() -> Numbers:
    """Return our numbers."""
    model, images = network(), data().double()
    probabilities = nn.Sequential(model, nn.Softmax(-1))
    derive = partial(iv.lie_derivative, data=images, layerwise=False)

    def value(net: nn.Module, generator: str = "rotation", **options: str) -> float:
        return float(derive(net, generators=generator, **options).table.value.iloc[0])

    legacy = value(probabilities, preset="legacy_lee")
    shift = value(probabilities, "translation_x", preset="legacy_lee")
    measure = iv.LieDerivative(generators="rotation", preset="legacy_lee")
    options = {"layers": "1", "precision": "float64", "progress": False}
    table = iv.measure(probabilities, images, iv.Flip(), measures=[measure], **options).table
    absolute = table[table.measure == "lie_derivative.rotation.absolute"].value.iloc[0]
    return {
        "default": value(model),
        "probabilities": value(probabilities),
        "bilinear": legacy,
        "squares": legacy,
        "edges": legacy,
        "code": float(absolute),
        "shift": shift,
        "pixel": shift / HALF**2,
        "spline": value(probabilities, "translation_x"),
        **{f"blob_{name}": blob_error(sigma, "spline") for name, sigma in SIGMAS.items()},
    }


SIGMAS = {"wide": 2.5, "narrow": 1.4}


def rotation(t: Tensor) -> list[list[Tensor]]:
    """Return the affine map of a rotation by t radians."""
    return [[t.cos(), t.sin(), 0 * t], [-t.sin(), t.cos(), 0 * t]]


def shift(t: Tensor) -> list[list[Tensor]]:
    """Return the affine map of a shift along x by t half images."""
    one = torch.ones_like(t)
    return [[one, 0 * t, t], [0 * t, one, 0 * t]]


def sampled(images: Tensor, rows: list[list[Tensor]], *, mirrored: bool) -> Tensor:
    """Return images that are sampled bilinearly at the positions of an affine map."""
    n = images.shape[-1]
    theta = torch.stack([torch.stack(row) for row in rows])[None]
    at = (functional.affine_grid(theta, [1, 1, n, n], align_corners=True)[0] + 1) / 2 * (n - 1)
    cell = at.detach().floor()
    across, down = (at - cell).unbind(-1)

    def inside(k: Tensor) -> Tensor:
        return torch.where(k < n, k.abs(), 2 * n - 2 - k) if mirrored else k.clamp(0, n - 1)

    def corner(i: int, j: int) -> Tensor:
        return images[..., inside(cell[..., 1].long() + i), inside(cell[..., 0].long() + j)]

    upper, lower = (corner(i, 0) * (1 - across) + corner(i, 1) * across for i in (0, 1))
    return upper * (1 - down) + lower * down


def published(model: nn.Module, images: Tensor, motion: Motion, *, mirrored: bool = True) -> Tensor:
    """Return the derivative of the model's output, (sample, class)."""
    zero = torch.zeros((), dtype=images.dtype)

    def moved(t: Tensor) -> Tensor:
        return model(sampled(images, motion(t), mirrored=mirrored))

    return torch.func.jvp(moved, (zero,), (torch.ones_like(zero),))[1]


def theirs() -> Numbers:
    """Return the published formula's numbers."""
    images = data().double()
    probabilities = nn.Sequential(network().double(), nn.Softmax(-1)).eval()
    turned = published(probabilities, images, rotation)
    absolute = float(turned.abs().mean())
    edges = published(probabilities, images, rotation, mirrored=False)
    shifted = float(published(probabilities, images, shift, mirrored=False).square().mean())
    return {
        "default": absolute,
        "probabilities": absolute,
        "bilinear": absolute,
        "squares": float(turned.square().mean()),
        "edges": float(edges.square().mean()),
        "code": float(edges.abs().mean()),
        "shift": shifted,
        "pixel": shifted / HALF**2,
        "spline": shifted / HALF**2,
        **{f"blob_{name}": blob_error(sigma, "bilinear") for name, sigma in SIGMAS.items()},
    }


def blob_error(sigma: float, interpolation: str) -> float:
    """Return the relative error of the velocity of a turning Gaussian blob, whose exact value is known."""
    x = torch.arange(28.0, dtype=torch.float64) - HALF
    y = x[:, None]
    image = torch.exp(-((x - 3) ** 2 + (y - 2) ** 2) / (2 * sigma**2))
    exact = image * ((x - 3) * y - (y - 2) * x) / sigma**2
    if interpolation == "spline":
        (flow,) = iv.generators.as_generators("rotation")
        found = flow.tangent(iv.generators.Derivatives(image[None, None]))[0, 0]
    else:
        found = published(nn.Identity(), image[None, None], rotation)[0, 0]
    return float(min((found - exact).norm(), (found + exact).norm()) / exact.norm())
