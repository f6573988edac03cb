"""Results as tables in the terminal. Names come from the user, so they are never interpreted as markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from invariscope.cli.console import needed_width, terminal_width
from invariscope.common.wording import alike, listed, visible
from invariscope.plots.shared.digits import Fixed, probability
from invariscope.plots.shared.labels import (
    for_tables,
    headline_first,
    layer_label,
    measure_title,
    model_names,
    number,
    outside_note,
    positions,
    row_interval,
    rows_of,
    with_names,
)

if TYPE_CHECKING:
    import pandas as pd

    from invariscope.results.result import Result

OUTPUT = "output"
# Columns of words can shrink to this width, or to that of their longest word, by wrapping.
MIN_WORDS = 16


def plain_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, text: int = 1) -> Table:
    """Return a table whose first `text` columns are words and whose others are right-aligned numbers.

    Words wrap at spaces in narrow terminals. Numbers and single words, such as names of layers, never do,
    because a truncated number would be misread and a truncated name could not be copied.
    """
    columns = [visible(column) for column in columns]
    cells = [tuple(Text(visible(text)) for text in row) for row in rows]
    table = Table(
        title=Text(visible(title), style="bold"),
        title_justify="left",
        header_style="bold",
        box=None,
        pad_edge=False,
    )
    for index, column in enumerate(columns):
        words = index < text
        texts = [Text(column), *(row[index] for row in cells)]
        longest = max(text.cell_len for text in texts)
        word = max((Text(part).cell_len for text in texts for part in text.plain.split()), default=0)
        table.add_column(
            Text(column),
            justify="left" if words else "right",
            overflow="fold",
            no_wrap=not words,
            min_width=max(min(longest, MIN_WORDS), word) if words else longest,
        )
    for row in cells:
        table.add_row(*row)
    return table


def fitted_table(
    title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, drop: Sequence[int]
) -> Table:
    """Return a `plain_table` without the columns for which the terminal has no space.

    Args:
        title, columns, rows: as in `plain_table`.
        drop: positions of columns that may be left out, the least important one first. A caption names
            those that are.
    """
    kept, left_out, width = list(range(len(columns))), [], terminal_width()
    waiting = list(drop)
    while True:
        cells = [[row[place] for place in kept] for row in rows]
        table = plain_table(title, [columns[place] for place in kept], cells)
        if width is None or needed_width(table) <= width or not waiting:
            break
        kept.remove(waiting[0])
        left_out.append(columns[waiting.pop(0)])
    if left_out:
        text = f"not shown for lack of space: {', '.join(left_out)}"
        table.caption, table.caption_justify = Text(visible(text), style="dim"), "left"
    return table


def result_tables(result: Result) -> Iterator[Table]:
    """Yield one table per layer measure, and one for all output measures."""
    table = for_tables(result.table, [result])
    outputs = table.query("layer == @OUTPUT and measure.str.contains('.', regex=False)")
    for measure in headline_first(name for name in table["measure"] if name not in set(outputs["measure"])):
        yield _layers(result, measure)
    if len(outputs):
        yield _outputs(outputs.query("stratum == 'all'"), positions([result]))


def _layers(result: Result, measure: str) -> Table:
    rows = rows_of(result, measure)
    means, bands = _class_means(result, measure), _bands(result, measure)
    columns = ["layer", "value", "95 % interval"]
    columns += ["mean of classes"] if means else []
    columns += ["null", *(["random nets"] if bands else []), "units", "dead", "sparse"]
    fixed = Fixed(0) if measure in positions([result]) else Fixed.of(rows["value"])
    cells = [
        [
            row["label"],
            fixed(row["value"]),
            fixed.row_interval(row),
            *([fixed(means.get((row["layer"], row["call"]), math.nan))] if means else []),
            fixed(row["null"]),
            *(
                [fixed.interval(*bands.get((row["layer"], row["call"]), (math.nan, math.nan)))]
                if bands
                else []
            ),
            _units(row),
            *(_count(row[name]) for name in ("dead_units", "sparse_units")),
        ]
        for row in rows.to_dict("records")
    ]
    order = ("sparse", "dead", "units", "mean of classes", "random nets", "null")
    drop = [columns.index(name) for name in order if name in columns]
    return fitted_table(f"{measure_title(measure)} of {result.name}", columns, cells, drop=drop)


def _class_means(result: Result, measure: str) -> dict[tuple[str, int], float]:
    rows = rows_of(result, measure, "mean")
    return dict(zip(zip(rows["layer"], rows["call"], strict=True), rows["value"], strict=True))


def _bands(result: Result, measure: str) -> dict[tuple[str, int], tuple[float, float]]:
    """Return the middle 95 % of the values of networks with random weights, (low, high) by (layer, call)."""
    rows = result.baseline.query("measure == @measure and stratum == 'all'").to_dict("records")
    return {(row["layer"], row["call"]): (row["low"], row["high"]) for row in rows}


def _outputs(rows: pd.DataFrame, places: set[str]) -> Table:
    cells = [
        [measure_title(row["measure"]), _value(row, places), row_interval(row)]
        for row in rows.to_dict("records")
    ]
    return plain_table("Output, mean over elements", ["", "value", "95 % interval"], cells)


def _value(row: Mapping[str, Any], places: set[str]) -> str:
    return Fixed(0)(row["value"]) if row["measure"] in places else number(row["value"])


def _units(row: Mapping[str, Any]) -> str:
    """Return the number of measured units as text, with the total if units were drawn."""
    drawn = row["units_total"] > row["units"]
    return f"{_count(row['units'])} of {_count(row['units_total'])}" if drawn else _count(row["units"])


def _count(value: Any) -> str:
    return "–" if value != value else f"{int(value):,}"


def difference_tables(differences: pd.DataFrame, *, stratum: str = "all") -> Iterator[Table]:
    """Yield the `difference_table` of each measure."""
    chosen = differences.query("stratum == @stratum")
    for measure in headline_first(chosen["measure"]):
        rows = chosen.query("measure == @measure")
        yield difference_table(
            rows, f"{measure_title(measure)}" + ("" if stratum == "all" else f", {stratum}")
        )


def difference_table(rows: pd.DataFrame, title: str) -> Table:
    """Return a table of both values, the difference with its interval, p, and p adjusted for many layers."""
    first, second = rows["a"].iloc[0], rows["b"].iloc[0]
    fixed = Fixed.of([*rows["value_a"], *rows["value_b"]])
    cells = [
        [
            layer_label(row["layer"], row["call"]),
            fixed(row["value_a"]),
            fixed(row["value_b"]),
            fixed(row["difference"], sign="+"),
            fixed.row_interval(row, value="difference", sign="+"),
            probability(row["p"]),
            probability(row["p_holm"]),
        ]
        for row in rows.to_dict("records")
    ]
    columns = ["layer", first, second, "difference", "95 % interval", "p", "p (Holm)"]
    return fitted_table(title, columns, cells, drop=(5, 2, 1))


def distinct_names(results: Sequence[Result]) -> list[Result]:
    """Return the results, with numbers added to repeated names."""
    return [r.labelled(name) for r, name in zip(results, model_names(results), strict=True)]


def remarks(result: Result) -> list[str]:
    """Return the notes to print with the tables of a result."""
    provenance = result.provenance
    lines = [str(note) for note in provenance.get("notes", [])]
    skipped = [(str(entry["layer"]), str(entry["reason"])) for entry in provenance.get("skipped", [])]
    for reason, places in alike(reason for _, reason in skipped):
        lines.append(f"skipped {listed((skipped[i][0] for i in places), limit=5)}: {reason}")
    shown = for_tables(result.table, [result]).query("stratum == 'all'").to_dict("records")
    lines += outside_note(shown)
    return lines + _counted(result.notes["note"])


def difference_remarks(rows: pd.DataFrame) -> list[str]:
    """Return the notes to print with the differences between two results."""
    notes = _counted(note for note in rows["note"] if note)
    return [with_names(note, rows["a"].iloc[0], rows["b"].iloc[0]) for note in notes]


def _counted(notes: Iterable[str]) -> list[str]:
    """Return each kind of note with its number of rows."""
    kinds = sorted((note, len(places)) for note, places in alike(map(str, notes)))
    return [f"{note} ({f'{count} rows' if count > 1 else 'one row'})" for note, count in kinds]
