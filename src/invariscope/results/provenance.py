"""Provenance of a result, in the same format for every function that returns results."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from invariscope.results.environment import environment

SCHEMA = 1
NONFINITE = "nonfinite"
"""Entry "kind" of layers in `skipped` for which all samples have non-finite responses."""


def provenance(
    *,
    seconds: float,
    seed: int,
    model: Mapping[str, Any],
    data: Mapping[str, Any],
    transform: Mapping[str, Any],
    options: Mapping[str, Any],
    measures: Mapping[str, Any],
    notes: Sequence[str] = (),
    skipped: Sequence[Mapping[str, Any]] = (),
    unused: Sequence[str] = (),
    **further: Any,
) -> dict[str, Any]:
    """Return the provenance of a result, including time and versions.

    Args:
        seconds: duration of the measurement.
        model, data, transform: descriptions of what was measured. Those of data and transform include a
            fingerprint; only results with equal fingerprints can be paired.
        options: options of the measurement.
        measures: options and texts for reports, by measure name without the output.
        notes: remarks on the numbers.
        skipped: layers without values, with reasons.
        unused: modules that do not run in the forward pass.
        further: additional entries, which depend on the kind of result.
    """
    import torch

    import invariscope

    return {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seconds": round(seconds, 3),
        "seed": seed,
        "versions": {
            "invariscope": invariscope.__version__,
            "python": platform.python_version(),
            "torch": torch.__version__,
            "numpy": np.__version__,
        },
        "environment": environment(),
        "model": model,
        "data": data,
        "transform": transform,
        "options": options,
        "measures": measures,
        **further,
        "notes": list(notes),
        "skipped": list(skipped),
        "unused": list(unused),
    }


def digest(text: str) -> str:
    """Return a short fingerprint of a text."""
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
