"""Seeded results that strain a figure: many layers, several networks, and everything that can be missing."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
from sample_results import sample_result

from invariscope.plots import PLOTS
from invariscope.results.result import Result

NAN = float("nan")
LAYERS, RESULTS = (10, 60, 200), (1, 2, 6)
NETWORKS = (
    "ResNet-50",
    "ResNet-50, trained with rotations by any angle",
    "ViT-B/16",
    "ConvNeXt-Tiny, fine-tuned on the training set for 90 epochs, seed 3",
    "steerable CNN",
    "VGG-16 without pooling",
)
SIGNED = "difference_from_untrained"


def layer_names(count: int) -> list[str]:
    """Names as real networks have them: a flat list, stages with blocks, or one long list of blocks."""
    if count <= 10:
        kinds = [f"{kind}{i}" for i in range(1, 4) for kind in ("conv", "relu", "pool")]
        return [*kinds[: count - 1], "classifier.output"]
    parts = ("conv1", "bn1", "conv2", "activation")
    blocks = (count - 4) // len(parts)
    stages = [f"backbone.layer{1 + 4 * i // blocks}.{i}.{part}" for i in range(blocks) for part in parts]
    return ["backbone.stem.conv", "backbone.stem.relu", *stages, "backbone.pool", "backbone.head"]


def shape(place: int, count: int) -> tuple[int, ...]:
    """Maps that shrink, and units at the end."""
    if place >= count - 2:
        return (10,)
    return (6, 8, 8) if place < count / 2 else (9, 4, 4)


@cache
def samples(layers: int, results: int) -> tuple[Result, ...]:
    """Results of `results` networks (one of them a training run's epochs) with `layers` layers each."""
    names = layer_names(layers)
    shapes = {name: shape(place, len(names)) for place, name in enumerate(names)}
    return tuple(_sample(shapes, i) for i in range(results))


def _sample(shapes: dict[str, tuple[int, ...]], i: int) -> Result:
    plain = sample_result(
        NETWORKS[i], level=1 + 0.25 * i, seed=i, layers=shapes, epoch=2**i - 1, information=True, maps=True,
        stability=True,
    )  # fmt: skip
    names = list(shapes)
    about = {**plain.provenance, "training": {"name": "a training run with a long name", "epoch": 2**i - 1}}
    kept = {key: array for key, array in plain.examples.items() if not key.startswith("feature:")}
    kept |= _features(kept["orbit"][:, 0], [name for name in names if "conv" in name][:2])
    return replace(
        plain,
        rows=(*(_faulty(row, names) for row in plain.rows), *_signed(names, i)),
        arrays={key: _holes(key, array, names) for key, array in plain.arrays.items()},
        provenance=about,
        examples=kept,
    )


def _features(orbit: np.ndarray, layers: list[str]) -> dict[str, np.ndarray]:
    """Two feature maps of each layer: one that keeps the image, and one that is its negative."""
    small = orbit[:, ::2, ::2]
    return {f"feature:most:{layer}:3": small for layer in layers} | {
        f"feature:least:{layer}:5": 1 - small for layer in layers
    }


def _faulty(row, names):
    """A dead layer, sparse units, layers without an interval, and classes without a value."""
    place = names.index(row.layer) if row.layer in names else -1
    own = row.measure in ("normalized_variance", "transformation_variance")
    if own and place == len(names) // 3:
        return replace(row, value=NAN, ci_low=NAN, ci_high=NAN, dead_units=row.units)
    if own and place == len(names) // 2:
        return replace(row, sparse_units=int(0.8 * row.units))
    if place % 7 == 5 or (own and row.stratum == "3" and place == 2):
        return replace(row, ci_low=NAN, ci_high=NAN, value=NAN if row.stratum == "3" else row.value)
    return row


def _signed(names, i):
    """Values on both sides of zero, with intervals."""
    rng = np.random.default_rng(i)
    for name in names:
        value = float(rng.normal(0.2 * (i - 1), 0.3))
        place = {"measure": SIGNED, "layer": name, "call": 0, "stratum": "all", "samples": 64, "elements": 4}
        counts = {"units": 10, "dead_units": 0, "sparse_units": 0}
        yield place | counts | {"value": value, "ci_low": value - 0.1, "ci_high": value + 0.1}


def _holes(key, array, names):
    """The maps of the dead layer hold no value."""
    dead = key[1] == names[len(names) // 3] and not key[0].startswith("gabor")
    return np.full_like(array, np.nan) if dead else array


VARIANTS: dict[str, tuple[dict, ...]] = {
    "layer_profile": ({}, {"measure": SIGNED}, {"relative": True}, {"layers": None}),
    "unit_heatmap": ({}, {"sort": True, "vmax": 0.5}),
    "unit_distribution": ({}, {"measure": "transformation_variance"}),
    "class_heatmap": ({}, {"vmin": 0.4, "vmax": 0.9}),
    "element_curve": ({}, {"measure": "prediction.flips"}),
    "stability_curves": ({}, {"shown": "accuracy"}),
    "information_plane": ({}, {"form": "shares"}),
    "depth_laws": ({}, {"law": "power"}),
}


def variants(name: str) -> tuple[dict, ...]:
    """The options with which a plot is drawn."""
    return VARIANTS.get(name, ({},))


def grid() -> list[tuple[str, int, int]]:
    """Every plot with every number of layers and results."""
    return [(name, layers, results) for name in PLOTS.names() for layers in LAYERS for results in RESULTS]
