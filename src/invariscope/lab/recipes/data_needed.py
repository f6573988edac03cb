"""The data sets that the cells of a recipe read, and whether they are available."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invariscope.lab.recipes.cells import Cell

SPLITS = ("train", "test")


def data_needed(cells: Sequence[Cell]) -> dict[str, tuple[str, ...]]:
    """Return the splits of each data set that the cells read, by name, in order of appearance."""
    found: dict[str, list[str]] = {}
    for name, split in dict.fromkeys(pair for cell in cells for pair in cell.options.data_sets):
        found.setdefault(name, []).append(split)
    return {name: tuple(split for split in SPLITS if split in splits) for name, splits in found.items()}


def data_in_words(cells: Sequence[Cell]) -> str:
    """Describe the data sets in one line: "mnist (train, test), cifar10 (test)"."""
    needed = data_needed(cells).items()
    return ", ".join(f"{name} ({', '.join(splits)})" for name, splits in needed) or "no data set"


def missing_data(cells: Sequence[Cell], data_dir: Path | None) -> list[str]:
    """Return the data sets whose files are not all present, without downloading any."""
    from invariscope.zoo.datasets import present

    needed = data_needed(cells).items()
    return [n for n, splits in needed if not all(present(n, split=s, data_dir=data_dir) for s in splits)]


def refuse_missing_data(cells: Sequence[Cell], data_dir: Path | None) -> None:
    """Raise FileNotFoundError if a data set is missing, naming all data sets that the cells need.

    Without `data_dir`, missing data sets are downloaded first.
    """
    from invariscope.zoo.datasets import files

    try:
        for name, splits in data_needed(cells).items():
            for split in splits:
                files(name, split=split, data_dir=data_dir)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"these cells read {data_in_words(cells)}: {error}") from error
