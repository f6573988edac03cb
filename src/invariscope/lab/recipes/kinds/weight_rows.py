"""Analyses of weights as rows of a result: values per layer and curves, with intervals over filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.registry import unknown
from invariscope.intervals import GROUPS, MISSING, jackknife
from invariscope.lab.recipes.kinds.base import check_keywords
from invariscope.lab.weights.chance import Chance, correlation
from invariscope.results.rows import Point, Row

if TYPE_CHECKING:
    from torch import nn

EIGENVALUE = "eigenvalue"


@dataclass(frozen=True)
class Findings:
    """The outcome of one analysis of one network, under the stratum "all".

    Args:
        rows, points: rows and curve points, as in a result.
        maps: maps by measure and layer.
    """

    rows: tuple[Row, ...]
    points: tuple[Point, ...] = ()
    maps: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)


def filter_spectrum(model: nn.Module, start: nn.Module | None, layers: Sequence[str] | None) -> Findings:
    """Measure the power of each layer's filters per frequency, and its ratio to the start of training.

    `filter_spectrum.power` and `.ratio` are curves over the eigenvalues of the grid Laplacian.
    `.mean_frequency` and `.pooling` are values per layer; the latter is the ratio at the lowest eigenvalue
    divided by the ratio at the highest. Intervals are over output channels.
    """
    from invariscope.weights._filters import filter_banks
    from invariscope.weights.spectrum import laplacian_modes, mean_frequency, mode_power

    before = {} if start is None else {bank.layer: bank for bank in filter_banks(start, layers)}
    rows, points = [], []
    for bank in filter_banks(model, layers):
        modes = laplacian_modes(*bank.filters.shape[2:])
        values = np.abs(modes.eigenvalues[np.unique(modes.spaces, return_index=True)[1]].round(9))
        power = mode_power(bank.filters, modes).mean(axis=1)
        means = _jackknifed(len(power), lambda kept, p=power: p[kept].mean(axis=0))
        frequency = mean_frequency(means.values, values)
        rows.append(_row("filter_spectrum.mean_frequency", bank.layer, replace(means, values=frequency)))
        points += _curve("filter_spectrum.power", bank.layer, values, means)
        if bank.layer in before:
            first = mode_power(before[bank.layer].filters, modes).mean(axis=1)
            ratios = _jackknifed(
                len(power), lambda kept, p=power, f=first: _ratio(p[kept].mean(axis=0), f[kept].mean(axis=0))
            )
            points += _curve("filter_spectrum.ratio", bank.layer, values, ratios)
            pooling = _ratio(ratios.values[:, 0], ratios.values[:, -1])
            rows.append(_row("filter_spectrum.pooling", bank.layer, replace(ratios, values=pooling)))
    return Findings(tuple(rows), tuple(points))


def gabor(
    model: nn.Module,
    start: nn.Module | None,
    layers: Sequence[str] | None,
    *,
    limit: int = 32,
    surrogates: int = 0,
    seed: int = 0,
) -> Findings:
    """Fit Gabor functions to the large filters of each layer: mean R² and frequency over filters.

    If `surrogates` is above 0, this number of phase-randomised copies of each filter is fitted as well, and
    `gabor.surrogate_r2` is their mean R². The filters and the fits are stored as maps "gabor.filters" and
    "gabor.fitted". Intervals are over filters.
    """
    from invariscope.weights import fit_gabor
    from invariscope.weights._filters import filter_banks

    rows, maps = [], {}
    for bank in filter_banks(model, layers):
        fits = fit_gabor(bank.filters, limit=limit)
        found = {"gabor.r2": fits.r2, "gabor.frequency": fits.frequency}
        if surrogates:
            found["gabor.surrogate_r2"] = _surrogate_r2(fits.filters, surrogates, seed)
        for name, values in found.items():
            means = _jackknifed(len(values), lambda kept, v=values: _finite_mean(v[kept]))
            rows.append(_row(name, bank.layer, means))
            maps[name, bank.layer] = values
        maps["gabor.filters", bank.layer] = fits.filters
        maps["gabor.fitted", bank.layer] = fits.fitted
    return Findings(tuple(rows), maps=maps)


def _surrogate_r2(filters: np.ndarray, count: int, seed: int) -> np.ndarray:
    """Return the (filter,) mean R² of Gabor fits to phase-randomised copies of each filter."""
    from invariscope.weights import fit_gabor, phase_randomised

    copies = [phase_randomised(filters, seed=seed + number) for number in range(count)]
    return np.mean([fit_gabor(copy[:, None], limit=len(copy)).r2 for copy in copies], axis=0)


def rotation_coupling(
    model: nn.Module,
    start: nn.Module | None,
    layers: Sequence[str] | None,
    *,
    angles: int = 8,
    permutations: int = 999,
    seed: int = 0,
) -> Findings:
    """Test whether rotations of the same filter are read by the same units of the next layer.

    `layers` are the two convolutions; by default they are the first two. The interval of `.correlation`
    is over filters, and its null is the mean over permutations of the filters; `.z` and `.p_value` compare it
    with these permutations.
    """
    from invariscope import weights

    first, second = (*(layers or ()), None, None)[:2]
    found = weights.rotation_coupling(
        model, first=first, second=second, angles=angles, permutations=permutations, seed=seed
    )

    def among(kept: np.ndarray) -> float:
        pairs = np.triu_indices(int(kept.sum()), 1)
        return correlation(*(part[np.ix_(kept, kept)][pairs] for part in (found.excess, found.coupling)))

    jackknifed = _jackknifed(len(found.excess), among)
    return Findings(_chance_rows("rotation_coupling", found.first, found.chance, jackknifed))


def head_correlation(
    model: nn.Module,
    start: nn.Module | None,
    layers: Sequence[str] | None,
    *,
    head: str | None = None,
    permutations: int = 999,
    seed: int = 0,
) -> Findings:
    """Correlate the weights of each channel in the head with the mean frequency of its filters.

    `layers` names the convolution; by default the last one. The interval of `.correlation` is over channels,
    and its null is the mean over permutations of the channels; `.z` and `.p_value` compare it with these
    permutations.
    """
    from invariscope.weights import head_frequency_correlation

    layer = layers[0] if layers else None
    found = head_frequency_correlation(model, layer=layer, head=head, permutations=permutations, seed=seed)
    jackknifed = _jackknifed(
        len(found.head_norm), lambda kept: correlation(found.head_norm[kept], found.mean_frequency[kept])
    )
    return Findings(_chance_rows("head_correlation", found.layer, found.chance, jackknifed))


ANALYSES: dict[str, Callable[..., Findings]] = {
    function.__name__: function for function in (filter_spectrum, gabor, rotation_coupling, head_correlation)
}


def check_analysis(name: str, settings: Mapping[str, Any]) -> None:
    """Reject unknown analyses, and settings that an analysis does not take.

    Raises:
        ValueError: an unknown name; the message gives the closest known one.
    """
    if name not in ANALYSES:
        raise unknown("analysis of weights", name, ANALYSES)
    check_keywords(ANALYSES[name], settings, f"the settings of {name}")


@dataclass(frozen=True)
class _Jackknifed:
    """Values (1 + groups, ...) from all filters and from all but one group in turn, and the group sizes."""

    values: np.ndarray
    sizes: tuple[int, ...]
    count: int


def _jackknifed(count: int, formula: Callable[[np.ndarray], Any]) -> _Jackknifed:
    """Evaluate a formula on all filters, then leaving out each of eight interleaved groups in turn."""
    groups = np.arange(count) % GROUPS
    kept = [np.ones(count, bool), *(groups != g for g in range(GROUPS) if count >= GROUPS)]
    sizes = tuple(np.bincount(groups, minlength=GROUPS).tolist()) if count >= GROUPS else ()
    return _Jackknifed(np.array([formula(part) for part in kept], float), sizes, count)


def _row(measure: str, layer: str, found: _Jackknifed) -> Row:
    return Row(
        measure=measure, layer=layer, call=0, stratum="all", units=found.count, counted_units=found.count,
        **_interval(found.values, found.sizes),
    )  # fmt: skip


def _curve(measure: str, layer: str, x: np.ndarray, found: _Jackknifed) -> list[Point]:
    return [
        Point(
            measure=measure, layer=layer, call=0, stratum="all", element=number, label=f"λ = {value:.3g}",
            parameter=EIGENVALUE, x=float(value), **_interval(found.values[:, number], found.sizes),
        )
        for number, value in enumerate(x)
    ]  # fmt: skip


def _interval(values: np.ndarray, sizes: tuple[int, ...]) -> dict[str, Any]:
    """Return the columns of a value: the value, its interval, and replicates for paired differences."""
    omitted = values[1:].tolist()
    interval = jackknife(float(values[0]), omitted, sizes) if sizes else MISSING
    kept = {"replicates": omitted, "group_sizes": list(sizes)} if np.isfinite(interval.low) else {}
    return {"value": float(values[0]), **interval.columns, **kept}


def _chance_rows(name: str, layer: str, chance: Chance, found: _Jackknifed) -> tuple[Row, ...]:
    z, p = (_Jackknifed(np.array([value]), (), found.count) for value in (chance.z, chance.p_value))
    return (
        replace(_row(f"{name}.correlation", layer, found), null=chance.mean),
        _row(f"{name}.z", layer, z),
        _row(f"{name}.p_value", layer, p),
    )


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _finite_mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")
