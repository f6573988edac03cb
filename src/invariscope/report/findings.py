"""The report's heading and its findings in plain sentences, computed from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from invariscope.common.symbols import is_headline
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.digits import Fixed
from invariscope.report import layers, predictions, ranking, stability, words
from invariscope.report.layers import count_of, sentence, with_value
from invariscope.report.words import join, transform_name

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

# Largest p-value, adjusted by Holm's procedure, of a difference that a sentence counts.
SIGNIFICANT = 0.05


def title(results: Sequence[Result]) -> str:
    """Return the page's heading: the models, or their number if there are many, and the transform."""
    models = list(dict.fromkeys(names.model_names(results)))
    who = join(models) if len(models) <= predictions.FEW else f"{len(models)} networks"
    if all(map(stability.has_curves, results)):
        return f"Stability against the size of the displacement: {who}"
    return f"Invariance under {words.common_transform(results)}: {who}"


def main_measure(results: Sequence[Result]) -> str | None:
    """Return the main measure of the page; None if no row has a value."""
    found = [name for result in results for name in names.layered_measures([result])]
    return next(iter(names.headline_first(found)), None)


def sentences(results: Sequence[Result], differences: pd.DataFrame | None) -> list[str]:
    """Return the findings, the headline first: what happens to predictions or, if unknown, to layers."""
    measure = main_measure(results)
    lead, along = predictions.headline(results), stability.headline(results)
    if measure is None and not lead and not along:
        return ["No layer has a value; see the notes for the reason."]
    found = [lead, along, *predictions.details(results)]
    if measure is not None:
        found += _of_layers(results, differences, measure)
    found += [] if lead else [_not_measured(results)]
    return [text for text in found if text]


def _of_layers(results: Sequence[Result], differences: pd.DataFrame | None, measure: str) -> list[str]:
    """Return sentences on layers: comparisons, extremes per network, nulls, cautions, accuracy."""
    if len(results) > predictions.FEW:
        span = "" if any(map(stability.has_curves, results)) else ranking.span(results, measure)
        return [span, *_of_many(results, measure)]
    found = []
    if differences is not None and not any(map(stability.has_curves, results)):
        found = _comparisons(differences, measure, transform_name(results[0]))
    several = names.model_names(results) if len(results) > 1 else [""]
    named = list(zip(several, results, strict=True))
    if len(results) == 1 and not stability.has_curves(results[0]) and not predictions.predictions(results):
        found.append(layers.span(results[0], measure))
    said = stability.in_headline(results)
    found += [text for name, result in named for text in _leading(result, measure, name, said)]
    found += [layers.nulls(result, measure, name) for name, result in named]
    found += [text for name, result in named for text in layers.cautions(result, measure, name)]
    return found + [_accuracy(result, name) for name, result in named]


def _of_many(results: Sequence[Result], measure: str) -> list[str]:
    """Return sentences that count networks, if there are too many to name each."""
    reached = sum(bool(layers.nulls(result, measure, "")) for result in results)
    warned = sum(bool(layers.cautions(result, measure, "")) for result in results)
    found = []
    if reached:
        count = count_of(reached, len(results))
        null = "the null, the value for unrelated samples"
        found.append(f"The interval of at least one layer reaches {null}, in {count} networks.")
    if warned:
        count = count_of(warned, len(results))
        found.append(f"Values of {count} networks may be due to insensitivity or chance; see Provenance.")
    return found


def _leading(result: Result, measure: str, prefix: str, said: Sequence[str]) -> list[str]:
    """Return sentences on curves against the radius or, without curves, on the layers with extreme values.

    Args:
        said: suffixes of the ways to change inputs that the headline is about.
    """
    if stability.has_curves(result):
        return [sentence(prefix, text) for text in stability.sentences(result, without=said)]
    return [layers.extremes(result, measure, prefix)]


def _not_measured(results: Sequence[Result]) -> str:
    """Return a sentence on predictions that were not measured although the data have labels, or ""."""
    labelled = all(result.provenance.get("data", {}).get("labelled") for result in results)
    if not labelled or any(row.stem in ("prediction", "stability_curve") for r in results for row in r.rows):
        return ""
    return (
        "What happens to predictions was not measured; add “prediction” to the measures, which needs no "
        "further forward pass."
    )


def _comparisons(differences: pd.DataFrame, measure: str, transform: str) -> list[str]:
    rows = names.where(differences, measure=measure, stratum="all")
    pairs = dict.fromkeys(zip(rows["a"], rows["b"], strict=True))
    each = [names.where(rows, a=a, b=b) for a, b in pairs]
    return [compared(pair, measure, transform) for pair in each if with_value(pair, "difference")]


