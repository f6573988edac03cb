"""Walk classes in turn, a few at a time, to limit the memory that many classes take."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from invariscope.data.window import Window
from invariscope.engine.assemble import Dead, LayerStates, References, class_labels, measures_of_layers
from invariscope.engine.state import Run, Turned
from invariscope.engine.task import Task
from invariscope.statistics.class_labels import class_numbers


@dataclass(frozen=True, eq=False)
class Turns:
    """What is done with classes when all of their samples have been walked.

    Args:
        references, dead: see `assembled`.
    """

    task: Task
    references: References = field(default_factory=dict)
    dead: Dead = field(default_factory=dict)

    def finish(self, run: Run) -> None:
        """Compute the values of the classes in the states, and merge these into the sums of all samples."""
        turned = run.turned
        assert turned is not None
        labels = class_labels(run)
        for key, measures in measures_of_layers(self.task, run).items():
            if key in run.aliases:  # the parts of the layer that it repeats are shown for it
                continue
            layer = LayerStates(run, key, self.task.transform, self.references, self.dead)
            parts, means = turned.parts.setdefault(key, {}), turned.means.setdefault(key, {})
            layer.add_classes(measures, labels, parts, means)
        run.strata.number({number: number for number in range(turned.at_once)})
        for key in list(run.states):
            state, total, buckets = run.states.pop(key), turned.total.get(key), run.strata_of(*key).buckets
            if len(state.counts) < buckets:  # the last classes may be fewer
                key[1].enlarge(state, buckets)
            turned.total[key] = state if total is None else key[1].merge(total, state)
            if key[1].first_samples:
                run.states[key] = key[1].restarted(turned.total[key], classes=False)

    def end(self, run: Run) -> None:
        """Replace the states by the sums over all samples, of the layers that were read to the end."""
        assert run.turned is not None
        left_out = run.inapplicable.keys() | {key for key in run.turned.total if key[0] in run.withdrawn}
        run.states.update({key: s for key, s in run.turned.total.items() if key not in left_out})
        run.turned.total.clear()


def turns_of(window: Window, turned: Turned) -> Iterator[tuple[dict[int, int], np.ndarray]]:
    """Yield the classes of each turn, numbered, with the positions of their samples."""
    assert window.labels is not None
    labels, size = class_numbers(window.labels).cpu().numpy(), turned.at_once
    turn_of = {value: place // size for place, value in enumerate(turned.classes)}
    values, inverse = np.unique(labels, return_inverse=True)
    turns = np.array([turn_of[value] for value in values.tolist()])[inverse]
    order = np.argsort(turns, kind="stable")
    edges = np.searchsorted(turns[order], np.arange(-(-len(turned.classes) // size) + 1))
    for turn, (low, high) in enumerate(pairwise(edges)):
        own = turned.classes[turn * size : (turn + 1) * size]
        yield {value: number for number, value in enumerate(own)}, order[low:high]
