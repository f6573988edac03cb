"""A labelled result from what the layers add."""

from __future__ import annotations

import datetime
import hashlib
import json
import math
import platform
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

import invariscope
from invariscope.anatomy.layer_gradients import Trace
from invariscope.data.sources import Source
from invariscope.intervals import GROUPS, MIN_PER_GROUP, MISSING, jackknife
from invariscope.measures.lie_derivative import LieDerivative
from invariscope.readers.base import as_reader
from invariscope.results.result import SCHEMA, MapKey, Result
from invariscope.studies.lie.contributions import Contributions

REST = "(other operations)"
# Of a squared norm, by bytes a number: rounding.
_NEGLIGIBLE = {8: 1e-18, 4: 1e-8}

_KINDS = {
    "": ("How fast the output departs from moving with its input.", "0: it moves as its input does."),
    "term": (
        "How fast the output departs because of one layer alone.",
        "Norms of terms do not add up: layers undo or repeat each other, see `cross`.",
    ),
    "cross": (
        "What a layer's part gains by pointing where those of other layers point.",
        "Below 0: the layer undoes what others do. Not a property of the layer alone.",
    ),
    "share": (
        "A layer's part in how fast the output departs.",
        "Shares add up to the Lie derivative's norm; a layer that mends others has a share below 0.",
    ),
}


@dataclass(frozen=True, eq=False)
class Terms:
    """Norms and products of the terms of each sample, by squared value of the output.

    Args:
        layers: (layer, call) in the order of the terms; the last one is what no layer accounts for.
        products: (sample, generator, layer, layer) t_k · t_l.
        whole: (sample, generator) ‖L f‖².
        shares: (sample, generator, layer) t_k · L f.
        spread: (sample, generator, 1 + layer) variance of the estimates of ‖L f‖² and ‖t_k‖² over random
            directions, divided by their number; 0 where there are none.
        directions: how many random ones; 0 where every value of the output was differentiated.
        input_shape: of one image.
        negligible: what is rounding, as a share of the largest square.
    """

    layers: tuple[tuple[str, int], ...]
    products: np.ndarray
    whole: np.ndarray
    shares: np.ndarray
    spread: np.ndarray
    directions: int
    input_shape: tuple[int, ...]
    negligible: float

    @classmethod
    def of(cls, trace: Trace, found: Contributions, *, exact: bool) -> Terms:
        """From products along directions."""
        terms, whole = (part.detach().double().cpu().numpy() for part in (found.terms, found.whole))
        size, count = trace.output[0].numel(), terms.shape[3]
        weight = 1 / size if exact else 1 / (size * count)
        squares = np.concatenate([whole[:, :, None], terms], axis=2) ** 2 / size
        random = not exact and count > 1
        return cls(
            layers=(*((p.layer, p.call) for p in trace.passages), (REST, 0)),
            products=weight * np.einsum("ngkp,nglp->ngkl", terms, terms),
            whole=weight * (whole**2).sum(2),
            shares=weight * np.einsum("ngkp,ngp->ngk", terms, whole),
            spread=squares.var(axis=3, ddof=1) / count if random else 0 * squares[..., 0],
            directions=0 if exact else count,
            input_shape=tuple(trace.x.shape[1:]),
            negligible=_NEGLIGIBLE[trace.x.element_size()],
        )

    @classmethod
    def of_output(cls, x: Tensor, derivatives: Tensor) -> Terms:
        """From (sample, generator, ...) Lie derivatives of the output itself; no layer is told apart."""
        flat = derivatives.flatten(2).double()
        whole = flat.square().mean(2).cpu().numpy()
        return cls(
            layers=((REST, 0),),
            products=whole[..., None, None],
            whole=whole,
            shares=whole[..., None],
            spread=np.zeros((*whole.shape, 2)),
            directions=0,
            input_shape=tuple(x.shape[1:]),
            negligible=_NEGLIGIBLE[x.element_size()],
        )

    def followed_by(self, other: Terms) -> Terms:
        """Of the samples of both."""
        if other.layers != self.layers:
            raise ValueError("the model runs other layers for other inputs: take layerwise=False")
        names = ("products", "whole", "shares", "spread")
        joined = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        return replace(self, **joined)

    @property
    def shown(self) -> list[int]:
        """Numbers of the layers; the rest is one where it is more than rounding."""
        count, rest = len(self.layers), self.products[..., -1, -1].mean(0)
        visible = count > 1 and bool((rest > self.negligible * np.abs(self.products).max()).any())
        return list(range(count if visible else count - 1))


