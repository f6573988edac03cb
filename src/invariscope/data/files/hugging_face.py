"""Data sets of the Hugging Face package `datasets`, from the hub or from a folder."""

from __future__ import annotations

from pathlib import Path
from textwrap import shorten
from types import ModuleType
from typing import Any

from invariscope.common.registry import unknown
from invariscope.data.files.columns import OTHER, chosen_columns, data_of_table, kind_of_column

_TEST = "test"
_MEDIA = ("Audio", "Video", "Pdf")


def read_disk(folder: Path, inputs: str | None, labels: str | None, split: str | None) -> Any:
    """Return the data in a folder written by `save_to_disk`.

    Raises:
        ValueError: a damaged folder, an unknown split, or columns that cannot be told apart.
        ImportError: datasets is missing.
    """
    library = _datasets(str(folder))
    try:
        found = library.load_from_disk(str(folder))
    except Exception as error:  # a damaged folder can fail in any way
        raise ValueError(f"cannot read a data set from {folder} ({_short(error)})") from error
    return _data(_split(found, str(folder), split), folder.absolute().name, inputs, labels, folder)


def read_hub(name: str, inputs: str | None, labels: str | None, split: str | None) -> Any:
    """Return a data set from the hub, `NAME` or `NAME:CONFIGURATION`, or from the cache of earlier downloads.

    Raises:
        OSError: it cannot be loaded, for example without a network.
        ValueError: an unknown split, or columns that cannot be told apart.
        ImportError: datasets is missing.
    """
    library = _datasets(name)
    place, _, configuration = name.partition(":")
    try:
        found = library.load_dataset(place, configuration or None)
    except Exception as error:  # of the network, the hub, or the data set's files
        raise OSError(
            f"cannot load the data set {name} from the Hugging Face hub ({type(error).__name__}: "
            f"{_short(error)}). To work offline, save it on a machine with network access, "
            "load_dataset(...).save_to_disk('folder'), and pass that folder"
        ) from error
    return _data(_split(found, name, split), name, inputs, labels, None)


def _short(error: Exception) -> str:
    return shorten(str(error) or "no message", 200)


def _datasets(name: str) -> ModuleType:
    try:
        import datasets  # type: ignore[import-not-found]
    except ImportError as error:
        raise ImportError(
            f"{name} is a Hugging Face data set, which needs the package datasets: pip install "
            f"invariscope[datasets] ({error})"
        ) from error
    return datasets


def _split(found: Any, name: str, split: str | None) -> Any:
    """Return the requested split of a data set; by default "test", or the only one."""
    if not isinstance(found, dict):
        if split is not None:
            raise ValueError(f"{name} has no splits; leave out --split (split=)")
        return found
    wanted = split or (next(iter(found)) if len(found) == 1 else _TEST)
    if wanted in found:
        return found[wanted]
    if split is None:
        raise ValueError(f"{name} has the splits {', '.join(found)}: choose one with --split (split=)")
    raise unknown("split", wanted, list(found))


def _data(found: Any, name: str, inputs: str | None, labels: str | None, folder: Path | None) -> Any:
    features, schema = found.features, found.features.arrow_schema
    # In Arrow, recordings and videos have the same type as images.
    media = {column for column, feature in features.items() if type(feature).__name__ in _MEDIA}
    kinds = {one.name: OTHER if one.name in media else kind_of_column(one.type) for one in schema}
    choice = chosen_columns(kinds, name, inputs, labels)
    if media & set(choice.inputs):
        raise ValueError(
            f"column {choice.inputs[0]!r} of {name} holds media that are not decoded: load them in your "
            "own function, and pass file.py:function"
        )
    table = found.select_columns(choice.columns).with_format("arrow")[:]
    classes = getattr(features.get(choice.labels), "names", None) or ()
    return data_of_table(table, choice, name, classes=tuple(map(str, classes)), folder=folder)
