"""Tables in `.parquet` files."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

from invariscope.common.reading import refuse_irregular, refuse_large
from invariscope.data.files.arrays import most_memory
from invariscope.data.files.columns import chosen_columns, data_of_table, kind_of_column

_HUGGING_FACE = b"huggingface"


def read_parquet(paths: list[Path], name: str, inputs: str | None = None, labels: str | None = None) -> Any:
    """Return the data in one or several files with the same columns.

    Raises:
        ValueError: a damaged file, different columns, or columns that cannot be told apart.
        ImportError: pyarrow is missing.
    """
    parquet = _pyarrow()
    for path in paths:
        refuse_irregular(path)
    try:
        opened = [parquet.ParquetFile(path) for path in paths]
        schema = opened[0].schema_arrow
        kinds = {column.name: kind_of_column(column.type) for column in schema}
    except Exception as error:  # a damaged file can fail in any way
        raise _unreadable(name, error) from error
    choice = chosen_columns(kinds, name, inputs, labels)
    size = sum(_bytes(one, choice.columns) for one in opened)
    refuse_large(Path(name), size, most_memory())
    try:
        from pyarrow import concat_tables

        table = concat_tables([one.read(columns=choice.columns) for one in opened])
    except Exception as error:  # as above
        raise _unreadable(name, error) from error
    classes = _class_names(schema.metadata or {}, choice.labels)
    return data_of_table(table, choice, name, classes=classes, folder=paths[0].parent)


def _pyarrow() -> ModuleType:
    try:
        import pyarrow.parquet as parquet
    except ImportError as error:
        raise ImportError(
            f"reading .parquet files needs pyarrow: pip install invariscope[parquet] ({error})"
        ) from error
    return parquet


def _unreadable(name: str, error: Exception) -> ValueError:
    return ValueError(f"cannot read a table from {name} ({shorten(str(error), 200)})")


def _bytes(file: Any, columns: list[str]) -> int:
    """Return the bytes of the columns in memory, as the file declares them."""
    groups = (file.metadata.row_group(group) for group in range(file.metadata.num_row_groups))
    chunks = (group.column(place) for group in groups for place in range(group.num_columns))
    return sum(
        chunk.total_uncompressed_size for chunk in chunks if chunk.path_in_schema.split(".")[0] in columns
    )


def _class_names(metadata: dict[bytes, bytes], column: str | None) -> tuple[str, ...]:
    """Return the names of integer labels that Hugging Face's `to_parquet` stores; () if there are none."""
    try:
        features = json.loads(metadata.get(_HUGGING_FACE, b"{}"))["info"]["features"]
        names = features[column]["names"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return ()
    return tuple(map(str, names)) if isinstance(names, list) else ()