def as_result(
    model: nn.Module,
    source: Source,
    terms: Terms,
    measure: LieDerivative,
    fingerprint: str,
    *,
    groups: np.ndarray,
    label: str | None,
    seconds: float,
    seed: int,
) -> Result:
    """Rows of the output and of every layer, and the products of terms.

    Args:
        groups: (sample,) jackknife groups.
    """
    rows, maps = [], {}
    for number, flow in enumerate(measure.flows):
        name = f"{measure.name}.{flow.name}"
        rows += list(_rows(name, terms, number, groups))
        if terms.shown:
            key: MapKey = (f"{name}.products", "output", "all", 0)
            maps[key] = terms.products[:, number].mean(0)[np.ix_(terms.shown, terms.shown)]
    rows.sort(key=lambda row: list(_KINDS).index(_kind(row["measure"], measure)))
    provenance = _provenance(model, source, terms, measure, seed=seed, label=label)
    provenance["data"]["fingerprint"] = fingerprint
    provenance["seconds"] = round(seconds, 3)
    return Result(rows=tuple(rows), arrays=maps, provenance=provenance)


def _kind(row: str, measure: LieDerivative) -> str:
    names = [f"{measure.name}.{flow.name}" for flow in measure.flows]
    return next((row.removeprefix(name).removeprefix(".") for name in names if _owns(name, row)), "")


def _owns(name: str, row: str) -> bool:
    return row in (name, *(f"{name}.{kind}" for kind in _KINDS if kind))


def _rows(name: str, terms: Terms, number: int, groups: np.ndarray) -> Iterator[dict[str, Any]]:
    """The output's row, and three for each layer."""
    whole, shares = terms.whole[:, number], terms.shares[:, number]
    error = np.sqrt(terms.spread[:, number].mean(0) / len(whole))
    extra = {"probe_error": float(error[0])} if terms.directions else {}
    yield _row(name, ("output", 0), whole, groups) | extra
    for layer in terms.shown:
        own = terms.products[:, number, layer, layer]
        extra = {"probe_error": float(error[1 + layer])} if terms.directions else {}
        yield _row(f"{name}.term", terms.layers[layer], own, groups) | extra
        yield _row(f"{name}.cross", terms.layers[layer], shares[:, layer] - own, groups)
        yield _row(f"{name}.share", terms.layers[layer], shares[:, layer], groups)


def _row(name: str, key: tuple[str, int], values: np.ndarray, groups: np.ndarray) -> dict[str, Any]:
    """The mean over (sample,) values with its interval."""
    sizes = np.bincount(groups, minlength=GROUPS)
    row: dict[str, Any] = {
        **{"measure": name, "layer": key[0], "call": key[1], "stratum": "all"},
        **{"value": float(values.mean()), "samples": len(values), "elements": 1},
    }
    if sizes.min() < MIN_PER_GROUP:
        note = f"no interval: a group has {sizes.min()} samples, {MIN_PER_GROUP} are needed"
        return row | MISSING.columns | {"note": note}
    sums = np.bincount(groups, weights=values, minlength=GROUPS)
    omitted = ((sums.sum() - sums) / (len(values) - sizes)).tolist()
    interval = jackknife(row["value"], omitted, sizes.tolist())
    row |= interval.within(-math.inf if (values < 0).any() else 0.0).columns
    return row | {"replicates": omitted, "group_sizes": sizes.tolist()}


def _provenance(
    model: nn.Module, source: Source, terms: Terms, measure: LieDerivative, *, seed: int, label: str | None
) -> dict[str, Any]:
    """Where the numbers came from; the caller adds the time and the fingerprint of the data."""
    reader, names = as_reader(model), [flow.name for flow in measure.flows]
    options = {"interpolation": measure.interpolation, "generators": names, "preset": measure.preset}
    drawn = json.dumps(options | {"directions": terms.directions, "seed": seed}, sort_keys=True).encode()
    kinds = [kind for kind in _KINDS if terms.shown or not kind]
    texts = {
        f"{measure.name}.{name}{kind and '.' + kind}": {
            **{"options": options, "summary": _KINDS[kind][0], "reading": _KINDS[kind][1]},
            "source": measure.source(),
        }
        for kind in kinds
        for name in names
    }
    data = {
        **{"name": source.name, "samples": len(terms.whole), "shape": list(terms.input_shape)},
        "classes": list(source.classes or ()),
    }
    transform = {
        **{"family": "generators", "options": options, "labels": names, "parameters": {}},
        "fingerprint": hashlib.blake2b(drawn, digest_size=12).hexdigest(),
    }
    return {
        "schema": SCHEMA,
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "seed": seed,
        "versions": {
            **{"invariscope": invariscope.__version__, "python": platform.python_version()},
            **{"torch": torch.__version__, "numpy": np.__version__},
        },
        "model": reader.described(label),
        "data": data,
        "transform": transform,
        "options": {"forwarded_inputs": len(terms.whole), "random_directions": terms.directions},
        "measures": texts,
        "notes": [],
        "skipped": [],
        "unused": [],
    }
