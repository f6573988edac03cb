"""The report's findings in plain sentences, computed from the results."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from invariscope.intervals import reaches_null
from invariscope.plots.shared import labels as names
from invariscope.plots.shared.digits import Fixed
from invariscope.plots.shared.scales import APART
from invariscope.report import stability

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

ACCURACY = "prediction.accuracy"


def title(results: Sequence[Result]) -> str:
    """Return the page's heading: the models, or their number if there are many, and the transform."""
    models = list(dict.fromkeys(names.model_names(results)))
    who = join(models) if len(models) <= 3 else f"{len(models)} networks"
    if all(map(stability.has_curves, results)):
        return f"Stability against the size of the displacement: {who}"
    transforms = list(dict.fromkeys(transform_name(result) for result in results))
    return f"Invariance under {transforms[0] if len(transforms) == 1 else 'transformations'}: {who}"


def transform_name(result: Result) -> str:
    """Return the transform's family in words, such as "rotation" or "quarter turns"."""
    family = result.provenance.get("transform", {}).get("family") or "transformation"
    return str(family).replace("_", " ")


def join(words: Sequence[str]) -> str:
    """Join words into an English list.

    >>> join(["a"]), join(["a", "b"]), join(["a", "b", "c"])
    ('a', 'a and b', 'a, b and c')
    """
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def main_measure(results: Sequence[Result]) -> str | None:
    """Return the main measure of the page; None if no row has a value."""
    found = [name for result in results for name in names.layered_measures([result])]
    return next(iter(names.headline_first(found)), None)


def sentences(results: Sequence[Result], differences: pd.DataFrame | None) -> list[str]:
    """Return the findings, most important first: comparisons, extremes per model, accuracy."""
    measure = main_measure(results)
    if measure is None:
        return ["No layer has a value; see the notes for the reason."]
    found = []
    if differences is not None and not any(map(stability.has_curves, results)):
        found = _comparisons(differences, measure, transform_name(results[0]))
    named = (
        list(zip(names.model_names(results), results, strict=True))
        if len(results) > 1
        else [("", results[0])]
    )
    found += [sentence for name, result in named for sentence in _leading(result, measure, name)]
    found += [_nulls(result, measure, name) for name, result in named]
    found += [sentence for name, result in named for sentence in _cautions(result, measure, name)]
    found += [_accuracy(result, name) for name, result in named]
    return [sentence for sentence in found if sentence]


def _with_value(rows: pd.DataFrame, column: str = "value") -> list[dict[str, Any]]:
    return [row for row in rows.to_dict("records") if math.isfinite(row[column])]  # type: ignore[misc]


def _leading(result: Result, measure: str, prefix: str) -> list[str]:
    """Return sentences on curves against the radius or, without curves, on the layers with extreme values."""
    if stability.has_curves(result):
        return [_sentence(prefix, text) for text in stability.sentences(result)]
    return [_extremes(result, measure, prefix)]


def _extremes(result: Result, measure: str, prefix: str) -> str:
    rows = _with_value(names.rows_of(result, measure))
    if not rows:
        return ""
    low, high = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    fixed = Fixed.of(row["value"] for row in rows)
    least, most = fixed(low["value"]), fixed(high["value"])
    if measure not in names.RELATIVE:
        title = _in_words(measure)
        if len(rows) == 1:
            return _sentence(prefix, f"the {title} of {_layer(low)} is {least}.")
        span = f"from {least} ({_layer(low)}) to {most} ({_layer(high)})"
        return _sentence(prefix, f"the {title} ranges {span}{_jump(result, measure, rows)}.")
    name = transform_name(result)
    changes = f"{name} {'change' if name.endswith('s') else 'changes'} the responses of {_layer(low)}"
    does = f"times as much as a change of sample does{_spread(result, measure)}"
    if len(rows) == 1:
        return _sentence(prefix, f"{changes} {least} {does}.")
    rest = f"and those of {_layer(high)}, the least invariant, {most} times as much"
    return _sentence(prefix, f"{changes}, the most invariant layer, {least} {does}, {rest}.")


def _jump(result: Result, measure: str, rows: list[dict[str, Any]]) -> str:
    """Return a clause on the first layer whose value far exceeds those of all earlier layers, or "".

    A symmetry breaks at such a layer. For negated similarities, which cluster at −1, the clause is about one
    plus the value.
    """
    lead = ""
    if min(row["value"] for row in rows) < 0:
        rows, lead = _with_value(names.rows_of(result, f"{measure}.one_plus")), "one plus this value "
    fixed = Fixed.of(row["value"] for row in rows)
    for place, row in enumerate(rows):
        before = max((abs(earlier["value"]) for earlier in rows[:place]), default=0.0)
        if before > 0 and row["value"] > APART * before:
            rise = f"{fixed(row['value'])}, compared with at most {fixed(before)} in earlier layers"
            return f", and {lead}jumps at {_layer(row)}: {rise}"
    return ""


def _in_words(measure: str) -> str:
    """Return a measure's name within a sentence, in lower case except for initialisms."""
    title = names.measure_title(measure)
    return title if title[:2].isupper() else title[:1].lower() + title[1:]


def _layer(row: dict[str, Any]) -> str:
    """Return a layer's name, preceded by "layer" if it starts with a digit and could be taken for a value."""
    return f"layer {row['label']}" if row["label"][:1].isdigit() else row["label"]


