"""Add a note on the layers that are measured on a random subset of their units."""

from __future__ import annotations

from invariscope.engine.state import Run


def drawing_notes(run: Run) -> list[str]:
    """Return a note on how many units were drawn from large layers; empty if none were."""
    drawn = {key for key, statistic in run.states if run.draw_of(key, statistic) is not None}
    if not drawn:
        return []
    counts = sorted({run.draws[key].count for key in drawn})
    number = " or ".join(f"{count:,}" for count in counts)
    layers = "1 large layer" if len(drawn) == 1 else f"each of {len(drawn)} large layers"
    return [
        f"{number} units were drawn from {layers}; intervals include the resulting sampling error "
        "(units='all' measures every unit)"
    ]
