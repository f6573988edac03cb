"""Measure the same architecture with random weights, as a baseline and for `norm="random_net"`."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from torch import nn

from invariscope.common.draws import Stream, drawn_seed
from invariscope.common.progress import ticking
from invariscope.data.sources import Source, refuse_second_walk
from invariscope.engine.assemble import References, assembled
from invariscope.engine.extras.precision import check_precision
from invariscope.engine.options import Options
from invariscope.engine.passes import Pass, Passes
from invariscope.engine.task import Task
from invariscope.engine.walk import walk
from invariscope.measures.variance import TransformationVariance
from invariscope.readers.base import LayerKey
from invariscope.results.maps import DrawnMap
from invariscope.results.rows import BaselineRow
from invariscope.unit_draw import UnitDraw
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


def random_references(task: Task, passes: Passes) -> dict[LayerKey, np.ndarray | DrawnMap]:
    """Return the per-unit transformation variance of a random network; empty if no measure needs it.

    Args:
        passes: keeps the pass.
    """
    wanting = [measure for measure in task.measures if measure.needs_reference]
    if not wanting:
        return {}
    refuse_unrandom(task.model, task.source, what="norm='random_net'")
    every = not all(statistic.drawable for measure in wanting for statistic in measure.statistics())
    options = replace(passes.options_of(task.options), floor=False, **({"units": "all"} if every else {}))

    def measured() -> tuple[Pass, str]:
        fresh = random_network(task.model, options.baseline, seed=options.seed)
        random = replace(task.of(fresh, options), measures=(TransformationVariance(min_firing=0),))
        maps = assembled(random, run := walk(random)).maps
        found = {(layer, call): own for (_, layer, stratum, call), own in maps.items() if stratum == "all"}
        return _pass_of(found), run.fingerprint

    return _references_of(passes.known("random_net", measured))


def _pass_of(references: dict[LayerKey, np.ndarray | DrawnMap]) -> Pass:
    facts, arrays = [], {}
    for number, (key, own) in enumerate(references.items()):
        draw = own.draw if isinstance(own, DrawnMap) else None
        facts.append([*key, draw and [list(draw.shape), draw.count, draw.seed]])
        arrays[str(number)] = np.ascontiguousarray(own.values if isinstance(own, DrawnMap) else own)
    return Pass(facts, arrays)


def _references_of(kept: Pass) -> dict[LayerKey, np.ndarray | DrawnMap]:
    found: dict[LayerKey, np.ndarray | DrawnMap] = {}
    for number, (layer, call, drawn) in enumerate(kept.facts):
        values = kept.arrays[str(number)]
        draw = drawn and UnitDraw(tuple(drawn[0]), *drawn[1:])
        found[layer, call] = DrawnMap(values, draw) if draw else values
    return found


def random_band(task: Task, *, references: References, passes: Passes) -> tuple[BaselineRow, ...]:
    """Return the mean and middle 95 % of each layer value over `options.draws` random networks.

    Every draw is measured like the model itself: on the same samples, elements and strata, at the same
    precision. Running statistics of normalisation layers are reset with the weights, to mean 0 and
    variance 1.

    Args:
        references: per-unit values that measures with `norm="random_net"` divide by.
        passes: keeps the passes.
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
            quiet = replace(options, progress=_part(tick, draw, options.draws))
            measured = partial(_drawn_pass, task, quiet, draw, references, passes, first)
            one = passes.known(f"draw {draw}", measured)
            first = first or one.facts["weights"]
            for place, value in zip(one.facts["places"], one.arrays["values"].tolist(), strict=True):
                found[tuple(place)].append(value)
    return tuple(_row(key, np.array(values)) for key, values in found.items())


def _drawn_pass(
    task: Task, options: Options, draw: int, references: References, passes: Passes, first: str | None
) -> tuple[Pass, str]:
    """Measure one random network; return its values and the digest of the samples."""
    options = replace(passes.options_of(options), intervals=False, floor=False)
    fresh = random_network(task.model, options.baseline, seed=draw_seed(options.seed, draw))
    own = _refuse_same(first, fresh)
    random = task.of(fresh, options)
    dead = check_precision(random).dead
    rows = assembled(random, run := walk(random), references=references, dead=dead).rows
    values = {"values": np.array([row.value for row in rows], dtype=np.float64)}
    return Pass({"weights": own, "places": [list(row.place) for row in rows]}, values), run.fingerprint


def baseline_name(baseline: Any) -> str:
    """Return "random", or the name of the user's function."""
    return baseline if isinstance(baseline, str) else make_name(baseline)


def _refuse_same(first: str | None, fresh: nn.Module) -> str:
    """Return the digest of a network's weights; raise ValueError if the first one has the same weights."""
    own = weights_digest(fresh)
    if own == first:
        raise ValueError(
            f"two random networks have the same weights: nothing in {type(fresh).__name__} is drawn at "
            f"random. {REMEDY}"
        )
    return own


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
