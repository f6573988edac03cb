"""Labelled results of layerwise Lie derivatives."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from invariscope.anatomy.layer_gradients import Trace
from invariscope.data.sources import Source
from invariscope.intervals import GROUPS, MIN_PER_GROUP, MISSING, jackknife
from invariscope.measures.lie_derivative import LieDerivative
from invariscope.results.maps import MapKey
from invariscope.results.provenance import digest, provenance
from invariscope.results.result import Result
from invariscope.results.rows import ABSENT, Row
from invariscope.studies.lie.contributions import Contributions

REST = "(other operations)"
# Rounding of a squared norm, by bytes per number.
_NEGLIGIBLE = {8: 1e-18, 4: 1e-8}

_KINDS = {
    "": ("Rate at which the output departs from equivariance.", "0: the output moves as its input does."),
    "term": (
        "Rate at which one layer alone makes the output depart from equivariance.",
        "Norms of terms do not add up, because layers cancel or reinforce each other; see `cross`.",
    ),
    "cross": (
        "Alignment of a layer's term with those of other layers.",
        "Below 0: the layer counteracts others. This is not a property of the layer alone.",
    ),
    "share": (
        "A layer's share of the output's departure from equivariance.",
        "Shares add up to the value of the output; a layer that counteracts others may have one below 0.",
    ),
}


@dataclass(frozen=True, eq=False)
class Terms:
    """Norms and products of the terms of each sample, divided by the number of output values.

    Args:
        layers: (layer, call) in the order of the terms; the last one is the remainder.
        products: (sample, generator, layer, layer) t_k · t_l.
        whole: (sample, generator) ‖L f‖².
        shares: (sample, generator, layer) t_k · L f.
        spread: (sample, generator, 1 + layer) variance of the estimates of ‖L f‖² and ‖t_k‖² over random
            directions, divided by their number; 0 without random directions.
        directions: number of random directions; 0 if the output was differentiated exactly.
        input_shape: shape of one image.
        negligible: size of rounding errors relative to the largest square.
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
        """Return the terms from products along directions."""
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
        """Return the terms of the output alone, from its Lie derivatives (sample, generator, ...)."""
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
        """Return the terms of these samples followed by those of other samples."""
        if other.layers != self.layers:
            raise ValueError("the model runs different layers for different inputs; use layerwise=False")
        names = ("products", "whole", "shares", "spread")
        joined = {name: np.concatenate([getattr(self, name), getattr(other, name)]) for name in names}
        return replace(self, **joined)

    @property
    def shown(self) -> list[int]:
        """Indices of the layers to show, including the remainder if it exceeds rounding errors."""
        count, rest = len(self.layers), self.products[..., -1, -1].mean(0)
        visible = count > 1 and bool((rest > self.negligible * np.abs(self.products).max()).any())
        return list(range(count if visible else count - 1))


def as_result(
    source: Source,
    terms: Terms,
    measure: LieDerivative,
    *,
    groups: np.ndarray,
    fingerprint: str,
    **about: Any,
) -> Result:
    """Return the result with rows of the output and of every layer, and maps of products.

    Args:
        groups: (sample,) jackknife groups.
        fingerprint: fingerprint of the data.
        about: model, seconds and seed, for `provenance`.
    """
    found: list[Row] = []
    maps: dict[MapKey, np.ndarray] = {}
    for number, flow in enumerate(measure.flows):
        name = f"{measure.name}.{flow.name}"
        found += _rows(name, terms, number, groups)
        if terms.shown:
            products = terms.products[:, number].mean(0)[np.ix_(terms.shown, terms.shown)]
            maps[f"{name}.products", "output", "all", 0] = products
    found.sort(key=lambda row: list(_KINDS).index(row.output))
    origin = _provenance(source, terms, measure, fingerprint, **about)
    return Result(rows=tuple(found), arrays=maps, provenance=origin)


def _rows(name: str, terms: Terms, number: int, groups: np.ndarray) -> Iterator[Row]:
    """Yield one row for the output, and three per layer."""
    whole, shares = terms.whole[:, number], terms.shares[:, number]
    errors = np.sqrt(terms.spread[:, number].mean(0) / len(whole)).tolist()
    errors = errors if terms.directions else [ABSENT] * len(errors)
    yield _row(name, "", ("output", 0), whole, groups, errors[0])
    for layer in terms.shown:
        key, own = terms.layers[layer], terms.products[:, number, layer, layer]
        yield _row(name, "term", key, own, groups, errors[1 + layer])
        yield _row(name, "cross", key, shares[:, layer] - own, groups)
        yield _row(name, "share", key, shares[:, layer], groups)


def _row(
    measure: str,
    kind: str,
    key: tuple[str, int],
    values: np.ndarray,
    groups: np.ndarray,
    error: float = ABSENT,
) -> Row:
    """Return the mean over values (sample,) as a row with its interval.

    Args:
        error: standard error over random directions; `ABSENT` without random directions.
    """
    sizes, value = np.bincount(groups, minlength=GROUPS), float(values.mean())
    found: dict[str, Any] = {"measure": measure + (kind and f".{kind}"), "output": kind, "value": value}
    found |= {"layer": key[0], "call": key[1], "stratum": "all"}
    found |= {"samples": len(values), "elements": 1, "probe_error": error}
    if sizes.min() < MIN_PER_GROUP:
        note = f"no interval: the smallest group has {sizes.min()} of {MIN_PER_GROUP} samples needed"
        return Row(**found, **MISSING.columns, note=note)
    sums = np.bincount(groups, weights=values, minlength=GROUPS)
    omitted = ((sums.sum() - sums) / (len(values) - sizes)).tolist()
    interval = jackknife(value, omitted, sizes.tolist()).within(-math.inf if (values < 0).any() else 0.0)
    return Row(**found, **interval.columns, replicates=omitted, group_sizes=sizes.tolist())


def _provenance(
    source: Source, terms: Terms, measure: LieDerivative, fingerprint: str, *, seed: int, **about: Any
) -> dict[str, Any]:
    names = [flow.name for flow in measure.flows]
    options = {"interpolation": measure.interpolation, "generators": names, "preset": measure.preset}
    drawn = json.dumps(options | {"directions": terms.directions, "seed": seed}, sort_keys=True)
    texts = {
        f"{measure.name}.{name}{kind and '.' + kind}": {
            "options": options,
            "summary": _KINDS[kind][0],
            "reading": _KINDS[kind][1],
            "source": measure.source(),
        }
        for kind in _KINDS
        if terms.shown or not kind
        for name in names
    }
    return provenance(
        **about,
        seed=seed,
        data={
            **{"name": source.name, "samples": len(terms.whole), "shape": list(terms.input_shape)},
            **{"classes": list(source.classes or ()), "fingerprint": fingerprint},
        },
        transform={
            **{"family": "generators", "options": options, "labels": names, "parameters": {}},
            "fingerprint": digest(drawn),
        },
        options={"forwarded_inputs": len(terms.whole), "random_directions": terms.directions},
        measures=texts,
    )
