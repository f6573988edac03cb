"""Results as a small convolutional network on digits would give them, without running one."""

from __future__ import annotations

import numpy as np
from scipy import ndimage

from invariscope.results.result import Result

LAYERS = {
    "conv1": (32, 28, 28),
    "relu1": (32, 28, 28),
    "pool1": (32, 14, 14),
    "conv2": (64, 14, 14),
    "relu2": (64, 14, 14),
    "pool2": (64, 7, 7),
    "conv3": (128, 7, 7),
    "relu3": (128, 7, 7),
    "flatten": (6272,),
    "fc1": (64,),
    "relu4": (64,),
    "fc2": (10,),
    "log_softmax": (10,),
}
ANGLES = [22.5 * j for j in range(16)]
CLASSES = [str(digit) for digit in range(10)]
MEASURES = ("normalized_variance", "transformation_variance")


def digit(size: int = 28) -> np.ndarray:
    """A seven, more or less, with values in [0, 1]."""
    image = np.zeros((size, size))
    image[6:9, 8:20] = 1
    for step in range(14):
        image[8 + step, 18 - step // 2 : 21 - step // 2] = 1
    return np.clip(ndimage.gaussian_filter(image, 0.7) * 1.2, 0, 1)


def sample_result(
    name: str = "plain",
    *,
    level: float = 1.0,
    seed: int = 0,
    layers: dict[str, tuple[int, ...]] = LAYERS,
    classes: bool = True,
    curves: bool = True,
    examples: bool = True,
    epoch: int = 0,
    information: bool = False,
    maps: bool = False,
    stability: bool = False,
) -> Result:
    """A result whose values rise along the layers, scaled by `level`; as a monitor gives it after `epoch`.

    `maps` adds what is known of feature maps alone: spectra, and the stability of neurons; and what smooth
    fields do to patches. `stability` adds curves against the radius, and the accuracy.
    """
    rng = np.random.default_rng(seed)
    strata = ["all", *CLASSES, "mean"] if classes else ["all"]
    rows, arrays = [], {}
    for measure in MEASURES:
        for depth, (layer, shape) in enumerate(layers.items()):
            for stratum in strata:
                values = _units(rng, shape, level * (0.3 + 0.6 * depth / len(layers)), stratum)
                if measure == "transformation_variance":
                    values = np.nan_to_num(values) * 0.02 * 1.6 ** min(depth, 40)
                arrays[measure, layer, stratum, 0] = values.astype(np.float32)
                rows.append(_row(rng, measure, layer, stratum, values, ratio=measure == MEASURES[0]))
    return Result(
        rows=(
            *rows,
            *(_information(layers, level) if information else ()),
            *(_neurons(layers, level) if maps else ()),
            *((_answers(level),) if stability else ()),
            *(_stabilities(layers, level) if stability else ()),
        ),
        curve_rows=(
            *(_curves(level) if curves else ()),
            *(_spectra(layers, level) if maps else ()),
            *(_filters(layers) if maps else ()),
            *(_parts() if maps else ()),
            *(_radii(level) if stability else ()),
        ),
        arrays=arrays | (dict(_gabor()) if maps else {}),
        provenance=_provenance(name, classes)
        | {"training": {"name": name, "epoch": epoch}, "weights": {"epochs": {"epoch 0": 0, "all": 3}}},
        examples=(_examples(layers) if examples else {})
        | (_moved() if stability else {})
        | ({"displacement": _fields()} if maps else {}),
    )


def _units(rng, shape, centre, stratum):
    channels = centre * rng.lognormal(-0.1, 0.35, shape[0]) * (1.0 if stratum == "all" else 1.25)
    values = channels.reshape(-1, *[1] * (len(shape) - 1)) * rng.lognormal(0, 0.15, shape)
    if len(shape) > 1:
        values[shape[0] // 8 :: 11] = np.nan
    return values


def _row(rng, measure, layer, stratum, values, *, ratio):
    value = float(np.nanmean(values))
    replicates = value * (1 + 0.01 * rng.standard_normal(8))
    row = {"measure": measure, "layer": layer, "call": 0, "stratum": stratum, "value": value}
    row |= {"ci_low": value * 0.93, "ci_high": value * 1.07, "samples": 512 if stratum == "all" else 51}
    row |= {
        "elements": 16,
        "units": values.size,
        "dead_units": int(np.isnan(values).sum()),
        "sparse_units": 3,
    }
    row |= {"replicates": replicates.tolist(), "group_sizes": [64] * 8}
    if ratio:
        row |= {
            "null": 1.02,
            "value_ratio": 0.9 * value,
            "ratio_low": 0.85 * value,
            "ratio_high": 0.95 * value,
        }
    return row


def _information(layers, level):
    """Less about the transformation and more about the class from layer to layer."""
    for depth, layer in enumerate(layers):
        told = {"transform": level * 0.5 * 0.8**depth, "label": 0.1 + 0.05 * depth}
        shares = {"transform_share": told["transform"] / 4, "label_share": told["label"] / np.log2(10)}
        for output, value in (told | shares).items():
            row = {"measure": f"information.{output}", "layer": layer, "call": 0, "stratum": "all"}
            row |= {"value": value, "ci_low": 0.9 * value, "ci_high": 1.1 * value, "null": 0.0}
            yield row | {"samples": 512, "elements": 16, "units": 256, "dead_units": 0, "sparse_units": 0}


def _neurons(layers, level):
    """Neurons that notice less from layer to layer."""
    for kind in ("translation", "rotation", "compression", "shear"):
        for depth, (layer, shape) in enumerate(layers.items()):
            value = level * 0.4 * 0.9**depth / len(kind)
            row = {"measure": f"neuron_stability.{kind}", "layer": layer, "call": 0, "stratum": "all"}
            row |= {"value": value, "ci_low": 0.9 * value, "ci_high": 1.1 * value}
            yield row | {"samples": 512, "elements": 1, "units": shape[0], "dead_units": 0, "sparse_units": 0}


def _spectra(layers, level):
    """Power that falls with the frequency."""
    for measure in ("spectrum.power", "spectrum.share"):
        for layer, shape in layers.items():
            for ring in range(int(measure == "spectrum.share"), shape[-1] // 2 + 1):
                value = level * (1 + ring) ** -2.0
                place = {"measure": measure, "layer": layer, "call": 0, "stratum": "all", "element": ring}
                place |= {"label": f"ring {ring}", "parameter": "frequency_cpp", "x": ring / shape[-1]}
                yield place | {"value": value, "ci_low": 0.8 * value, "ci_high": 1.2 * value, "samples": 512}


def _filters(layers):
    """Filters that have become smooth: powers relative to the start."""
    for layer in [name for name, shape in layers.items() if len(shape) > 1]:
        for stratum, gain in (("epoch 0", 0.0), ("all", 3.0)):
            for element, eigenvalue in enumerate((0.0, 1.0, 6.0)):
                value = 1 + gain * (6 - eigenvalue) / 6
                place = {"measure": "filter_spectrum.ratio", "layer": layer, "call": 0, "stratum": stratum}
                place |= {"element": element, "label": f"λ = {eigenvalue:g}", "parameter": "eigenvalue"}
                yield place | {"x": eigenvalue, "value": value, "ci_low": 0.9 * value, "ci_high": 1.1 * value}


def _stabilities(layers, level):
    """D falls and G grows from layer to layer."""
    for measure, slope in (("stability.D", -0.5), ("stability.G", 0.3)):
        for depth, layer in enumerate(layers):
            value = level * 0.3 * 2.0 ** (slope * depth)
            row = {"measure": measure, "layer": layer, "call": 0, "stratum": "all", "value": value}
            row |= {"ci_low": 0.9 * value, "ci_high": 1.1 * value, "samples": 512, "elements": 16}
            yield row | {"units": 256, "dead_units": 0, "sparse_units": 0}


PARTS = {
    **{"share_compression": 0.25, "share_shear": 0.5, "share_rotation": 0.25, "leftover": 0.0},
    **{"shear_to_compression": 1.57, "rotation_to_compression": 1.0},
}


def _parts():
    """As theory says on small patches; larger ones are less and less linear."""
    for measure, value in PARTS.items():
        for element, side in enumerate((2, 4, 8)):
            known = value or side / 20
            place = {"measure": f"local_decomposition.{measure}", "layer": "fields", "call": 0}
            place |= {"stratum": "all", "element": element, "label": f"{side} px", "parameter": "patch_px"}
            place |= {"x": float(side), "value": known, "ci_low": 0.9 * known, "ci_high": 1.1 * known}
            yield place | {"samples": 100}


def _gabor():
    """Noise before the training, stripes after it; the fits are stripes both times."""
    noise = np.random.default_rng(1).normal(size=(6, 5, 5))
    stripes = np.broadcast_to(np.cos(1.5 * np.arange(5)), (6, 5, 5))
    for stratum, filters, r2 in (("epoch 0", noise, 0.3), ("all", stripes, 0.9)):
        found = {"filters": filters, "fitted": stripes, "r2": np.full(6, r2)}
        yield from (((f"gabor.{name}", "conv1", stratum, 0), array) for name, array in found.items())


def _fields():
    """A turn about the middle, and a spread from it; (field, (x, y), H, W) pixels."""
    y, x = np.mgrid[:8, :8] - 3.5
    return 0.1 * np.array([[-y, x], [x, y]])


def _radii(level):
    """Responses that grow with the square of the radius, and predictions that flip at last."""
    for curve in ("D", "G", "accuracy"):
        for element, radius in enumerate((0.5, 1.0, 2.0, 4.0)):
            value = 1 - radius / 5 if curve == "accuracy" else level * 0.01 * radius**2
            place = {"measure": f"stability_curve.{curve}", "layer": "output", "call": 0, "stratum": "all"}
            place |= {"element": element, "label": f"r = {radius}", "parameter": "radius", "x": radius}
            yield place | {"value": value, "ci_low": 0.9 * value, "ci_high": 1.1 * value, "samples": 512}


def _answers(level):
    """The share of right answers."""
    row = {"measure": "prediction.accuracy", "layer": "output", "call": 0, "stratum": "all", "samples": 512}
    row |= {"value": 0.9 / (1 + level), "ci_low": 0.8 / (1 + level), "ci_high": 1 / (1 + level)}
    return row | {"elements": 16, "units": 16, "dead_units": 0, "sparse_units": 0}


def _moved():
    """Two samples as they are, and with noise."""
    still = np.stack([digit(), digit()[::-1]])[:, None].astype(np.float32)
    noise = np.random.default_rng(0).normal(scale=0.2, size=still.shape).astype(np.float32)
    return {"bump:as it is": still, "bump:noise": still + noise}


def _curves(level):
    for measure, base in (("accuracy", 0.97), ("probability_true", 0.93), ("flips", 0.0)):
        for element, angle in enumerate(ANGLES):
            loss = 0.35 * level * (1 - np.cos(np.deg2rad(angle)))
            value = base - loss if base else loss
            yield {
                **{"measure": f"prediction.{measure}", "layer": "output", "call": 0, "stratum": "all"},
                **{"element": element, "label": f"{angle:g}°", "parameter": "angle_deg", "x": angle},
                **{"value": value, "ci_low": value - 0.03, "ci_high": value + 0.03, "samples": 512},
            }


def _provenance(name, classes):
    return {
        "schema": 1,
        "created": "2026-01-02T03:04:05+00:00",
        "seconds": 12.345,
        "seed": 0,
        "versions": {"invariscope": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "numpy": "2.2.0"},
        "model": {"name": "SimpleConv", "label": name, "fingerprint": f"m-{name}"},
        "data": {
            "name": "mnist_subset",
            "samples": 512,
            "shape": [1, 28, 28],
            "classes": CLASSES if classes else [],
            "fingerprint": "d0",
        },
        "transform": {
            "family": "rotation",
            "options": {"angles": ANGLES, "interpolation": "bilinear"},
            "labels": [f"{angle:g}°" for angle in ANGLES],
            "parameters": {"angle_deg": ANGLES},
            "fingerprint": "t0",
        },
        "options": {"precision": "float32", "forwarded_inputs": 8192},
        "measures": {
            "normalized_variance": {
                "options": {"spread": "variance"},
                "summary": "How far the transformation moves a unit, relative to a change of sample.",
                "reading": "0: invariant. About 1: it moves a unit as much as a new sample does.",
            },
            "transformation_variance": {
                "options": {"spread": "variance"},
                "summary": "How far the transformation moves a unit, averaged over samples.",
                "reading": "In squared units of the activation: compare layers only after normalising.",
            },
        },
        "notes": ["the forward was repeated and gave the same output"],
        "skipped": [{"layer": "dropout.mask", "call": 0, "reason": "no axis follows the batch"}],
        "unused": ["auxiliary.head"],
    }


def _examples(layers):
    orbit = np.stack([ndimage.rotate(digit(), angle, reshape=False, order=1) for angle in ANGLES])
    found = {"orbit": np.clip(orbit, 0, 1)[:, None].astype(np.float32)}
    for layer in [name for name in layers if name.startswith("conv")]:
        step = 28 // layers[layer][-1]
        edges = ndimage.gaussian_gradient_magnitude(orbit, (0, 1, 1))[:, ::step, ::step]
        blurred = ndimage.gaussian_filter(orbit, (0, 5, 5))[:, ::step, ::step]
        found[f"feature:most:{layer}:3"] = blurred.astype(np.float32)
        found[f"feature:least:{layer}:17"] = edges.astype(np.float32)
    return found
