"""Labelled results of experiments on neurons."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict

import numpy as np
from torch import nn

from invariscope.data.sources import Source
from invariscope.data.window import Fingerprint, Window
from invariscope.intervals import MISSING, Interval, jackknife
from invariscope.measures.values import UnitValues
from invariscope.readers.base import as_reader
from invariscope.results.maps import MapKey
from invariscope.results.provenance import digest, provenance
from invariscope.results.result import Result
from invariscope.results.rows import Row
from invariscope.studies.neurons.cost import Cost
from invariscope.studies.neurons.settings import NeuronSettings

SUMMARY = "Effect of a local deformation on a neuron, relative to a change of patch."
READING = (
    "0: the deformation has no effect. 1: it changes the response as much as a change of patch does. "
    "Compare deformations within a layer, not layers with windows of different size."
)
SOURCE = "Tomasini et al. 2022, arXiv:2210.01506, the ratio for one neuron and one kind of deformation."


def row_of(
    measure: str, layer: str, values: UnitValues, sizes: np.ndarray, *, samples: int, draws: int, reason: str
) -> Row:
    """Return the row of one deformation and layer.

    Args:
        sizes: number of images in each jackknife group.
        reason: why there is no interval, or "".
    """
    layer_values = values.layer_values()
    assert values.ratio is not None
    interval, around = (_interval(part, sizes) for part in (layer_values, values.ratio))
    replicates = layer_values[1:].tolist() or ()
    lost = "" if np.isfinite(layer_values[0]) else "no neuron is left: all are dead, sparse or infinite"
    return Row(
        measure=measure,
        layer=layer,
        call=0,
        stratum="all",
        value=float(layer_values[0]),
        **interval.columns,
        value_ratio=float(values.ratio[0]),
        ratio_low=around.low,
        ratio_high=around.high,
        samples=samples,
        elements=draws,
        units=int(values.counted.size),
        dead_units=values.dead,
        sparse_units=values.sparse,
        infinite_units=values.infinite,
        counted_units=int(values.counted.sum()),
        replicates=replicates,
        group_sizes=sizes.tolist() if replicates else (),
        note="; ".join(filter(None, [reason, lost])),
    )


def _interval(values: np.ndarray, sizes: np.ndarray) -> Interval:
    if len(values) < 2:
        return MISSING
    return jackknife(float(values[0]), values[1:].tolist(), sizes.tolist()).within(0.0)


def as_result(
    model: nn.Module,
    source: Source,
    images: Window,
    rows: Sequence[Row],
    maps: Mapping[MapKey, np.ndarray],
    costs: Sequence[Cost],
    settings: NeuronSettings,
    *,
    label: str | None,
    seconds: float,
) -> Result:
    """Return a result with the rows and maps, and their provenance."""
    options, images_seen = settings.described, Fingerprint()
    images_seen.add(images)
    drawn = json.dumps({**options, "seed": settings.seed}, sort_keys=True)
    about = {"options": options, "summary": SUMMARY, "reading": READING, "source": SOURCE}
    found = provenance(
        seconds=seconds,
        seed=settings.seed,
        model=as_reader(model).described(label),
        data={
            "name": source.name,
            "samples": len(images),
            "shape": list(images.store.shape[1:]),
            "classes": list(source.classes or ()),
            "fingerprint": images_seen.hexdigest(),
        },
        transform={
            "family": "local_deformations",
            "options": {name: options[name] for name in ("amplitude", "norm", "draws", "pivot")},
            "labels": options["deformations"],
            "parameters": {},
            "fingerprint": digest(drawn),
        },
        options={"forwarded_inputs": sum(cost.crops + cost.whole_images for cost in costs)},
        measures={f"neuron_stability.{kind}": about for kind in settings.deformations},
        costs=[asdict(cost) | {"crop": list(cost.crop)} for cost in costs],
    )
    return Result(rows=tuple(rows), arrays=dict(maps), provenance=found)
