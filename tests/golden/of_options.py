"""Every option of `iv.measure`, and every kind of model and data, with a few measures."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import invariscope as iv

from . import inputs, reach
from .cases import add, case

TURNS = iv.QuarterTurns()
SAVED = Path(__file__).parent / "saved"
FEW = ("normalized_variance", "prediction")


def quick(model: Any = None, data: Any = None, transform: Any = TURNS, **options: Any) -> iv.Result:
    """The usual network and inputs, unless others are given."""
    model = inputs.net() if model is None else model
    data = (inputs.images(), inputs.labels()) if data is None else data
    given = {"measures": FEW, "progress": False, "rows": "all"}
    return iv.measure(model, data, transform, **given | options)


IDS = np.random.default_rng(7).permutation(inputs.SAMPLES) + 1000
CLUSTERS = np.arange(inputs.SAMPLES) // 4
MANY = (inputs.images(400), inputs.labels(400))

OPTIONS: dict[str, dict[str, Any]] = {
    "defaults": {"layers": None},
    "measure-by-name": {"measures": "consistency"},
    "two-forms": {"measures": [iv.EquivarianceDeviation(kind=kind) for kind in ("latent", "output")]},
    "layers-glob": {"layers": "f*"},
    "layers-list": {"layers": ["conv", "relu"]},
    "layers-excluded": {"layers": "!*conv*"},
    "layers-predicate": {"layers": lambda info: len(info.shape) == 1},
    "by-class": {"by_class": True},
    "classes": {"by_class": True, "classes": ["cat", "dog", "hen"]},
    "samples": {"samples": 40},
    "batch-size-4": {"batch_size": 4},
    "batch-size-29": {"batch_size": 29},
    "device": {"device": "cpu"},
    "precision-float64": {"precision": "float64"},
    "seed": {"seed": 11, "samples": 50},
    "no-intervals": {"intervals": False},
    "memory": {"memory_gb": 1e-4},
    "batch-axis": {"batch_axis": 0},
    "gradients": {"gradients": True},
    "label": {"label": "tiny"},
    "baseline": {"baseline": "random", "draws": 4},
    "floor": {"floor": True, "transform": iv.Rotation([0, 20, 50, 90])},
    "floor-same-equivariance": {"floor": True, "measures": ["same_equivariance", "equivariance_error"]}
    | {"transform": iv.Rotation([0, 20, 50, 90])},
    "ids": {"ids": IDS},
    "ids-words": {"ids": [f"sample {number}" for number in IDS]},
    "clusters": {"clusters": CLUSTERS},
    "ids-and-clusters": {
        "ids": IDS,
        "clusters": CLUSTERS,
        "measures": ["normalized_variance", "anova", "cka"],
    },
    "sequential": {"data": MANY, "width": 0.2},
    "sequential-at-least": {
        "data": MANY,
        "width": 0.12,
        "at_least": 64,
        "decided_by": "fc:normalized_variance",
    },
    "sequential-never": {"data": MANY, "width": 1e-6, "samples": 200},
    "jitter": {"transform": iv.Rotation.circle(4, jitter_deg=7), "seed": 5},
    "drawn-fields": {"transform": iv.Diffeomorphism(3, delta_px=0.5), "measures": ["stability", "anova"]},
    "translations": {
        "transform": iv.PeriodicTranslation(2, 3),
        "measures": ["normalized_variance", "spectrum"],
    },
    "one-class": {"data": (inputs.images(), torch.zeros(72, dtype=torch.int64))},
    "all-measures": {
        "measures": [*FEW, "anova", "goodfellow", "information", "cka", "consistency", "twirl"],
    },
}

DATA: dict[str, Callable[[], Any]] = {
    "tensor": inputs.images,
    "array": lambda: inputs.array(72, 1, 6, 6),
    "labelled": lambda: (inputs.images(), inputs.labels()),
    "odd-number": lambda: (inputs.images(67), inputs.labels(67)),
    "few": lambda: inputs.images(3),
    "words": lambda: (inputs.images(), np.array(["ape", "bee", "cow"])[inputs.labels().numpy()]),
    "dataset": inputs.Pairs,
    "odd-dataset": lambda: inputs.Pairs(65),
    "tensor-dataset": lambda: TensorDataset(inputs.images(), inputs.labels()),
    "loader": lambda: DataLoader(inputs.Pairs(), batch_size=10),
    "stream": inputs.stream,
    "odd-stream": lambda: inputs.stream(71, 9),
    "stream-of-images": lambda: iter(inputs.images().split(7)),
    "list-of-batches": lambda: list(inputs.stream()),
    "targets-that-are-no-labels": lambda: (inputs.images(), inputs.images(seed=2)),
}


class Forces(nn.Module):
    """The derivative of an energy, taken inside the forward."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(1, 3)

    def forward(self, points: Tensor) -> Tensor:
        points.requires_grad_(True)
        apart = (points[:, :, None] - points[:, None]).square().sum(-1, keepdim=True)
        energy = torch.tanh(self.layer(apart)).sum()
        return -torch.autograd.grad(energy, points)[0]


