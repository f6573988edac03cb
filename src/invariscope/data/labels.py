"""Targets of the inputs: labels (integers or words), numbers to be predicted, and other targets."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from invariscope.common.registry import unknown
from invariscope.common.wording import listed
from invariscope.data.arrays import is_array, is_table, refuse_not_dense
from invariscope.statistics.class_labels import NEEDED

# Kinds of targets. Only the first three are kept, as a (sample,) tensor.
CLASS, NUMBER, WORD, OTHER, NONE = "integers", "numbers", "words", "other targets", "none"

_WRAPPERS = 8  # largest nesting of loaders and subsets around a dataset

NO_ACCURACY = "no accuracy"
"""How notes begin that say why predictions were not compared with labels."""


class Targets(NamedTuple):
    """Targets as the user gave them: kind, (sample,) values, count, type and shape, and words by number."""

    kind: str
    values: Tensor | None = None
    length: int | None = None
    came: str = ""
    words: Mapping[int, str] = {}


@dataclass(frozen=True)
class Labelling:
    """Interpretation of a data source's labels: class names, and the order of the model's outputs.

    Labels that are words are numbered by their digests, so that results do not depend on the order in which
    words occur. The model output for a word is known only if the data or the user provide the class names in
    the order of the outputs.

    Args:
        order: class names in the order of the model's outputs; () if unknown.
        given: whether the class names come from the user rather than from the data.
        words: words seen so far, by number.
        met: kinds of targets seen so far, with type and shape as text.
    """

    order: tuple[str, ...] = ()
    given: bool = False
    words: dict[int, str] = field(default_factory=dict)
    met: dict[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, data: Any) -> Labelling:
        """Return the labelling of data, with the data's own class names, if any."""
        return cls(class_names(data))

    def named(self, classes: Sequence[str] | None) -> Labelling:
        """Return the same labels with these class names instead of the data's own."""
        return self if classes is None else replace(self, order=tuple(classes), given=True)

    @property
    def classes(self) -> tuple[str, ...] | None:
        """Class names in the order of the outputs or, for words without an order, sorted."""
        return self.order or tuple(sorted(self.words.values())) or None

    def read(self, targets: Any, inputs: int, *, whole: bool = False) -> Tensor | None:
        """Return (sample,) labels: integers, the numbers of words, or floats; None for anything else.

        Args:
            targets: the targets of these inputs.
            inputs: number of inputs.
            whole: whether these are the targets of all samples, not of one batch.
        Raises:
            ValueError: targets of a different length, labels missing for some samples, or labels of two
                kinds.
        """
        found = read_targets(targets, whole=whole)
        if found.length is not None and found.length != inputs:
            shape = "" if found.kind != OTHER else f" ({found.came})"
            raise ValueError(
                f"{inputs} inputs came with {found.length} labels{shape}; give one label per input. In a "
                "tuple of two arrays, the second holds the targets; give batches of inputs as a list, and "
                "samples of several inputs as mappings, [{'a': x, 'b': y}, ...]"
            )
        self._meet(found)
        return found.values

    def _meet(self, found: Targets) -> None:
        self.met.setdefault(found.kind, found.came)
        self.words.update(found.words)
        if len(self.met) > 1:
            if NONE in self.met:
                raise ValueError(
                    "some batches come with labels and some without; give labels for all or for none"
                )
            kinds = " and ".join(f"{kind} ({came})" for kind, came in sorted(self.met.items()))
            raise ValueError(f"labels are of two kinds: {kinds}; give labels of one kind")

    def numbers(self, labels: Tensor | None) -> Tensor | None:
        """Convert words to positions in the class names, if these are known; return other labels unchanged.

        Raises:
            ValueError: a label that is not among the class names.
        """
        if labels is None or labels.is_floating_point() or not self.order:
            return labels
        if self.words:
            values, inverse = np.unique(labels.numpy(), return_inverse=True)
            places = np.array([self._place(self.words[value]) for value in values.tolist()], np.int64)
            return torch.from_numpy(places[inverse])
        if self.given and len(labels) and int(labels.max()) >= len(self.order):
            raise ValueError(
                f"classes= names {len(self.order)} classes (0 to {len(self.order) - 1}), but the labels run "
                f"to {int(labels.max())}; name every class, in the order of the model's outputs"
            )
        return labels

    def _place(self, word: str) -> int:
        if word not in self.order:
            whose = "classes=" if self.given else "the data's own class names"
            hint = f"This label is not in {whose}; name every class, in the order of the outputs."
            raise unknown("class", word, self.order, hint=hint)
        return self.order.index(word)

    def name(self, label: int) -> str:
        """Return the name of a class."""
        if self.words:
            return self.words[label]
        return self.order[label] if 0 <= label < len(self.order) else str(label)

    def ranked(self, labels: Iterable[int]) -> list[int]:
        """Sort labels in the order of the class names; if the order is unknown, sort words alphabetically."""
        if not self.words:
            return sorted(labels)
        return sorted(labels, key=lambda n: self._place(self.words[n]) if self.order else self.words[n])

    @property
    def names(self) -> int | None:
        """Number of class names, if the labels are words that refer to outputs by these names."""
        return len(self.order) if self.words and self.order else None

    @property
    def unaligned(self) -> str:
        """Why labels cannot be compared with a model's outputs; "" if they can."""
        if OTHER in self.met:
            return (
                f"{NEEDED} to be compared with the model's outputs; got {self.met[OTHER]}. Otherwise leave "
                "out the targets, and the measures that need them"
            )
        if not self.words or self.order:
            return ""
        shown = listed(map(repr, sorted(self.words.values())), limit=3)
        return (
            f"the labels are words ({shown}), and it is unknown which output of the model belongs to which "
            "word: name the classes in the order of the outputs, classes=[...] (--classes cat,dog on the "
            "command line; --classes sorted for the alphabetical order of torchvision's ImageFolder), or "
            "pass class numbers"
        )

    def check(self, labels: Tensor | None, *, by_class: bool, compared: bool) -> None:
        """Raise ValueError if strata or a measure need labels and there are none."""
        what = "by_class=True" if by_class else "one of the measures"
        if self.numbers(labels) is not None or not (by_class or compared):
            return
        if OTHER in self.met:
            raise ValueError(f"{what} needs class labels: {NEEDED}; got {self.met[OTHER]}")
        raise ValueError(f"{what} needs labels: give data as (inputs, labels)")

    def notes(self, *, predicted: bool, compared: bool) -> list[str]:
        """Return notes on targets that no measure used.

        Args:
            predicted: whether a measure compares predictions with numbers.
            compared: whether a measure compares predictions with classes.
        """
        if OTHER in self.met:
            return [f"the targets were not used: {NEEDED}; got {self.met[OTHER]}"]
        if NUMBER in self.met and not predicted:
            return [f"the targets were not used: {NEEDED}; got numbers ({self.met[NUMBER]})"]
        return [f"{NO_ACCURACY}: {self.unaligned}"] if compared and self.unaligned else []


