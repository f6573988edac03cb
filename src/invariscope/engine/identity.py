"""Identify the model, data, transform, measures and options that must not change when resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.differences import differences, flat, in_words
from invariscope.common.samples import is_structured, shape_of
from invariscope.data.rank_range import RankRange
from invariscope.data.source import Source
from invariscope.readers.base import Identity
from invariscope.readers.fingerprint import identify
from invariscope.transforms.base import Transform

if TYPE_CHECKING:
    from invariscope.data.window import Window
    from invariscope.engine.needs import Needs
    from invariscope.engine.options import Options

Identities = dict[str, Identity]


def identities_of_walk(
    model: Identity, source: Source, transform: Transform, needs: Needs, options: Options, first: Window
) -> Identities:
    """Return the identities of everything that a walk's sums depend on, by name.

    The contents of the samples are compared later, when they are read again.

    Args:
        first: the first samples.
    """
    statistics = identify(needs, "measures")
    used = {f"sums of {statistic!r:.80}": "needed" for statistic in needs.layers + needs.output}
    return {
        "model": model,
        "transform": of_transform(transform),
        "measures": Identity(statistics.digest, statistics.digest, statistics.unseen, used),
        **of_functions(options),
        "data": _plain(of_data(source, first), "data"),
        "options": _plain(_chosen(options), ""),
    }


def of_transform(transform: Transform) -> Identity:
    """Return the identity of a transform: its elements, their labels and parameters, and its code."""
    own = identify(transform, "transform")
    described = _plain(transform.describe() | {"identity": transform.identity}, "transform")
    return Identity(_digest([own.digest, described.digest]), "", own.unseen, {**own.parts, **described.parts})


def of_functions(options: Options) -> Identities:
    """Return the identities of the options whose values may be functions."""
    given = {name: getattr(options, name) for name in ("preprocess", "call", "pool", "layers", "output")}
    return {name: identify(value, name) for name, value in given.items()}


def of_data(source: Source, first: Window) -> dict[str, Any]:
    """Return the properties of the data that are known before the walk."""
    structured = is_structured(first.store)
    facts: dict[str, Any] = {
        "samples": source.length,
        "shape": None if structured else list(shape_of(first.store)[1:]),
        "dtype": "object" if structured else str(first.store.dtype),
        "labels": None if first.labels is None else str(first.labels.dtype),
        **source.walked(),
    }
    if first.clusters is not None:
        known = getattr(source.order, "clusters", None)
        known = getattr(source, "clusters", None) if known is None else known
        facts["clusters"] = "given" if known is None else _digest(np.asarray(known).tolist())
    if isinstance(source, RankRange):
        facts["shard"] = [source.index, source.count]
    return facts


def _chosen(options: Options) -> dict[str, Any]:
    """Return the options that the sums depend on, except those whose values may be functions."""
    axis = options.batch_axis
    chosen = options.described() | {"seed": options.seed, "batch_axis": axis and repr(axis)}
    return {name: value for name, value in chosen.items() if name not in _APART}


_APART = ("layers", "output", "preprocess", "call", "pool", "rows")


def unseen(identities: Identities) -> list[str]:
    """Return the parts that the identities do not cover."""
    return [place for identity in identities.values() for place in identity.unseen]


def digest_of(identities: Mapping[str, Identity]) -> str:
    """Return one short digest of several identities."""
    return _digest({name: identity.digest for name, identity in identities.items()})


def stored(identities: Mapping[str, Identity]) -> dict[str, Any]:
    """Return identities as plain data, for `difference`."""
    return {name: [identity.digest, dict(identity.parts)] for name, identity in identities.items()}


def difference(there: Mapping[str, Any], now: Mapping[str, Identity]) -> str:
    """Describe how stored identities differ from those of this measurement."""
    found: list[str] = []
    for name, identity in now.items() if there else ():
        digest, parts = there.get(name, ["", {}])
        if digest != identity.digest:
            found += differences(parts, identity.parts) or [f"the {name} differs"]
    return in_words(found, "different model, transform, measures or options")


def _plain(value: Any, place: str) -> Identity:
    """Return the identity of a plain value."""
    digest = _digest(value)
    return Identity(digest, digest, (), flat(value, place))


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=12).hexdigest()
