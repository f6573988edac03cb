"""A result of a deep network on many classes, as a measurement by class gives it, without running one."""

from __future__ import annotations

import numpy as np

from invariscope.results.result import Result
from invariscope.results.rows import Row


def deep_layers(count: int) -> list[str]:
    """Names of layers in four stages of blocks, as residual networks have them."""
    parts = ("conv1", "bn1", "act1", "conv2", "bn2", "act2", "conv3", "bn3", "add", "act3")
    each = -(-(count - 2) // (4 * len(parts)))
    blocks = [f"layer{s + 1}.{b}.{part}" for s in range(4) for b in range(each) for part in parts]
    return ["conv1", *blocks[: count - 2], "fc"]


def deep_result(layers: int = 200, classes: int = 1000, *, name: str = "deep", seed: int = 0) -> Result:
    """Values of normalized variance that rise along the layers, for all samples and for each class."""
    rng, labels = np.random.default_rng(seed), deep_layers(layers)
    strata = ["all", *(f"class {i:04d}" for i in range(classes)), "mean"] if classes else ["all"]
    rows = [
        row
        for depth, layer in enumerate(labels)
        for row in _rows(rng, layer, strata, 0.2 + 0.6 * depth / layers)
    ]
    arrays = {
        ("normalized_variance", layer, "all", 0): _map(rng, depth / layers, layer == "fc")
        for depth, layer in enumerate(labels)
    }
    provenance = {
        "model": {"name": name},
        "data": {"name": "photos", "samples": 50_000, "classes": strata[1:-1], "fingerprint": "same"},
        "transform": {"family": "rotation", "labels": ["0°", "90°", "180°", "270°"], "elements": 4},
        "measures": {
            "normalized_variance": {"summary": "Variance along the orbit.", "reading": "0: invariant."}
        },
        "notes": [],
    }
    return Result(rows=tuple(rows), arrays=arrays, provenance=provenance)


def _rows(rng, layer, strata, level):
    values = level * rng.lognormal(0, 0.2, len(strata))
    widths = 0.05 * values * rng.lognormal(0, 0.3, len(strata))
    for stratum, value, width in zip(strata, values.tolist(), widths.tolist(), strict=True):
        yield Row(
            measure="normalized_variance", layer=layer, call=0, stratum=stratum, value=value,
            ci_low=value - width, ci_high=value + width, corrected=value + 0.1 * width, null=1.0,
            samples=50.0, elements=4.0, units=4096.0, units_total=4096.0, drawing_error=0.0, dead_units=3.0,
            value_ratio=0.9 * value, ratio_low=0.9 * value - width, ratio_high=0.9 * value + width,
        )  # fmt: skip


def _map(rng, depth, flat):
    shape = (1000,) if flat else (64, 14, 14)
    values = (0.2 + 0.6 * depth) * rng.lognormal(0, 0.4, shape)
    if not flat:
        values[5] = np.nan
    return values.astype(np.float32)
