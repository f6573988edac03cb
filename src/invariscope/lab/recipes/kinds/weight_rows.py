"""What analyses of weights find, as rows of a result: a value a layer, curves, and intervals over filters."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from invariscope.common.registry import unknown
from invariscope.intervals import GROUPS, MISSING, jackknife
from invariscope.lab.recipes.text import unknown_key

if TYPE_CHECKING:
    from torch import nn

    from invariscope.results.result import MapKey

EIGENVALUE = "eigenvalue"


@dataclass(frozen=True)
class Findings:
    """What one analysis says of one network.

    Args:
        rows, curve_rows, arrays: as in a `Result`, without a stratum.
    """

    rows: tuple[dict[str, Any], ...]
    curve_rows: tuple[dict[str, Any], ...] = ()
    arrays: Mapping[tuple[str, str], np.ndarray] = field(default_factory=dict)

    def of_stratum(self, stratum: str) -> tuple[list[dict], list[dict], dict[MapKey, np.ndarray]]:
        """The same as parts of a result."""
        rows, curves = (
            [{**row, "stratum": stratum} for row in part] for part in (self.rows, self.curve_rows)
        )
        return (
            rows,
            curves,
            {(name, layer, stratum, 0): array for (name, layer), array in self.arrays.items()},
        )


def filter_spectrum(model: nn.Module, start: nn.Module | None, layers: Sequence[str] | None) -> Findings:
    """The power of each layer's filters at each frequency, and as a ratio to the start.

    `filter_spectrum.power` and `.ratio` are curves over the eigenvalues of the grid Laplacian,
    `.mean_frequency` and `.pooling`, the ratio at the lowest eigenvalue over that at the highest, are values
    of a layer. Intervals are over output channels.
    """
    from invariscope.weights._filters import filter_banks
    from invariscope.weights.spectrum import laplacian_modes, mean_frequency, mode_power

    before = {} if start is None else {bank.layer: bank for bank in filter_banks(start, layers)}
    rows, curves = [], []
    for bank in filter_banks(model, layers):
        modes = laplacian_modes(*bank.filters.shape[2:])
        values = np.abs(modes.eigenvalues[np.unique(modes.spaces, return_index=True)[1]].round(9))
        power = mode_power(bank.filters, modes).mean(axis=1)
        means = _leaving_out(len(power), lambda kept, p=power: p[kept].mean(axis=0))
        frequency = mean_frequency(means.values, values)
        rows.append(_row("filter_spectrum.mean_frequency", bank.layer, means.of(frequency)))
        curves += _curve("filter_spectrum.power", bank.layer, values, means)
        if bank.layer in before:
            first = mode_power(before[bank.layer].filters, modes).mean(axis=1)
            ratios = _leaving_out(
                len(power), lambda kept, p=power, f=first: _ratio(p[kept].mean(axis=0), f[kept].mean(axis=0))
            )
            curves += _curve("filter_spectrum.ratio", bank.layer, values, ratios)
            pooling = _ratio(ratios.values[:, 0], ratios.values[:, -1])
            rows.append(_row("filter_spectrum.pooling", bank.layer, ratios.of(pooling)))
    return Findings(tuple(rows), tuple(curves))


def gabor(
    model: nn.Module,
    start: nn.Module | None,
    layers: Sequence[str] | None,
    *,
    limit: int = 32,
    surrogates: int = 0,
    seed: int = 0,
) -> Findings:
    """How well Gabor functions fit a layer's large filters: means over filters of R² and of the frequency.

    With `surrogates`, so many copies of each filter with random phases are fitted too: `gabor.surrogate_r2`
    is the mean R² of these. The filters and the fits are kept under "gabor.filters" and "gabor.fitted".
    Intervals are over filters.
    """
    from invariscope.weights import fit_gabor
    from invariscope.weights._filters import filter_banks

    rows, arrays = [], {}
    for bank in filter_banks(model, layers):
        fits = fit_gabor(bank.filters, limit=limit)
        found = {"gabor.r2": fits.r2, "gabor.frequency": fits.frequency}
        if surrogates:
            found["gabor.surrogate_r2"] = _surrogate_r2(fits.filters, surrogates, seed)
        for name, values in found.items():
            means = _leaving_out(len(values), lambda kept, v=values: _known_mean(v[kept]))
            rows.append(_row(name, bank.layer, means.of(means.values)))
            arrays[name, bank.layer] = values
        arrays["gabor.filters", bank.layer] = fits.filters
        arrays["gabor.fitted", bank.layer] = fits.fitted
    return Findings(tuple(rows), arrays=arrays)


def _surrogate_r2(filters: np.ndarray, count: int, seed: int) -> np.ndarray:
    """(filter,) mean R² of Gabor fits to each filter's copies with random phases."""
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
    """Whether filters that are rotations of each other are read together, one row a number.

    `layers` are the two convolutions; none: the first two. The correlation's interval is over filters, its
    null the mean over permuted ones; `.z` and `.p_value` say how far from those it lies.
    """
    from invariscope import weights

    first, second = (*(layers or ()), None, None)[:2]
    found = weights.rotation_coupling(
        model, first=first, second=second, angles=angles, permutations=permutations, seed=seed
    )

    def among(kept: np.ndarray) -> float:
        pairs = np.triu_indices(int(kept.sum()), 1)
        return _correlation(*(part[np.ix_(kept, kept)][pairs] for part in (found.excess, found.coupling)))

    jackknifed = _leaving_out(len(found.excess), among)
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
    """Correlation of a channel's weights in the head with the mean frequency of its filters.

    `layers` names the convolution; none: the last one. The correlation's interval is over channels, its null
    the mean over permuted ones; `.z` and `.p_value` say how far from those it lies.
    """
    from invariscope.weights import head_frequency_correlation

    layer = layers[0] if layers else None
    found = head_frequency_correlation(model, layer=layer, head=head, permutations=permutations, seed=seed)
    jackknifed = _leaving_out(
        len(found.head_norm), lambda kept: _correlation(found.head_norm[kept], found.mean_frequency[kept])
    )
    return Findings(_chance_rows("head_correlation", found.layer, found.chance, jackknifed))


