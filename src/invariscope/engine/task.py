"""What to measure: a model, data, a transform and measures, with the options."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from invariscope.data.contents import Rereading
from invariscope.data.sources import Source
from invariscope.engine.options import Options
from invariscope.measures.base import Measure
from invariscope.readers.base import Reader
from invariscope.transforms.base import Transform


@dataclass(frozen=True, eq=False)
class Task:
    """A model, data, a transform and measures, with the options for measuring them.

    Args:
        model: as passed to `iv.measure`.
        reader: reads the model.
        rereading: compares the samples of all walks of the data.
    """

    model: Any
    reader: Reader
    source: Source
    transform: Transform
    measures: tuple[Measure, ...]
    options: Options
    rereading: Rereading = field(default_factory=Rereading)

    def of(self, model: Any, options: Options) -> Task:
        """Return the same task for another model."""
        return replace(self, model=model, reader=options.reader(model), options=options)
