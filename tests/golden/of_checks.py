"""Assertions, limits, penalties, and what depends on the batch."""

from __future__ import annotations

from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

import invariscope as iv

from . import inputs, reach
from .cases import add, case
from .of_options import TURNS, quick

IMAGES = inputs.images(12)


def pointwise() -> nn.Module:
    """It follows any motion of the image, and its last layer forgets where things are."""
    parts = [nn.Conv2d(1, 4, 1), nn.Tanh(), nn.Conv2d(4, 3, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return inputs.filled(nn.Sequential(*parts))


def verdict(assertion: Any, model: nn.Module, transform: Any, **options: Any) -> dict[str, Any]:
    """What an assertion found, whether it holds or not."""
    try:
        found = assertion(model, IMAGES, transform, **options)
    except iv.SymmetryError as error:
        found = error.verdict
    layers = [
        {
            "name": frozenset([f"{layer.layer}#{layer.call} {layer.action}"]),
            "mean": layer.mean,
            "null": layer.null,
            "holds": layer.holds,
            "inconclusive": layer.inconclusive,
            "worst": worst_of(layer.worst),
        }
        for layer in found.layers
    ]
    return {"layers": layers, "broken": len(found.broken), "samples": found.samples}


def worst_of(worst: Any) -> list[float]:
    """The error and what is allowed; and the pair, unless errors are rounding alone."""
    if worst is None:
        return []
    pair = [worst.element, worst.sample] if worst.error > 1e-6 else []
    return [worst.error, worst.allowed, *pair]


for _name, _model, _transform, _options in [
    ("turns", pointwise, TURNS, {}),
    ("angles", pointwise, iv.Rotation([0, 30]), {"below": 0.5}),
    ("derived-tolerance", pointwise, iv.Rotation([0, 30]), {}),
    ("broken", inputs.net, TURNS, {"samples": 7, "seed": 2}),
    ("layers", inputs.net, iv.Dihedral(), {"layers": ["conv", "relu"]}),
    ("float64", pointwise, TURNS, {"precision": "float64"}),
]:
    add(
        f"assertions/invariant-{_name}",
        partial(lambda f, t, o: verdict(iv.assert_invariant, f(), t, **o), _model, _transform, _options),
    )
    add(
        f"assertions/equivariant-{_name}",
        partial(lambda f, t, o: verdict(iv.assert_equivariant, f(), t, **o), _model, _transform, _options),
    )


@case("assertions/equivariant-actions")
def _actions() -> dict[str, Any]:
    actions = {"conv": "regular", "fc": "trivial"}
    return verdict(iv.assert_equivariant, inputs.net(), TURNS, feature_action=actions)


@case("limits/judged")
def _limits() -> list[Any]:
    result = quick(measures=["normalized_variance", "anova", "prediction"])
    most = ["*:normalized_variance:0.9", "conv:anova.share_transform:0.1", "output:prediction.flips:0.5"]
    outcomes = reach.judged(result, most, ["fc:normalized_variance:0.2", "relu:anova.F:1.5"])
    return [[one.call, one.value, one.low, one.high, one.status == "holds"] for one in outcomes]


def penalty(
    name: str, /, *, step: int | None = None, transform: Any = TURNS, **options: Any
) -> dict[str, Any]:
    """The value of each layer and the mean, with the gradient of every parameter."""
    model = inputs.net()
    made = getattr(iv.penalties, name)(transform, **options)
    total = made(model, IMAGES, step=step)
    total.backward()
    found = {
        f"{layer}_{call}": value for (layer, call), value in made.by_layer(model, IMAGES, step=step).items()
    }
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return {
        "total": total.reshape(1),
        "layers": {k: v.reshape(1) for k, v in found.items()},
        "gradients": gradients,
    }


for _name, _kind, _options in [
    ("variance", "NormalizedVariance", {"min_firing": 0}),
    ("variance-means", "NormalizedVariance", {"min_firing": 0, "average": "units", "layers": "fc"}),
    (
        "variance-fixed",
        "NormalizedVariance",
        {"fixed_denominator": True, "elements": 3, "step": 5, "seed": 2},
    ),
    ("deviation", "EquivarianceDeviation", {"layers": ["conv", "relu"]}),
    (
        "deviation-channels",
        "EquivarianceDeviation",
        {"kind": "channelwise", "layers": "relu", "to_null": True},
    ),
    (
        "deviation-l2",
        "EquivarianceDeviation",
        {"kind": "channelwise", "distance": "squared_l2", "reference": "twirl", "layers": "conv"},
    ),
    ("deviation-output", "EquivarianceDeviation", {"kind": "output"}),
    ("stability", "Stability", {"step": 1, "transform": iv.Diffeomorphism(2, delta_px=0.5)}),
    ("stability-d", "Stability", {"step": 1, "kind": "D", "transform": iv.Diffeomorphism(2, delta_px=0.5)}),
]:
    add(f"penalties/{_name}", partial(penalty, _kind, **_options))


class Mixing(nn.Module):
    """The second layer compares each sample with the mean of its batch."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Flatten(), nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        flat = self.first(x)
        return self.second(flat - flat.mean(0))


@case("audit/dependence")
def _dependence() -> list[Any]:
    models = [Mixing(), inputs.net(), nn.Sequential(nn.Flatten(), nn.Linear(36, 2)).double()]
    found = [iv.readers.depends_on_batch(iv.readers.as_reader(model), IMAGES[:6]) for model in models]
    return [[one.chance, one.neighbours, one.output, len(one.layers)] for one in found]


@case("audit/withdrawn")
def _withdrawn() -> iv.Result:
    """A layer that depends on its batch is withdrawn; the others are measured."""
    model = Withdrawing()
    return quick(model, inputs.images(), measures=["normalized_variance"])


class Withdrawing(Mixing):
    """Its output does not depend on the batch, only a layer on the side does."""

    def forward(self, x: Tensor) -> Tensor:
        super().forward(x)
        return torch.tanh(x.flatten(1))


@case("readers/inspection")
def _inspection() -> list[Any]:
    found = []
    for model in (inputs.odd(), inputs.net()):
        with iv.readers.as_reader(model).open() as forward:
            found.append(reach.readings(forward, IMAGES[:3]))
    return found