class Attend(nn.Module):
    """One head whose scores are masked by −∞: a layer that is skipped."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.out = nn.Linear(6, 6), nn.Linear(6, inputs.CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        x = images.flatten(1, 2)
        scores = (self.query(x) @ x.mT).masked_fill(torch.ones(6, 6).triu(1) > 0, -torch.inf)
        return self.out((scores.softmax(-1) @ x).mean(1))


def responses(images: Tensor) -> dict[str, Any]:
    """A function from inputs to layers, some of them arrays."""
    return {"mean": images.mean((2, 3)), "square": images.square().numpy(), "flat": images.flatten(1)}


def _holed() -> Tensor:
    images = inputs.images()
    images[5, 0, 0, 0] = torch.inf
    return images


def mixing(images: Tensor) -> dict[str, Tensor]:
    return {"steady": images.flatten(1), "centred": (images - images.mean(0)).flatten(1)}


MODELS: dict[str, Callable[[], dict[str, Any]]] = {
    "odd": lambda: {"model": inputs.odd(), "output": "scores"},
    "odd-by-class": lambda: {"model": inputs.odd(), "output": "scores", "by_class": True},
    "odd-output-function": lambda: {"model": inputs.odd(), "output": lambda out: out["scores"] * 2},
    "odd-named": lambda: {
        "model": inputs.odd(),
        "layers": ["shared", "act", "norm"],
        "measures": FEW,
        "output": "scores",
    },
    "callable": lambda: {"model": responses, "data": inputs.images(), "measures": ["normalized_variance"]},
    "reader": lambda: {"model": iv.readers.TorchReader(inputs.net(), layers="conv")},
    "callable-reader": lambda: {
        "model": iv.readers.CallableReader(responses, layers="!mean"),
        "data": inputs.images(),
        "measures": ["normalized_variance", "anova"],
    },
    "channel-mean": lambda: {
        "model": iv.readers.ChannelMean(inputs.net()),
        "measures": ["normalized_variance"],
    },
    "masked-scores": lambda: {
        "model": inputs.filled(Attend()),
        "transform": [torch.clone, lambda x: x.flip(-1)],
    },
    "nonfinite-skip": lambda: {
        "data": (_holed(), inputs.labels()),
        "nonfinite": "skip",
        "transform": iv.PeriodicTranslation(2, 2),
    },
    "forces": lambda: {
        "model": inputs.filled(Forces()),
        "data": torch.from_numpy(inputs.array(40, 4, 3)),
        "transform": iv.RandomOrthogonal(3),
        "gradients": True,
        "measures": ["normalized_variance"],
    },
    "vectors": lambda: {
        "model": inputs.filled(nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Flatten(), nn.Linear(20, 3))),
        "data": (torch.from_numpy(inputs.array(72, 4, 3)), inputs.labels()),
        "transform": iv.RandomPermutations(3, size=4),
    },
    "elements": lambda: {"transform": [torch.clone, lambda x: x.flip(-1), lambda x: 0.5 * x]},
    "table": lambda: {
        "model": inputs.filled(nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))),
        "data": (pd.DataFrame(inputs.array(72, 4)), inputs.labels().numpy()),
        "transform": [torch.clone, lambda x: -x],
    },
    "orbit-average": lambda: {"model": iv.OrbitAverage(inputs.net(), iv.Flip()), "batch_size": 8},
    "calibrated": lambda: {"model": iv.calibrated(inputs.odd(), inputs.images()), "output": "scores"},
}


def _of(options: Callable[[], dict[str, Any]]) -> iv.Result:
    return quick(**options())


for _name, _given in OPTIONS.items():
    add(f"options/{_name}", partial(quick, **({"layers": ["relu", "fc"]} | _given)))
for _name, _make in DATA.items():
    _labelled = _name not in (
        "tensor",
        "array",
        "few",
        "words",
        "stream-of-images",
        "targets-that-are-no-labels",
    )
    _measures = FEW if _labelled else FEW[:1]
    add(f"data/{_name}", lambda make=_make, measures=_measures: quick(data=make(), measures=measures))
for _name, _options in MODELS.items():
    add(f"models/{_name}", partial(_of, _options))


@case("data/words-and-classes")
def _words() -> iv.Result:
    return quick(data=DATA["words"](), classes=["bee", "ape", "cow"], by_class=True)


@case("models/unstable")
def _unstable() -> list[iv.Result]:
    """Responses that depend on the other inputs of the batch, measured with a warning."""
    options = {"unstable": "measure", "measures": ["normalized_variance"], "batch_size": 16}
    normalized = iv.batch_normalized(inputs.odd())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [quick(model, inputs.images(), **options) for model in (mixing, normalized)]


@case("options/baseline-function")
def _baseline() -> iv.Result:
    seeds = iter(range(50, 90))
    return quick(baseline=lambda: inputs.net(seed=next(seeds)), draws=3, by_class=True)


@case("data/stream-with-ids")
def _stream_with_ids() -> iv.Result:
    return quick(data=list(inputs.stream()), ids=IDS, clusters=CLUSTERS, samples=60)


@case("data/another-order")
def _another_order() -> iv.Result:
    order = np.random.default_rng(3).permutation(inputs.SAMPLES)
    return quick(
        data=(inputs.images()[order], inputs.labels()[order]), measures=["normalized_variance", "cka"]
    )


@case("options/progress")
def _progress() -> list[float]:
    told: list[float] = []
    quick(progress=lambda done, total: told.extend([done, total or -1]), batch_size=64)
    return [told[-2], told[-1], len(told)]


@case("options/checkpoint")
def _checkpoint() -> iv.Result:
    """Interrupted in the middle, and resumed."""
    options: dict[str, Any] = {"batch_size": 16, "by_class": True}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sums"
        with reach.frequent_checkpoints():
            interrupted(path, **options)
        assert path.exists()
        return quick(checkpoint=path, **options)


def interrupted(path: Path, **options: Any) -> None:
    """A run that ends half way and leaves its checkpoint."""

    def stop(done: int, total: int | None) -> None:
        if done > inputs.SAMPLES / 2:
            raise KeyboardInterrupt

    try:
        quick(checkpoint=path, progress=stop, **options)
    except KeyboardInterrupt:
        return
    raise AssertionError("the run was not interrupted")


@case("options/float32", tolerance=1e-5)
def _float32() -> iv.Result:
    return quick(inputs.net().float(), (inputs.images().float(), inputs.labels()))


@case("options/bf16", tolerance=1e-1)
def _bf16() -> iv.Result:
    return quick(
        inputs.net().float(), inputs.images().float(), precision="bf16", measures=["normalized_variance"]
    )
