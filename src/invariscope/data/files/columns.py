"""Choose the columns of inputs and labels, and convert columns of an Arrow table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invariscope.common.reading import read_bytes
from invariscope.common.registry import unknown
from invariscope.common.wording import listed
from invariscope.data.files.held import INPUT_NAMES, LABEL_NAMES, FileData, Texts
from invariscope.data.image_set import Encoded, ImageSet

LABELS = (*LABEL_NAMES, "label", "target", "class", "cls", "fine_label")
_INPUTS = (*INPUT_NAMES, "image", "img", "pixel_values", "text", "sentence", "audio")
IMAGE, TEXT, ARRAY, NUMBER, OTHER = "image", "text", "array", "number", "other"


@dataclass(frozen=True)
class Choice:
    """Columns of the inputs, and the column of the labels or None."""

    inputs: tuple[str, ...]
    labels: str | None

    @property
    def columns(self) -> list[str]:
        """All columns."""
        return [*self.inputs, *([] if self.labels is None else [self.labels])]


def chosen_columns(kinds: Mapping[str, str], what: str, inputs: str | None, labels: str | None) -> Choice:
    """Return the columns to read.

    Args:
        kinds: kind of each column, by name.
        what: name of the data for messages.
        inputs, labels: the names given by the user.
    Raises:
        ValueError: no such column, or several candidates.

    >>> chosen_columns({"image": "image", "label": "number", "id": "number"}, "data", None, None)
    Choice(inputs=('image',), labels='label')
    """
    for name in (inputs, labels):
        if name is not None and name not in kinds:
            raise unknown("column", name, kinds)
    if labels is None:
        found = [name for name in kinds if name.lower() in LABELS and name != inputs]
        if len(found) > 1:
            raise ValueError(f"{what} has the columns {listed(map(repr, found))}: name {_OPTION}")
        labels = found[0] if found else None
    if inputs is not None:
        return Choice((inputs,), labels)
    rest = {name: kind for name, kind in kinds.items() if name != labels}
    usual = [name for name in rest if name.lower() in _INPUTS and rest[name] != NUMBER]
    likely = usual or _first_kind(rest)
    if likely and (len(likely) == 1 or rest[likely[0]] == NUMBER):
        return Choice(tuple(likely), labels)
    columns = listed([f"{name!r} ({kind})" for name, kind in kinds.items()], limit=8)
    raise ValueError(
        f"it is unclear which column of {what} holds the inputs: it has {columns}. Name it: --inputs-from "
        "NAME, or iv.read_data(..., inputs='NAME')"
    )


_OPTION = "the one with the labels: --labels-from NAME, or iv.read_data(..., labels='NAME')"


def _first_kind(kinds: Mapping[str, str]) -> list[str]:
    """Return the columns of the first kind, from images to numbers, that occurs."""
    for kind in (IMAGE, ARRAY, TEXT, NUMBER):
        if found := [name for name in kinds if kinds[name] == kind]:
            return found
    return []


def kind_of_column(kind: Any) -> str:
    """Return the kind of the values of an Arrow type."""
    import pyarrow.types as types

    if types.is_struct(kind):
        names = {kind.field(place).name for place in range(kind.num_fields)}
        return IMAGE if names == {"bytes", "path"} else OTHER
    if types.is_binary(kind) or types.is_large_binary(kind):
        return IMAGE
    if types.is_dictionary(kind):
        return kind_of_column(kind.value_type)
    if types.is_string(kind) or types.is_large_string(kind):
        return TEXT
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return NUMBER
    inner = _inner(kind)
    return ARRAY if inner is not None and kind_of_column(inner) in (NUMBER, ARRAY) else OTHER


def _inner(kind: Any) -> Any:
    """Return the type of a list's entries; None for other types."""
    import pyarrow.types as types

    if hasattr(kind, "storage_type"):  # such as tensors, or the arrays of Hugging Face data sets
        return _inner(kind.storage_type)
    lists = (types.is_list, types.is_large_list, types.is_fixed_size_list)
    return kind.value_type if any(test(kind) for test in lists) else None


