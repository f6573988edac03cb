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
from invariscope.statistics.probes import Untransformed
from invariscope.transforms.base import Transform

UNDECLARED = (
    "element {element} leaves every sample as it is, but is not declared as the identity, so means over all "
    "elements but the identity include it. If it is meant as the identity, say so: "
    "iv.Elements(..., identity=...)"
)
STILL = "the elements give equal inputs for all samples: values of 0 show nothing about the model"


def annotated(
    rows: Sequence[Row],
    measures: Sequence[Measure],
    run: Run,
    grids: Mapping[LayerKey, tuple[str, bool]],
    transform: Transform,
) -> list[Row]:
    """Return the rows with their cautions and grid notes, and add these to the notes of the run.

    Args:
        grids: what `grid_texts` found.
        transform: the transform of the run, or what shards keep of it.
    """
    still = [measure for measure in measures if _is_still(measure, run, len(transform))]
    rows, cautions = with_cautions(rows, measures, still=[measure.label for measure in still])
    rows, off = with_grid_notes(with_few_pairs(rows, run), measures, run, grids)
    run.notes += run.labelling.notes(
        predicted=any(measure.predicts_numbers for measure in measures),
        compared=any(measure.compares_labels for measure in measures),
    )
    first = [STILL] if still else _undeclared(transform, measures, run)
    run.notes += [*first, *run.contents.notes(), *_missing(run), *cautions, *off]
    return rows


def _is_still(measure: Measure, run: Run, elements: int) -> bool:
    """Return whether a measure compares inputs that are equal for all samples."""
    moving = run.unmoved is not None and len(run.unmoved) < elements and Untransformed() in measure.probes
    return measure.needs_orbit and not run.moved and not moving


def _undeclared(transform: Transform, measures: Sequence[Measure], run: Run) -> list[str]:
    """Return a note if an element is the identity, but measures that leave the identity out do not know."""
    comparing = any(Untransformed() in measure.probes for measure in measures if measure.needs_orbit)
    unmoved = sorted(run.unmoved or ()) if comparing else []
    return [UNDECLARED.format(element=repr(transform.labels[j])) for j in unmoved[:1]]


def _missing(run: Run) -> list[str]:
    """Return a note if inputs contain NaN."""
    if not run.missing:
        return []
    return [
        f"{run.missing:,} of {run.samples:,} samples have NaN in their inputs; layers whose responses to "
        "them are finite include them"
    ]
