"""Settings of a monitor: probe set, options, and the comparison with a saved run."""

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
from invariscope.readers.fingerprint import identify
from invariscope.transforms.base import Transform

SAMPLES = 256
_OWN = {"samples", "seed", "layers", "by_class", "label", "progress", "checkpoint", "checkpoint_every"}
_FURTHER = sorted(set(Options.__dataclass_fields__) - _OWN)
# Settings that runs of earlier versions lack.
_LATER = ("units", "floor", "preprocess", "call", "pool")
_DESCRIBED = ("layers", "by_class", "classes", "precision", "nonfinite", "unstable", "output")


def as_options(further: Mapping[str, Any], **own: Any) -> Options:
    """Return the options of `iv.measure` for every measurement, checked before training starts.

    Raises:
        TypeError: an option that `iv.measure` does not have, or that the monitor sets.
        ValueError: a value that `iv.measure` would reject.
    """
    for name in further:
        if name not in _FURTHER:
            raise TypeError(str(unknown("option", name, _FURTHER, hint="These are options of iv.measure.")))
    return Options(progress=False, **own, **further)


def probe_set(data: Any, samples: int | None, seed: int) -> Source:
    """Return a seeded subset of the data, copied to memory.

    All samples are used if there are no more than the requested number.
    """
    whole = as_source(data, seed=seed)
    if samples is None:
        samples = SAMPLES if whole.length is None else min(SAMPLES, whole.length)
    return held(as_source(whole, samples=samples, seed=seed), seed)


def described(
    probes: Source, transform: Transform, measures: tuple[Measure, ...], options: Options
) -> dict[str, Any]:
    """Return everything that the measurements of one run must share, as plain values."""
    digest = Fingerprint()
    for window in probes.windows():
        digest.add(window)
    settings = {
        "data": probes.name,
        "probe set": digest.hexdigest(),
        "transform": transform.describe(),
        "measures": [repr(measure) for measure in measures],
        "seed": options.seed,
        **{name: options.described().get(name) for name in (*_DESCRIBED, "units", "floor")},
        **_contents(options),
    }
    # A round trip through JSON turns tuples into lists, as in saved settings.
    return json.loads(json.dumps(settings))


def _contents(options: Options) -> dict[str, str]:
    """Return digests of the options that may be functions."""
    parts = {"preprocess": options.preprocess, "call": options.call, "pool": options.pool}
    return {name: identify(part, name, by_name=("invariscope",)).digest[:16] for name, part in parts.items()}


def refuse_other_settings(folder: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Raise ValueError if the settings of a saved run differ."""
    other = [
        name for name in wanted if found.get(name) != wanted[name] and (name in found or name not in _LATER)
    ]
    if other:
        raise ValueError(
            f"{folder} holds measurements with different settings: {', '.join(other)}. Pass another folder, "
            "or use the original settings."
        )
