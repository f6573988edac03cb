"""Accuracy, agreement, cosines and PSNR under rotations, beside those of `torchmetrics`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

import invariscope as iv
from benchmarks.coming_from.comparison import Numbers, Row
from invariscope import zoo

TITLE = "torchmetrics"
PACKAGES = ("torchmetrics",)
TABLES = {
    "agreement": [
        Row("accuracy", "`MulticlassAccuracy(10)`, and `prediction.accuracy`"),
        Row("micro", '`average="micro"`: the share of images, not the mean over classes', 1e-6),
        Row(
            "agreement",
            "`MulticlassAccuracy(10)` against upright predictions, and `consistency.untransformed`",
        ),
        Row("kept", '`average="micro"`, and without the identity, which always agrees', 1e-6),
        Row("cosine", "`CosineSimilarity()` to the mean over the orbit, and `equivariance_deviation.latent`"),
        Row(
            "cosine_mean",
            '`reduction="mean"`, not a sum over images; deviations are negative similarities',
            1e-6,
        ),
        Row("psnr", "`PeakSignalNoiseRatio(1.0)` in 45° steps, and `equivariance_psnr`"),
        Row("psnr_kept", "the pixels that stay inside the image, not all", 1e-6),
        Row("psnr_turns", "quarter turns, which move nothing out of the image", 1e-6),
    ],
}


def data() -> tuple[Tensor, Tensor]:
    """Return the images and labels of the page."""
    digits = zoo.load("mnist_subset", samples=256)
    return digits.images, digits.labels


def classifier() -> nn.Module:
    """Return a classifier that picks the nearest class mean."""
    images, labels = data()
    means = torch.stack([images[labels == k].mean(0).flatten() for k in range(10)])
    linear = skip_init(nn.Linear, 784, 10)
    with torch.no_grad():
        linear.weight.copy_(means)
        linear.bias.copy_(-means.square().sum(1) / 2)
    return nn.Sequential(nn.Flatten(), linear).eval()


def filtering() -> nn.Module:
    """Return a model from images to images."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return nn.Conv2d(1, 1, 3, padding=1).eval()


def ours() -> Numbers:
    """Return our numbers."""
    measures = [iv.Prediction(), iv.Consistency(), iv.EquivarianceDeviation(distance="cosine")]
    options = {"measures": measures, "layers": "1", "progress": False}
    table = iv.measure(classifier(), data(), iv.Rotation.circle(8), **options).table
    values = table.set_index("measure").value
    accuracy, kept = float(values["prediction.accuracy"]), float(values["consistency.untransformed"])
    cosine = float(values["equivariance_deviation.latent"])

    def psnr(transform: iv.Transform) -> float:
        measures = [iv.EquivariancePSNR()]
        table = iv.measure(filtering(), data()[0], transform, measures=measures, progress=False).table
        return float(table.set_index("measure").value["equivariance_psnr"])

    masked = psnr(iv.Rotation.circle(8))
    return {
        "accuracy": accuracy,
        "micro": accuracy,
        "agreement": kept,
        "kept": kept,
        "cosine": cosine,
        "cosine_mean": cosine,
        "psnr": masked,
        "psnr_kept": masked,
        "psnr_turns": psnr(iv.QuarterTurns()),
    }


@torch.no_grad()
def theirs() -> Numbers:
    """Return the numbers of `torchmetrics`, updated element by element."""
    from torchmetrics import CosineSimilarity
    from torchmetrics.classification import MulticlassAccuracy
    from torchmetrics.image import PeakSignalNoiseRatio

    (images, labels), model = data(), classifier()
    moved = [model(images_of) for images_of in iv.Rotation.circle(8).orbit(images).unbind(1)]
    upright, centre = model(images).argmax(1), torch.stack(moved).mean(0)

    def updated(metric: Any, outputs: list[Tensor], target: Tensor) -> float:
        for output in outputs:
            metric.update(output, target)
        return float(metric.compute())

    def psnr(transform: iv.Transform, *, masked: bool = False) -> float:
        metric, filtered = PeakSignalNoiseRatio(1.0), transform.orbit(filtering()(images))
        for element in range(1, len(transform)):
            kept = inside(transform, element) if masked else torch.ones(28, 28, dtype=torch.bool)
            found = filtering()(transform.orbit(images)[:, element])
            metric.update(found[..., kept], filtered[:, element][..., kept])
        return float(metric.compute())

    return {
        "accuracy": updated(MulticlassAccuracy(10), moved, labels),
        "micro": updated(MulticlassAccuracy(10, average="micro"), moved, labels),
        "agreement": updated(MulticlassAccuracy(10), moved, upright),
        "kept": updated(MulticlassAccuracy(10, average="micro"), moved[1:], upright),
        "cosine": updated(CosineSimilarity(), moved, centre),
        "cosine_mean": -updated(CosineSimilarity(reduction="mean"), moved, centre),
        "psnr": psnr(iv.Rotation.circle(8)),
        "psnr_kept": psnr(iv.Rotation.circle(8), masked=True),
        "psnr_turns": psnr(iv.QuarterTurns()),
    }


def inside(transform: iv.Transform, element: int) -> Tensor:
    """Return a mask of the pixels that a rotation back and forth returns to their place."""
    back = transform.orbit(torch.ones(1, 1, 28, 28))[:, -element]
    return (transform.orbit(back)[0, element, 0] - 1).abs() <= 1e-3