def read_targets(targets: Any, *, whole: bool = True) -> Targets:
    """Classify targets as integers, words, numbers or others; see `Labelling.read`."""
    if targets is None:
        return Targets(NONE)
    if is_table(targets) and tuple(targets.shape[1:]) == (1,):  # a table with a single column
        targets = targets.to_numpy()[:, 0]
    if missing := int(np.ma.getmaskarray(targets).sum()) if isinstance(targets, np.ma.MaskedArray) else 0:
        raise ValueError(
            f"labels are masked for {missing} of {targets.size} samples: leave those samples out"
        )
    if isinstance(targets, Tensor):
        refuse_not_dense(targets, "labels")
    values = targets.detach().cpu() if isinstance(targets, Tensor) else _array(targets)
    if values is None:
        return Targets(OTHER, came=type(targets).__name__)
    if values.ndim == 0 and values.dtype == object:
        return Targets(OTHER, came=type(targets).__name__)
    if values.ndim == 0:
        kind = type(targets).__name__
        raise ValueError(f"{NEEDED}; got a single {kind} for all samples: {str(targets)[:40]}")
    if values.ndim == 1:
        return _of_tensor(values) if isinstance(values, Tensor) else _of_array(values)
    return Targets(OTHER, None, len(values), described(values, whole=whole))


def _of_tensor(values: Tensor) -> Targets:
    came = str(values.dtype).removeprefix("torch.")
    if values.is_floating_point():
        return Targets(NUMBER, values.clone(), len(values), came)
    if values.is_complex():
        return Targets(OTHER, None, len(values), f"{came} of shape ({len(values)},)")
    return Targets(CLASS, values.long(), len(values), came)


def _of_array(array: np.ndarray) -> Targets:
    if array.dtype == object:
        return _of_objects(array)
    if array.dtype.kind == "S":
        return _of_words(np.char.decode(array, "utf-8", "backslashreplace").tolist())
    if array.dtype.kind == "U":
        return _of_words(array.tolist())
    if array.dtype.kind in "iub":
        return Targets(CLASS, torch.from_numpy(array.astype(np.int64)), len(array), str(array.dtype))
    if array.dtype.kind == "f":
        native = np.float32 if array.dtype.itemsize <= 4 else np.float64
        return Targets(NUMBER, torch.from_numpy(array.astype(native)), len(array), str(array.dtype))
    return Targets(OTHER, None, len(array), f"{array.dtype} of shape {array.shape}")


def _of_objects(array: np.ndarray) -> Targets:
    if all(isinstance(entry, str) for entry in array):
        return _of_words(list(map(str, array)))
    missing = sum(map(_is_missing, array))
    if missing == len(array):
        return Targets(NONE)
    if missing:
        raise ValueError(
            f"labels are missing (None or NaN) for {missing} of {len(array)} samples; leave those samples out"
        )
    kinds = sorted({type(entry).__name__ for entry in array})
    if all(isinstance(entry, int | np.integer) for entry in array):
        return Targets(CLASS, torch.from_numpy(array.astype(np.int64)), len(array), kinds[0])
    return Targets(OTHER, None, len(array), f"{' and '.join(kinds)} objects")


