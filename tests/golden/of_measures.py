"""Every measure of the registry: each of its examples, its presets, and by class on an odd number."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

import invariscope as iv

from . import inputs, reach
from .cases import add

LAYERS = ["relu", "fc"]  # feature maps with silent places, and flat responses
TURNS = iv.QuarterTurns()
SMOOTH = ("stability", "gradient_norm")
LADDER = ("stability_curve", "layer_stability_curve")
TO_IMAGES = ("equivariance_psnr",)


def measured(measure: Any, *, samples: int = inputs.SAMPLES, moving: bool = False, **options: Any) -> Any:
    """The measure on the network and the transform that suit it."""
    name = measure.name
    images = inputs.images(samples)
    model = inputs.image_net() if name in TO_IMAGES else inputs.net()
    transform = iv.Rotation.circle(5, jitter_deg=3.0) if moving else TURNS
    if name in SMOOTH:
        transform = iv.Diffeomorphism(3, delta_px=0.5)
    elif name in LADDER:
        transform = iv.DeformationLadder((1e-3, 1e-2, 1e-1))
    elif moving and name in ("equivariance_deviation", "equivariance_error"):
        transform = iv.Dihedral()
    numbers = measure.predicts_numbers
    model = inputs.net(outputs=1) if numbers else model
    labels = inputs.array(samples, seed=5) if numbers else inputs.labels(samples)
    given = {"measures": [measure], "progress": False, "layers": None if name in TO_IMAGES else LAYERS}
    given["rows"] = "all"
    return iv.measure(model, (images, labels), transform, **given, **options)


def _by_class(measure: Any) -> Any:
    return measured(measure, samples=131, moving=True, by_class=True, seed=3)


def _against_random(**options: Any) -> Any:
    """Normalised by networks with random weights, which a function gives."""
    seeds = iter(range(100, 200))
    measure = iv.NormalizedVariance(norm="random_net", **options)
    return measured(measure, baseline=lambda: inputs.net(seed=next(seeds)), draws=3)


for _name, _class in reach.measure_classes().items():
    for _number, _example in enumerate(_class.examples()):
        add(f"measure-{_name}/example-{_number}", partial(measured, _example))
    for _preset in reach.presets().get(_name, ()):
        add(f"measure-{_name}/preset-{_preset}", partial(measured, _class(preset=_preset)))
    add(f"measure-{_name}/by-class", partial(_by_class, _class()))

add("measure-normalized_variance/random-net", _against_random)
add("measure-normalized_variance/random-net-std", partial(_against_random, spread="std"))
add("measure-twirl/values", lambda: measured(iv.Twirl(targets="values")))
add(
    "measure-anova/corrected",
    lambda: measured(iv.Anova(correction="bonferroni", sphericity="greenhouse_geisser", alpha=0.2)),
)
add("measure-goodfellow/best", lambda: measured(iv.Goodfellow(alpha=0.1, best=0.5)))
add("measure-stability/radius-number", lambda: measured(iv.Stability(radius=0.5, subset=16)))
add("measure-stability/radius-mean", lambda: measured(iv.Stability(radius="mean", average="median")))
add("measure-cka/drawn", lambda: measured(iv.CKA(samples=20, units=30, seed=2)))
add("measure-distances/small-reservoir", lambda: measured(iv.NormalizedDistance(reservoir=9, seed=4)))
add("measure-fitted_equivariance/few-dims", lambda: measured(iv.FittedEquivariance(dims=5, ridge=0.1)))
add(
    "measure-equivariance_deviation/fibre",
    lambda: measured(iv.EquivarianceDeviation(kind="channelwise", feature_action=iv.FibreAction("regular"))),
)
add(
    "measure-equivariance_deviation/matrix",
    lambda: measured(
        iv.EquivarianceDeviation(
            feature_action=iv.MatrixAction(
                np.stack([np.eye(4)[np.roll(range(4), k)] for k in range(4)]), axis=0
            )
        )
    ),
)
add(
    "measure-equivariance_error/objects",
    lambda: measured(iv.EquivarianceError(feature_action=iv.SpatialAction())),
)
add(
    "measure-equivariance_error/trivial-object",
    lambda: measured(iv.EquivarianceError(feature_action=(iv.TrivialAction(), "spatial"))),
)
