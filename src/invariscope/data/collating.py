"""Apply a loader's `collate_fn` to samples without labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch.utils.data import default_collate

from invariscope.common.random_state import global_generators, put_back
from invariscope.common.samples import sample_digest
from invariscope.data.structured import split_item, with_label

_TRIED = 256  # items to search for two different labels


@dataclass(frozen=True)
class LabelledCollate:
    """Collate function that adds stand-in labels for the loader's function, and drops labels from the batch.

    The parts of a batch that change with the stand-in labels are the parts that hold labels.

    Args:
        collate: the loader's function.
        labels: name of the field that holds the labels, if there is one.
        first, second: two items of the data with different labels.
    """

    collate: Callable[[Any], Any]
    labels: str | None
    first: Any
    second: Any
    _left_out: list[frozenset[Any]] = field(default_factory=list, init=False, repr=False, compare=False)

    def __call__(self, samples: list[Any]) -> Any:
        """Return the batch of these samples without labels."""
        if not self._paired:
            try:
                return self.collate(samples)
            except (KeyError, AttributeError) as error:
                if "label" not in str(error) and str(self.labels) not in str(error):
                    raise
        if not self._left_out:
            self._left_out.append(self._label_parts(samples))
        return _without(self._batch(samples, self.first), self._left_out[0])

    @property
    def _paired(self) -> bool:
        """Whether items are (sample, label)."""
        return isinstance(self.first, tuple | list)

    def _batch(self, samples: list[Any], like: Any) -> Any:
        return self.collate([with_label(sample, like, self.labels) for sample in samples])

    def _label_parts(self, samples: list[Any]) -> frozenset[Any]:
        """Return names or positions of the parts of a batch that hold labels.

        Raises:
            ValueError: the whole batch changes with the labels.
        """
        batches = []
        for like in (self.first, self.second):
            with put_back(global_generators("cpu")):
                batches.append(_parts(self._batch(samples, like)))
        one, other = batches
        changed = frozenset(
            name for name in one if sample_digest(one[name]) != sample_digest(other.get(name))
        )
        if len(changed) == len(one):
            raise ValueError(
                "everything that the collate_fn of the loader returns depends on the labels, which are not "
                "passed to models: give preprocess=, a function from samples without labels to inputs"
            )
        return changed


def _parts(batch: Any) -> dict[Any, Any]:
    if isinstance(batch, Mapping):
        return dict(batch)
    return dict(enumerate(batch)) if type(batch) in (tuple, list) else {None: batch}


def _without(batch: Any, left_out: frozenset[Any]) -> Any:
    """Return a batch without some of its parts; if a tuple keeps only one entry, return that entry."""
    if not left_out:
        return batch
    kept = {name: part for name, part in _parts(batch).items() if name not in left_out}
    if isinstance(batch, Mapping):
        return kept
    return next(iter(kept.values())) if len(kept) == 1 else tuple(kept.values())


def with_labels(collate: Callable[[Any], Any] | None, items: Any, labels: Any) -> Callable[[Any], Any] | None:
    """Adapt a loader's collate function to samples without labels; unchanged if the items have no labels.

    Args:
        items: the dataset.
        labels: name of the field that holds the labels.
    """
    if collate is None or collate is default_collate:
        return collate
    first = items[0]
    label = split_item(first, labels)[1]
    if label is None:
        return collate
    known = sample_digest(label)
    others = (items[place] for place in range(1, min(len(items), _TRIED)))
    found = (item for item in others if sample_digest(split_item(item, labels)[1]) != known)
    second = next(found, None)
    return collate if second is None else LabelledCollate(collate, labels, first, second)
