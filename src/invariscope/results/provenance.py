"""Where the numbers of a result come from: one form for everything that makes results."""

from __future__ import annotations

import datetime
import hashlib
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

SCHEMA = 1
NONFINITE = "nonfinite"
""""kind" of the layers in `skipped` of which all samples have non-finite responses."""


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
    """Return the provenance of a result, with time and versions.

    Args:
        seconds: how long it took.
        model, data, transform: what was measured, each with the fingerprint by which results are paired.
        options: how it was measured.
        measures: by name without outputs, the text that reports show.
        notes: what a reader of the numbers should know.
        skipped: layers without values, with the reason.
        unused: modules that the forward does not run.
        further: entries of one kind of result.
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