def compared(differences: pd.DataFrame, measure: str, transform: str) -> str:
    """Return a sentence on a pair of networks: how many layers of the second have lower or higher values.

    A layer counts only if its difference is significant after Holm's adjustment (`p_holm` below 0.05).
    Unadjusted intervals would count about one layer in twenty of two networks that do not differ.

    Args:
        differences: rows of `invariscope.compare` for one measure, stratum and pair.
        measure: name of that measure.
        transform: the transform's family in words.
    """
    rows = sorted(with_value(differences, "difference"), key=lambda row: row["difference"])
    first, other = differences["a"].iloc[0], differences["b"].iloc[0]
    lead = f"Under {transform}, {other}"
    if rows and not any(row["difference"] for row in rows):
        where = "the only layer" if len(rows) == 1 else f"{count_of(len(rows), len(rows))} layers"
        return f"{lead} and {first} have the same values in {where}."
    known = [row for row in rows if math.isfinite(row["p_holm"])]
    if not known:
        fixed = any(words.known_interval(row["ci_low"], row["ci_high"]) for row in rows)
        constant = "it is the same in every group of samples, so it has no p-value"
        reason = constant if fixed else "none has an interval"
        return f"Under {transform}, no difference between {other} and {first} is established: {reason}."
    clear = [row for row in known if row["p_holm"] < SIGNIFICANT]
    lower, higher = [r for r in clear if r["ci_high"] < 0], [r for r in clear if r["ci_low"] > 0]
    total = "layers" if len(known) == len(rows) else "layers with p-values"
    fixed = Fixed.of(row[name] for row in rows for name in ("value_a", "value_b"))
    places = Places(len(known), total)
    text = f"{lead} is {_changes(lower, higher[::-1], places, measure, first, fixed)}"
    return f"{text}{_significance(len(known), len(lower) + len(higher))}."


def _significance(known: int, clear: int) -> str:
    """Return the end of a comparison: which differences are significant, and what that means."""
    if clear == known:
        return f"{', each' if known > 1 else ','} with Holm-adjusted p < {SIGNIFICANT}"
    level = f"(Holm-adjusted p ≥ {SIGNIFICANT})"
    return f"; in {known - clear} the difference is not significant {level}" if clear else f" {level}"


@dataclass(frozen=True)
class Places:
    """The layers that are counted, in words.

    >>> Places(3, "layers").some(2), Places(3, "layers").none, Places(1, "layers").some(1)
    ('2 of 3 layers', 'any of 3 layers', 'the only layer')
    """

    count: int
    kind: str

    def some(self, number: int) -> str:
        """Return a number of the layers."""
        return self._only or f"{number} of {self.count} {self.kind}"

    @property
    def none(self) -> str:
        """The words after "not in"."""
        return self._only or f"any of {self.count} {self.kind}"

    @property
    def _only(self) -> str:
        one = self.kind.replace("layers", "layer").replace("p-values", "a p-value")
        return f"the only {one}" if self.count == 1 else ""


def _changes(
    lower: list[Any], higher: list[Any], places: Places, measure: str, first: str, fixed: Fixed
) -> str:
    """Return how many layers changed in which direction, and the layer that changed most."""
    invariance = is_headline(measure)
    down, up = ("more", "less") if invariance else ("lower", "higher")
    than = f"invariant than {first}" if invariance else f"than {first} in {layers.in_words(measure)}"
    if not lower and not higher:
        return f"neither significantly {down} nor {up} {than} in {places.none}"
    if not lower:
        return f"{up} {than} in {places.some(len(higher))}{_most(higher, fixed)}"
    also = f" and {up} in {len(higher)}{_most(higher, fixed)}" if higher else ""
    return f"{down} {than} in {places.some(len(lower))}{_most(lower, fixed)}{also}"


def _most(rows: list[Any], fixed: Fixed) -> str:
    label = names.layer_label(rows[0]["layer"], rows[0]["call"])
    return f" (most in {label}: {fixed(rows[0]['value_a'])} → {fixed(rows[0]['value_b'])})"


def _accuracy(result: Result, prefix: str) -> str:
    """Return a sentence on the accuracy by element, unless the sentences on predictions contain it."""
    rows = with_value(names.where(result.curves, measure=predictions.ACCURACY, stratum="all"))
    if len(rows) < 2 or predictions.predictions([result]):
        return ""
    low, high = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    if low["value"] == high["value"]:
        return sentence(prefix, f"the accuracy is {words.percents(low['value'])[0]} throughout.")
    worst, best = words.percents(low["value"], high["value"])
    return sentence(prefix, f"the accuracy ranges from {worst} ({low['label']}) to {best} ({high['label']}).")
