"""What a monitor measures with: its probe set, its options, and whether a saved run had the same."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from invariscope.common.registry import unknown
from invariscope.data.sources import Source, as_source, held
from invariscope.data.window import Fingerprint
from invariscope.engine.options import Options
from invariscope.measures.base import Measure
from invariscope.transforms.base import Transform

SAMPLES = 256
_OWN = {"samples", "seed", "layers", "by_class", "label", "progress", "checkpoint"}
_FURTHER = sorted(set(Options.__dataclass_fields__) - _OWN)
_DESCRIBED = ("layers", "by_class", "classes", "precision", "nonfinite", "unstable", "output")


def as_options(further: Mapping[str, Any], **own: Any) -> Options:
    """The options of every measurement, checked before the training starts.

    Raises:
        TypeError: an option that `iv.measure` does not have, or that a monitor decides.
        ValueError: a value that `iv.measure` would refuse.
    """
    for name in further:
        if name not in _FURTHER:
            raise TypeError(str(unknown("option", name, _FURTHER, hint="These are options of iv.measure.")))
    return Options(progress=False, **own, **further)


def probe_set(data: Any, samples: int | None, seed: int) -> Source:
    """A seeded subset of the data, copied into memory; all of them where there are few."""
    whole = as_source(data, seed=seed)
    if samples is None:
        samples = SAMPLES if whole.length is None else min(SAMPLES, whole.length)
    return held(as_source(whole, samples=samples, seed=seed), seed)


def described(
    probes: Source, transform: Transform, measures: tuple[Measure, ...], options: Options
) -> dict[str, Any]:
    """All that two measurements must share to stand in one curve, in plain values."""
    digest = Fingerprint()
    for window in probes.windows():
        digest.add(window)
    settings = {
        "data": probes.name,
        "probe set": digest.hexdigest(),
        "transform": transform.describe(),
        "measures": [repr(measure) for measure in measures],
        "seed": options.seed,
        **{name: options.described().get(name) for name in _DESCRIBED},
    }
    # Through JSON, as saved ones go: tuples become lists there.
    return json.loads(json.dumps(settings))


def refuse_other(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raises a ValueError that names the settings in which a saved run differs."""
    other = [name for name in wanted if found.get(name) != wanted[name]]
    if other:
        raise ValueError(
            f"{folder} holds measurements of another kind: other {', '.join(other)}. Give another folder, or "
            "the settings it was begun with."
        )