def _is_missing(entry: Any) -> bool:
    none = entry is None or type(entry).__name__ in ("NAType", "NaTType")
    return none or (isinstance(entry, float | np.floating) and bool(np.isnan(entry)))


def _of_words(words: list[str]) -> Targets:
    numbers = [word_number(word) for word in words]
    known = dict(zip(numbers, words, strict=True))
    return Targets(WORD, torch.tensor(numbers, dtype=torch.int64), len(words), "str", known)


@lru_cache(maxsize=1 << 16)
def word_number(word: str) -> int:
    """Return the number of a word: 63 bits of its digest.

    >>> word_number("cat") == word_number("cat") != word_number("dog")
    True
    """
    digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def _array(targets: Any) -> np.ndarray | None:
    """Convert anything but a tensor to an array; None if that fails."""
    if isinstance(targets, dict):
        return None
    if isinstance(targets, list | tuple) and any(isinstance(entry, str) for entry in targets):
        # NumPy would convert None, NaN and numbers to words if there are words among them.
        return np.fromiter(targets, object, len(targets))
    try:
        return np.asarray(targets)
    except (ValueError, TypeError, RuntimeError):
        return None


def described(values: Tensor | np.ndarray, *, whole: bool = True) -> str:
    """Describe the type and shape of targets, and how to convert them to labels.

    >>> described(torch.zeros(40, 1, dtype=torch.long))
    'int64 of shape (40, 1): use labels[:, 0]'
    """
    rows = str(len(values)) if whole else "n"
    shape = ", ".join([rows, *map(str, values.shape[1:])])
    return f"{str(values.dtype).removeprefix('torch.')} of shape ({shape}){_remedy(values)}"


def _remedy(values: Tensor | np.ndarray) -> str:
    if values.ndim != 2 or len(values) == 0:
        return ""
    if values.shape[1] == 1:
        return ": use labels[:, 0]"
    if isinstance(values, np.ndarray) and values.dtype.kind not in "iufb":
        return ""
    marked = (values == 1).sum(1)
    one_hot = bool((marked == 1).all()) and bool(((values == 0).sum(1) + marked == values.shape[1]).all())
    return ", which is one-hot: use labels.argmax(1)" if one_hot else ""


def one_target(target: Any) -> Any:
    """Return a sample's target as the targets of a batch of one sample."""
    if target is None:
        return None
    return target[None] if isinstance(target, Tensor | np.ndarray) else [target]


def is_pair(data: Any) -> bool:
    """Return whether data are (inputs, targets): a tuple of two entries, the first an array."""
    return isinstance(data, tuple) and len(data) == 2 and is_array(data[0])


def refuse_listed_pair(data: Any) -> None:
    """Raise ValueError for a list [inputs, labels], which would be read as two batches."""
    if not isinstance(data, list) or len(data) != 2 or not is_array(data[0]):
        return
    inputs, labels = data
    plain = isinstance(labels, list) and all(isinstance(v, str | int | float | np.generic) for v in labels)
    axes = 1 if plain else getattr(labels, "ndim", inputs.ndim)
    if axes != inputs.ndim and inputs.ndim and axes and len(labels) == len(inputs):
        raise ValueError("a list is read as batches of inputs; pass (inputs, labels) as a tuple")


def class_names(data: Any) -> tuple[str, ...]:
    """Return the ordered class names of a data object or of the object that it wraps; () if it has none."""
    for _ in range(_WRAPPERS):
        found = _ordered(getattr(data, "class_to_idx", None)) or _listed(getattr(data, "classes", None))
        data = getattr(data, "dataset", None)
        if found or data is None:
            return found
    return ()


def _ordered(numbers: Any) -> tuple[str, ...]:
    """Return the names in torchvision's `class_to_idx`, if each number has exactly one."""
    if not isinstance(numbers, Mapping) or set(numbers.values()) != set(range(len(numbers))):
        return ()
    return _unique(sorted(numbers, key=lambda name: numbers[name]))


def _listed(names: Any) -> tuple[str, ...]:
    if not isinstance(names, list | tuple | np.ndarray):
        return ()
    return _unique(names)


def _unique(names: Iterable[Any]) -> tuple[str, ...]:
    """Return names as text, joining synonyms and numbering names that several classes share.

    >>> _unique([("crane",), ("maillot", "tank suit"), ("crane",)])
    ('crane (0)', 'maillot, tank suit', 'crane (2)')
    """
    texts = [", ".join(map(str, name)) if isinstance(name, list | tuple) else str(name) for name in names]
    often = Counter(texts)
    return tuple(f"{text} ({k})" if often[text] > 1 else text for k, text in enumerate(texts))