ANALYSES: dict[str, Callable[..., Findings]] = {
    function.__name__: function for function in (filter_spectrum, gabor, rotation_coupling, head_correlation)
}


def check_analysis(name: str, settings: Mapping[str, Any]) -> None:
    """Refuses an analysis that does not exist, or settings that it does not take.

    Raises:
        ValueError: with the closest name.
    """
    if name not in ANALYSES:
        raise unknown("analysis of weights", name, ANALYSES)
    parameters = inspect.signature(ANALYSES[name]).parameters.values()
    known = [p.name for p in parameters if p.kind is p.KEYWORD_ONLY]
    for key in settings:
        if key not in known:
            raise ValueError(unknown_key(key, known, f"the settings of {name}"))


@dataclass(frozen=True)
class _Jackknifed:
    """Values (1 + groups, ...): of all filters, then without one group each; and the groups' sizes."""

    values: np.ndarray
    sizes: tuple[int, ...]
    count: int

    def of(self, values: np.ndarray) -> _Jackknifed:
        """Other values worked out of these, row by row."""
        return _Jackknifed(values, self.sizes, self.count)


def _leaving_out(count: int, formula: Callable[[np.ndarray], Any]) -> _Jackknifed:
    """A formula of the filters that are kept: of all of them, then without every eighth."""
    groups = np.arange(count) % GROUPS
    kept = [np.ones(count, bool), *(groups != g for g in range(GROUPS) if count >= GROUPS)]
    sizes = tuple(np.bincount(groups, minlength=GROUPS).tolist()) if count >= GROUPS else ()
    return _Jackknifed(np.array([formula(part) for part in kept], float), sizes, count)


def _row(measure: str, layer: str, found: _Jackknifed) -> dict[str, Any]:
    return {
        "measure": measure, "layer": layer, "call": 0, "units": found.count, "counted_units": found.count,
        **_interval(found.values, found.sizes),
    }  # fmt: skip


def _curve(measure: str, layer: str, x: np.ndarray, found: _Jackknifed) -> list[dict[str, Any]]:
    return [
        {"measure": measure, "layer": layer, "call": 0, "element": number, "label": f"λ = {value:.3g}",
         "parameter": EIGENVALUE, "x": float(value), **_interval(found.values[:, number], found.sizes)}
        for number, value in enumerate(x)
    ]  # fmt: skip


def _interval(values: np.ndarray, sizes: tuple[int, ...]) -> dict[str, Any]:
    """The value of all filters, its interval, and what paired differences need."""
    omitted = values[1:].tolist()
    interval = jackknife(float(values[0]), omitted, sizes) if sizes else MISSING
    kept = {"replicates": omitted, "group_sizes": list(sizes)} if np.isfinite(interval.low) else {}
    return {"value": float(values[0]), **interval.columns, **kept}


def _chance_rows(name: str, layer: str, chance: Any, found: _Jackknifed) -> tuple[dict[str, Any], ...]:
    correlation = {**_row(f"{name}.correlation", layer, found), "null": chance.mean}
    bare = _Jackknifed(np.empty(0), (), found.count)
    others = (("z", chance.z), ("p_value", chance.p_value))
    return correlation, *(_row(f"{name}.{key}", layer, bare.of(np.array([value]))) for key, value in others)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    from invariscope.lab.weights.chance import correlation

    return correlation(a, b)


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > 0)


def _known_mean(values: np.ndarray) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")
