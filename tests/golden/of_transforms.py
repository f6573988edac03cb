"""Every transform of the registry: what it makes of images, back and forth, and what it says of itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

import invariscope as iv

from . import inputs, reach
from .cases import TOLERANCE, add, case


def made_for(transform: Any) -> torch.Tensor:
    """Two samples of the kind that the examples of the family are made for."""
    wanted = transform.inputs
    if len(wanted.shape) == 2:
        return torch.from_numpy(inputs.array(2, *wanted.shape).astype(np.float64))
    images = inputs.smooth_images(2, channels=wanted.shape[0], side=max(wanted.shape[1:]))
    return images if wanted.high is None else images / 1.5  # the highest bump is at most 1.5


def moved(transform: Any) -> dict[str, Any]:
    """The orbit, the way back, the action on maps, and the traits."""
    x = made_for(transform)
    side = x.shape[-1]
    keys = np.array([3, 8])
    orbit = transform.orbit(x, keys=keys, seed=4)
    generator = torch.Generator().manual_seed(2)
    return {
        "orbit": orbit,
        "other_seed": transform.orbit(x, keys=keys, seed=5),
        "other_keys": transform.orbit(x, seed=4),
        "inverse": allowed(lambda: transform.inverse().orbit(x, keys=keys, seed=4)),
        "round_trip": allowed(lambda: transform.round_trip(x, keys=keys, seed=4)),
        "act": allowed(lambda: transform.act(orbit, input_size=(side, side), keys=keys, seed=4)),
        "undo": allowed(
            lambda: transform.act(orbit, inverse=True, input_size=(side, side), keys=keys, seed=4)
        ),
        "half": allowed(
            lambda: transform.act(orbit[..., ::2, ::2], input_size=(side, side), keys=keys, seed=4)
        ),
        "random": transform.random(x, generator=generator),
        "table": transform.table(),
        "labels": frozenset(transform.labels),
        "parameters": {name: list(values) for name, values in transform.parameters.items()},
        "identity": transform.identity,
        "exact": list(transform.exact),
        "per_sample": transform.per_sample,
        "invertible": transform.invertible,
        "count": len(transform),
    }


def allowed(compute: Callable[[], Any]) -> Any:
    """The value, or the kind of error that refuses it."""
    try:
        return compute()
    except (TypeError, ValueError) as error:
        return type(error).__name__


def moved_fields(transform: Any) -> dict[str, Any]:
    """The fields of a sample under each element, forth and back."""
    sample = {
        "positions": inputs.array(4, 3).astype(np.float64),
        "x": inputs.array(5, 2),
        "edge_index": np.array([[0, 1, 4], [2, 3, 0]]),
    }
    given = np.array([sample, None], object)[:1]
    ways = {"orbit": transform, "inverse": transform.inverse()}
    found = {name: way.orbit(given, keys=[3], seed=4)[0] for name, way in ways.items()}
    return {
        f"{name}-{element}-{field}": samples[element][field]
        for name, samples in found.items()
        for element in range(len(transform))
        for field in sample
    }


for _name, _family in reach.transform_classes().items():
    if _family.inputs.package:  # which need not be installed
        continue
    # Libraries that compress images, or count, may differ by a step of a few values.
    _off = TOLERANCE if _family.inputs.gradients else 0.02
    for _number, _example in enumerate(_family.examples()):
        _compute = moved_fields if getattr(_family, "structured", False) else moved
        add(f"transform-{_name}/example-{_number}", partial(_compute, _example), tolerance=_off)

for _name, _transform in {
    "rotation-bicubic-border": iv.Rotation([10, 100], interpolation="bicubic", padding="border"),
    "rotation-reflection": iv.Rotation([15, -40], padding="reflection"),
    "rotation-range": iv.Rotation.range(-30, 30, 5),
    "translation-jitter": iv.Translation([(0, 0), (3, -1)], jitter_px=1.5),
    "scale-range": iv.Scale([0.7, 1.0, 1.3], padding="reflection", jitter=1.1),
    "diffeomorphism-gaussian": iv.Diffeomorphism(2, delta_px=0.8, interpolation="gaussian", c=5),
    "diffeomorphism-pair": iv.Diffeomorphism(1, delta_px=(0.8, 1.6)),
    "diffeomorphism-cubic": iv.Diffeomorphism(2, temperature=1e-3, interpolation="cubic", reject_folded=True),
    "augmentation": iv.DiffeomorphismAugmentation(3, c_range=(2, 5)),
    "noise-like": iv.Noise(like=iv.Diffeomorphism(2, delta_px=0.8)),
    "compose": iv.Compose([iv.Rotation([0, 90]), iv.Translation([(1, 0), (2, 0)]), iv.Flip()]),
    "grid": iv.Grid(iv.QuarterTurns(), iv.PeriodicTranslation(2, 2)),
    "inverse-grid": iv.Inverse(iv.Grid(iv.Rotation([0, 30]), iv.Scale([1.0, 1.2]))),
    "drawn": iv.Drawn(lambda x: x * torch.rand(()), 3),
    "permutations": iv.Permutations([range(28), range(27, -1, -1)], axis=2),
    "orthogonal": iv.RandomOrthogonal(4, dimension=3, axis=1),
}.items():
    add(f"transforms/{_name}", partial(moved, _transform))


@case("transforms/groups")
def _groups() -> dict[str, Any]:
    groups = [iv.QuarterTurns(), iv.Dihedral(), iv.Flip("both"), iv.Grid(iv.Flip(), iv.QuarterTurns())]
    groups += [iv.Rotation.circle(6), iv.PeriodicTranslation(2, 3), iv.Permutations.cyclic(5)]
    found = [iv.Group.of(transform) for transform in groups]
    return {
        "tables": [group.table for group in found],
        "identities": [group.identity for group in found],
        "inverses": [list(group.inverses) for group in found],
        "regular": [group.regular() for group in found],
        "cosets": [list(map(list, found[0].cosets([0, 2])))],
        "kernel": list(found[0].kernel(np.array([[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]]))),
    }


@case("transforms/fields")
def _fields() -> list[Any]:
    transforms = [iv.Diffeomorphism(2, delta_px=1.0), iv.DeformationLadder((1e-4, 1e-3))]
    transforms += [iv.DiffeomorphismAugmentation(2)]
    return [np.asarray(transform.field([0, 4], size=(20, 16), seed=3)) for transform in transforms]
