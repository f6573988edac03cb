"""Measure the same architecture with random weights, as a baseline and for `norm="random_net"`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from torch import nn

from invariscope.common.draws import Stream, drawn_seed
from invariscope.data.sources import Source, refuse_second_walk
from invariscope.engine.assemble import References, assembled
from invariscope.engine.extras.precision import check_precision
from invariscope.engine.progress import ticking
from invariscope.engine.task import Task
from invariscope.engine.walk import walk
from invariscope.measures.variance import TransformationVariance
from invariscope.readers.base import LayerKey
from invariscope.results.maps import DrawnMap
from invariscope.results.rows import BaselineRow
from invariscope.variants.randomized import REMEDY, make_name, random_network, weights_digest

# Share of the draws beyond either end of the band, which covers the middle 95 %.
TAIL = 0.025

Place = tuple[str, str, int, str]


def refuse_unrandom(model: Any, source: Source, *, what: str) -> None:
    """Raise TypeError unless the model is an `nn.Module`, ValueError if the data can be read only once.

    Args:
        model, source: as passed to `iv.measure`.
        what: the option that needs random networks, for the message.
    """
    if not isinstance(model, nn.Module):
        kind = type(model).__name__
        raise TypeError(f"{what} needs an nn.Module to draw weights for; got {kind}")
    refuse_second_walk(source, f"{what} reads the data more than once")


def draw_seed(seed: int, draw: int) -> int:
    """Return the seed of one draw's weights, which does not depend on the number of draws."""
    return drawn_seed(seed, Stream.RANDOM_WEIGHTS, draw)


def random_references(task: Task) -> dict[LayerKey, np.ndarray | DrawnMap]:
    """Return the per-unit transformation variance of a random network; empty if no measure needs it."""
    wanting = [measure for measure in task.measures if measure.needs_reference]
    if not wanting:
        return {}
    refuse_unrandom(task.model, task.source, what="norm='random_net'")
    fresh = random_network(task.model, task.options.baseline, seed=task.options.seed)
    every = not all(statistic.drawable for measure in wanting for statistic in measure.statistics())
    random = task.of(fresh, replace(task.options, floor=False, **({"units": "all"} if every else {})))
    random = replace(random, measures=(TransformationVariance(min_firing=0),))
    maps = assembled(random, walk(random)).maps
    return {(layer, call): array for (_, layer, stratum, call), array in maps.items() if stratum == "all"}


def random_band(task: Task, *, references: References) -> tuple[BaselineRow, ...]:
    """Return the mean and middle 95 % of each layer value over `options.draws` random networks.

    Every draw is measured like the model itself: on the same samples, elements and strata, at the same
    precision. Running statistics of normalisation layers are reset with the weights, to mean 0 and
    variance 1.

    Args:
        references: per-unit values that measures with `norm="random_net"` divide by.
    Returns:
        A row per measure × layer × call × stratum, in which `draws` counts the networks with a value; no
        rows if no baseline was requested.
    Raises:
        TypeError: the model is not an `nn.Module`, or the user's function does not return one.
        ValueError: weights that cannot be drawn (see `random_weights`), draws that do not differ, or data
            that can be read only once.
    """
    options = task.options
    if options.baseline is None:
        return ()
    refuse_unrandom(task.model, task.source, what=f"baseline={baseline_name(options.baseline)!r}")
    found: dict[Place, list[float]] = defaultdict(list)
    first: str | None = None
    with ticking(options.progress, "measuring random weights") as tick:
        for draw in range(options.draws):
            plain = replace(options, checkpoint=None, intervals=False, floor=False)
            quiet = replace(plain, progress=_part(tick, draw, options.draws))
            fresh = random_network(task.model, options.baseline, seed=draw_seed(options.seed, draw))
            first = _refuse_same(first, fresh)
            random = task.of(fresh, quiet)
            dead = check_precision(random).dead
            for row in assembled(random, walk(random), references=references, dead=dead).rows:
                found[row.place].append(row.value)
    return tuple(_row(key, np.array(values)) for key, values in found.items())


def baseline_name(baseline: Any) -> str:
    """Return "random", or the name of the user's function."""
    return baseline if isinstance(baseline, str) else make_name(baseline)


def _refuse_same(first: str | None, fresh: nn.Module) -> str:
    """Return the digest of the first network's weights; raise ValueError if this one has the same weights."""
    own = weights_digest(fresh)
    if own == first:
        raise ValueError(
            f"two random networks have the same weights: nothing in {type(fresh).__name__} is drawn at "
            f"random. {REMEDY}"
        )
    return first or own


def _part(
    tick: Callable[[int, int | None], None], draw: int, draws: int
) -> Callable[[int, int | None], None]:
    """Return the progress function of one draw, which reports the samples done over all draws."""
    return lambda done, total: tick(
        done if total is None else draw * total + done, None if total is None else draws * total
    )


def _row(place: Place, values: np.ndarray) -> BaselineRow:
    known = values[np.isfinite(values)]
    low, high = np.quantile(known, [TAIL, 1 - TAIL]) if len(known) > 1 else (np.nan, np.nan)
    spread = {"mean": known.mean() if len(known) else np.nan, "low": low, "high": high}
    where = dict(zip(("measure", "layer", "call", "stratum"), place, strict=True))
    return BaselineRow.of(
        where | {name: float(value) for name, value in spread.items()} | {"draws": len(known)}
    )
