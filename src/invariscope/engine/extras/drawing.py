"""Say from which layers units were drawn."""

from __future__ import annotations

from invariscope.engine.state import Run


def drawing_notes(run: Run) -> list[str]:
    """Return a note if drawn units stand for the units of large layers."""
    drawn = {key for key, statistic in run.states if run.draw_of(key, statistic) is not None}
    if not drawn:
        return []
    counts = sorted({run.draws[key].count for key in drawn})
    number = " or ".join(f"{count:,}" for count in counts)
    layers = "1 large layer" if len(drawn) == 1 else f"each of {len(drawn)} large layers"
    return [
        f"{number} units were drawn from {layers}; intervals include the error that this causes "
        "(units='all' measures every unit)"
    ]
