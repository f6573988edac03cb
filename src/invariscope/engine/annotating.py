"""Cautions and notes that are added to the rows of a finished run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from invariscope.engine.extras.cautions import with_cautions
from invariscope.engine.extras.few_pairs import with_few_pairs
from invariscope.engine.extras.grid_notes import with_grid_notes
from invariscope.engine.state import Run
from invariscope.measures.base import Measure
from invariscope.readers.base import LayerKey
from invariscope.results.rows import Row


def annotated(
    rows: Sequence[Row],
    measures: Sequence[Measure],
    run: Run,
    grids: Mapping[LayerKey, tuple[str, bool]],
) -> list[Row]:
    """Return the rows with their cautions and grid notes, and add these to the notes of the run.

    Args:
        grids: what `grid_texts` found.
    """
    rows, cautions = with_cautions(rows, measures)
    rows, off = with_grid_notes(with_few_pairs(rows, run), measures, run, grids)
    run.notes += run.labelling.notes(predicted=any(measure.predicts_numbers for measure in measures))
    run.notes += [*cautions, *off]
    return rows
