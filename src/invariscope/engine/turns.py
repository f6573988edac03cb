"""Walk classes one after the other, so that memory does not grow with their number."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from invariscope.data.window import Window
from invariscope.engine.assemble import Dead, LayerStates, References, class_label, measures_of_layers
from invariscope.engine.state import Run
from invariscope.engine.task import Task
from invariscope.statistics.class_labels import class_numbers


@dataclass(frozen=True, eq=False)
class Turns:
    """What is done with a class when all of its samples have been walked.

    Args:
        references, dead: see `assembled`.
    """

    task: Task
    references: References = field(default_factory=dict)
    dead: Dead = field(default_factory=dict)

    def finish(self, run: Run, value: int) -> None:
        """Compute the values of a class from the states, and merge these into the sums of all samples."""
        turned = run.turned
        assert turned is not None
        for key, measures in measures_of_layers(self.task, run).items():
            if key in run.aliases:  # the parts of the layer that it repeats are shown for it
                continue
            layer = LayerStates(run, key, self.task.transform, self.references, self.dead)
            parts, means = turned.parts.setdefault(key, {}), turned.means.setdefault(key, {})
            layer.add_class(measures, None, class_label(run, value), parts, means)
        for key in list(run.states):
            state, total = run.states.pop(key), turned.total.get(key)
            turned.total[key] = state if total is None else key[1].merge(total, state)

    def end(self, run: Run) -> None:
        """Replace the states by the sums over all samples, of the layers that were read to the end."""
        assert run.turned is not None
        left_out = run.inapplicable.keys() | {key for key in run.turned.total if key[0] in run.withdrawn}
        run.states.update({key: s for key, s in run.turned.total.items() if key not in left_out})
        run.turned.total.clear()


def class_members(window: Window, classes: list[int]) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the classes with the positions of their samples."""
    assert window.labels is not None
    labels = class_numbers(window.labels).cpu().numpy()
    order = np.argsort(labels, kind="stable")
    lows, highs = (np.searchsorted(labels[order], classes, side=side) for side in ("left", "right"))
    for value, low, high in zip(classes, lows, highs, strict=True):
        yield value, order[low:high]