def data_of_table(
    table: Any,
    choice: Choice,
    name: str,
    *,
    classes: tuple[str, ...] = (),
    folder: Path | None = None,
) -> Any:
    """Return the data in the chosen columns of an Arrow table.

    Args:
        table: the table.
        choice: the columns.
        name: name of the data.
        classes: names of integer labels, if known.
        folder: folder to which paths of images in the table are relative.
    Raises:
        ValueError: no rows, missing values, or arrays of different shapes.
    """
    if not table.num_rows:
        raise ValueError(f"{name} is empty; give at least two samples")
    labels = None if choice.labels is None else _labels(table.column(choice.labels), choice.labels)
    classes = classes if labels is not None and not isinstance(labels[0], str) else ()
    first = choice.inputs[0]
    kind = kind_of_column(table.schema.field(first).type)
    if kind == IMAGE:
        return ImageSet(ColumnBytes(table.column(first), name, folder), name, labels, classes)
    if kind == TEXT:
        texts = Texts(_complete(table.column(first), first).to_pylist(), name, classes)
        return texts if labels is None else (texts, labels)
    if kind == OTHER:
        raise ValueError(
            f"column {first!r} of {name} holds {table.schema.field(first).type}, which cannot be inputs"
        )
    parts = [_array(table.column(column), column) for column in choice.inputs]
    inputs = np.stack(parts, 1) if kind == NUMBER else parts[0]
    return FileData.of(name, inputs, None if labels is None else np.asarray(labels), classes)


@dataclass(frozen=True, eq=False)
class ColumnBytes(Encoded):
    """Image files in a column of bytes, or of structs with bytes or a path."""

    column: Any
    name: str
    folder: Path | None = None

    def __len__(self) -> int:
        return len(self.column)

    def read(self, place: int) -> bytes:
        """Return the bytes of an image."""
        value = self.column[place].as_py()
        if isinstance(value, Mapping):
            path = value["path"]
            value = value["bytes"]
            if value is None and path is not None:
                return read_bytes((self.folder or Path()) / path)
        if value is None:
            raise ValueError(f"{self.where(place)} has no image; leave that row out")
        return value

    def where(self, place: int) -> str:
        """Return the row of an image."""
        return f"row {place} of {self.name}"


def _complete(column: Any, name: str) -> Any:
    if column.null_count:
        raise ValueError(
            f"column {name!r} has no value in {column.null_count:,} of {len(column):,} rows; fill them, or "
            "leave those rows out"
        )
    return column


def _labels(column: Any, name: str) -> list[Any]:
    kind = kind_of_column(column.type)
    if kind not in (NUMBER, TEXT):
        raise ValueError(f"column {name!r} cannot hold labels, because its values are {column.type}")
    return _complete(column, name).to_pylist()


def _array(column: Any, name: str) -> np.ndarray:
    """Return the values of a column of numbers, or of equally nested lists of numbers."""
    values = _complete(column, name).combine_chunks()
    shape: Sequence[int] = (len(values),)
    kind = values.type
    if hasattr(kind, "storage_type"):
        shape, values = (*shape, *_own_shape(kind)), values.storage
    while _inner(values.type) is not None:
        lengths = set(_lengths(values))
        if len(lengths) > 1:
            raise ValueError(
                f"column {name!r} holds lists of {min(lengths)} to {max(lengths)} numbers; give all the "
                "same length"
            )
        flat = values.flatten()
        if not hasattr(kind, "shape"):
            shape = (*shape, lengths.pop())
        values = _complete(flat, name)
    return values.to_numpy(zero_copy_only=False).reshape(shape)


def _own_shape(kind: Any) -> Iterable[int]:
    """Return the shape that an extension type declares; () if the lengths of its lists give it."""
    return tuple(getattr(kind, "shape", ()))


def _lengths(values: Any) -> list[int]:
    import pyarrow.compute as compute
    import pyarrow.types as types

    if types.is_fixed_size_list(values.type):
        return [values.type.list_size]
    # pyarrow makes these functions when it is imported.
    return compute.unique(compute.list_value_length(values)).to_pylist()  # type: ignore[attr-defined]