def _nulls(result: Result, measure: str, prefix: str) -> str:
    """Return a sentence on the layers whose interval reaches the null."""
    if measure not in names.HEADLINE:
        return ""
    rows = [row for row in _with_value(names.rows_of(result, measure)) if math.isfinite(row["null"])]
    reached = [row for row in rows if reaches_null(row)]
    if not reached:
        return ""
    count = _count(len(reached), len(rows))
    text = f"the interval reaches the null, the value for unrelated samples, in {count} layers."
    return _sentence(prefix, text)


def _cautions(result: Result, main: str, prefix: str) -> list[str]:
    """Return a sentence per caution, except for those of the main measure if `_nulls` covers it."""
    rows = result.cautions
    rows = rows[~((rows["measure"] == main) & (main in names.HEADLINE))]
    found = []
    groups: Any = rows.groupby(["measure", "caution"], sort=False)
    for (measure, caution), own in groups:
        count = len(own)
        where = _layer({"label": own["layer"].iloc[0]}) if count == 1 else f"{count} layers"
        title = _in_words(measure)
        found.append(_sentence(prefix, f"the {title} of {where} is {caution}."))
    return found


def _sentence(prefix: str, text: str) -> str:
    return f"In {prefix}, {text}" if prefix else text[:1].upper() + text[1:]


def _spread(result: Result, measure: str) -> str:
    """Return a remark on whether the ratio is one of variances or of standard deviations, or ""."""
    about = (result.provenance.get("measures") or {}).get(measure) or {}
    return {"variance": " (variance ratio)", "std": " (ratio of standard deviations)"}.get(
        str((about.get("options") or {}).get("spread")), ""
    )


def _comparisons(differences: pd.DataFrame, measure: str, transform: str) -> list[str]:
    rows = names.where(differences, measure=measure, stratum="all")
    pairs = dict.fromkeys(zip(rows["a"], rows["b"], strict=True))
    each = [names.where(rows, a=a, b=b) for a, b in pairs]
    return [compared(pair, measure, transform) for pair in each if _with_value(pair, "difference")]


def compared(differences: pd.DataFrame, measure: str, transform: str) -> str:
    """Return a sentence on a pair of networks: how many layers of the second have lower or higher values.

    A layer counts only if the 95 % interval of its difference excludes zero.

    Args:
        differences: rows of `invariscope.compare` for one measure, stratum and pair.
        measure: name of that measure.
        transform: the transform's family in words.
    """
    rows = sorted(_with_value(differences, "difference"), key=lambda row: row["difference"])
    first, other = differences["a"].iloc[0], differences["b"].iloc[0]
    lead = f"Under {transform}, {other}"
    if rows and not any(row["difference"] for row in rows):
        return f"{lead} and {first} have the same values in {_count(len(rows), len(rows))} layers."
    known = [row for row in rows if math.isfinite(row["ci_low"]) and math.isfinite(row["ci_high"])]
    if not known:
        reason = "there are too few samples for an interval"
        return f"Under {transform}, no difference between {other} and {first} is established: {reason}."
    lower, higher = [r for r in known if r["ci_high"] < 0], [r for r in known if r["ci_low"] > 0]
    total = "layers" if len(known) == len(rows) else "layers with intervals"
    fixed = Fixed.of(row[name] for row in rows for name in ("value_a", "value_b"))
    text = f"{lead} is {_changes(lower, higher[::-1], f'{len(known)} {total}', measure, first, fixed)}"
    open_ones = len(known) - len(lower) - len(higher)
    rest = f"; in {open_ones} the 95\u00a0% interval of the difference includes zero" if open_ones else ""
    return f"{text}{rest}."


def _changes(lower: list[Any], higher: list[Any], total: str, measure: str, first: str, fixed: Fixed) -> str:
    """Return how many layers changed in which direction, and the layer that changed most."""
    invariance = measure in names.HEADLINE
    down, up = ("more", "less") if invariance else ("lower", "higher")
    than = f"invariant than {first}" if invariance else f"than {first} in {_in_words(measure)}"
    if not lower and not higher:
        return f"neither {down} nor {up} {than} in any of {total}"
    if not lower:
        return f"{up} {than} in {len(higher)} of {total}{_most(higher, fixed)}"
    also = f" and {up} in {len(higher)}{_most(higher, fixed)}" if higher else ""
    return f"{down} {than} in {len(lower)} of {total}{_most(lower, fixed)}{also}"


def _most(rows: list[Any], fixed: Fixed) -> str:
    label = names.layer_label(rows[0]["layer"], rows[0]["call"])
    return f" (most in {label}: {fixed(rows[0]['value_a'])} → {fixed(rows[0]['value_b'])})"


def _count(part: int, total: int) -> str:
    return f"all {total}" if part == total else f"{part} of {total}"


def _accuracy(result: Result, prefix: str) -> str:
    rows = _with_value(names.where(result.curves, measure=ACCURACY, stratum="all"))
    if len(rows) < 2:
        return ""
    low, high = (pick(rows, key=lambda row: row["value"]) for pick in (min, max))
    if low["value"] == high["value"]:
        return _sentence(prefix, f"the accuracy is {low['value']:.1%} throughout.".replace("%", "\u00a0%"))
    worst, best = (f"{row['value']:.1%} ({row['label']})".replace("%", "\u00a0%") for row in (low, high))
    return _sentence(prefix, f"the accuracy ranges from {worst} to {best}.")
