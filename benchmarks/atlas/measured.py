"""Measure one entry of the atlas, and record everything that its row and its hash depend on."""

from __future__ import annotations

import datetime
import importlib
import math
import platform
import re
import subprocess
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pandas as pd

import invariscope as iv
from benchmarks.atlas import store
from benchmarks.atlas.declared import Case, Entry, Samples

LEAST_CLUSTERS = 64
CONSTRAINTS = Path(__file__).resolve().parents[2] / "constraints.txt"
TOO_FEW = f"no interval: fewer than {LEAST_CLUSTERS} clusters"
NUMBERS = ("value", "ci_low", "ci_high", "null", "floor")


def install(entry: Entry) -> None:
    """Install what an entry needs into this environment; torch stays the constrained one."""
    for packages, options in ((entry.packages, []), (entry.alone, ["--no-deps"])):
        if packages:
            pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
            subprocess.run([*pip, "--constraint", str(CONSTRAINTS), *options, *packages], check=True)
    importlib.invalidate_caches()


def entry_of(name: str) -> Entry:
    """Return an entry by name.

    Raises:
        ValueError: there is no such file in `rows`.
    """
    if name not in store.entries():
        raise ValueError(f"no entry {name!r}; there are: {', '.join(store.entries())}")
    return importlib.import_module(f"benchmarks.atlas.rows.{name}").ENTRY


def record(entry: Entry, say: Any = print) -> dict[str, Any]:
    """Return the numbers of all cases of an entry, with their sources."""
    started, samples, model = time.monotonic(), entry.samples(), entry.load()
    weights, packages = store.digest_of_files(weight_files(entry)), versions(entry)
    cases, data = [], ""
    for case in entry.cases:
        result = measured(entry, model, samples, case)
        data = result.provenance["data"]["fingerprint"][: store.DIGITS]
        row = row_of(result, case, samples.independent)
        row["layers"] = [profile_of(result, layer) for layer in entry.layers or ()]
        cases.append({**row, "hash": store.digest_of_row(weights, data, row)})
        say(f"{entry.model}, {case.symmetry}: {row['value']:.4g} (null {row['null']})")
    return {
        "model": entry.model,
        "does": entry.does,
        "world": entry.world,
        "licence": entry.licence,
        "remark": entry.remark,
        "weights": weights,
        "data": {**described(samples), "digest": data},
        "versions": packages,
        "date": datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {threads()}",
        "seconds": round(time.monotonic() - started),
        "cases": cases,
    }


def measured(entry: Entry, model: Any, samples: Samples, case: Case) -> iv.Result:
    """Return the measurement of one case."""
    measures = [case.question.measure, *(["normalized_variance"] if entry.layers else [])]
    wanted = [*(entry.layers or ()), case.question.layer]
    options = {"layers": [name for name in dict.fromkeys(wanted) if name != "output"] or None}
    options |= {"clusters": samples.clusters, "floor": samples.fixed, "progress": False}
    return iv.measure(
        model,
        samples.values,
        case.transform,
        measures=measures,
        **{**options, **entry.options, **case.options},
    )


def row_of(result: iv.Result, case: Case, clusters: int) -> dict[str, Any]:
    """Return the row of the table that answers the question, without its interval if clusters are few."""
    asked, found = case.question, line_of(result, case.question.label, case.question.layer)
    turned = (lambda value: 1 - value) if asked.complement else float
    numbers = {name: number(turned(found[name])) for name in NUMBERS}
    if asked.complement:
        numbers |= {"ci_low": numbers["ci_high"], "ci_high": numbers["ci_low"]}
    note = str(found["note"])
    if clusters < LEAST_CLUSTERS:
        numbers |= {"ci_low": None, "ci_high": None}
        note = TOO_FEW
    transform = result.provenance["transform"]
    return {
        "symmetry": case.symmetry,
        "question": asked.name,
        "label": asked.label,
        "layer": asked.layer,
        **numbers,
        "note": note,
        "elements": list(transform["labels"]),
        "transform": transform["fingerprint"],
        "samples": int(found["samples"]),
        "clusters": clusters,
    }


def profile_of(result: iv.Result, layer: str) -> dict[str, Any]:
    """Return the normalized variance of a layer."""
    found = line_of(result, "normalized_variance", layer)
    return {"layer": layer, **{name: number(found[name]) for name in ("value", "null", "floor")}}


def line_of(result: iv.Result, label: str, layer: str) -> pd.Series:
    """Return the only row of a result with this measure and layer."""
    found = result.table.query("measure == @label and layer == @layer and stratum == 'all'")
    if len(found) != 1:
        raise ValueError(f"{len(found)} rows of {label} at {layer}: {result.provenance['skipped']}")
    return found.iloc[0]


def number(value: float) -> float | None:
    """Return a number with seven digits, or None for NaN."""
    return None if math.isnan(value) else float(f"{value:.7g}")


def described(samples: Samples) -> dict[str, Any]:
    """Return what is stored about the data."""
    names = ("name", "source", "licence", "about", "cluster")
    found = {name: getattr(samples, name) for name in names}
    return found | {"samples": len(samples.values), "clusters": samples.independent}


def weight_files(entry: Entry) -> list[Path]:
    """Return the files of the installed package that hold the weights."""
    module, pattern = entry.weights
    spec = find_spec(module)
    places = list(spec.submodule_search_locations or ()) if spec else []
    found = [path for place in places for path in Path(place).glob(pattern)]
    if not found:
        raise FileNotFoundError(f"no file {pattern} in the package {module}")
    return found


def versions(entry: Entry) -> dict[str, str]:
    """Return the versions of the entry's packages, of Invariscope and of torch."""
    names = [re.split(r"[<>=!~]", requirement)[0] for requirement in (*entry.packages, *entry.alone)]
    return {name: version(name) for name in (*names, "invariscope", "torch", "numpy")}


def threads() -> str:
    """Return the number of threads in words."""
    import torch

    count = torch.get_num_threads()
    return f"{count} thread" if count == 1 else f"{count} threads"
