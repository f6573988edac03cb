"""Which data sets the cells of a recipe read, and whether they are there."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from invariscope.lab.recipes.cells import Cell

SPLITS = ("train", "test")


def data_needed(cells: Sequence[Cell]) -> dict[str, tuple[str, ...]]:
    """Name to splits of every data set that the cells read, in the order in which they come up."""
    found: dict[str, list[str]] = {}
    for name, split in dict.fromkeys(pair for cell in cells for pair in cell.options.data_sets):
        found.setdefault(name, []).append(split)
    return {name: tuple(split for split in SPLITS if split in splits) for name, splits in found.items()}


def data_in_words(cells: Sequence[Cell]) -> str:
    """The data sets in a line: "mnist (train, test), cifar10 (test)"."""
    needed = data_needed(cells).items()
    return ", ".join(f"{name} ({', '.join(splits)})" for name, splits in needed) or "no data set"


def missing_data(cells: Sequence[Cell], data_dir: Path | None) -> list[str]:
    """Those of which some split's files are not there, without fetching any."""
    from invariscope.zoo.datasets import present

    needed = data_needed(cells).items()
    return [n for n, splits in needed if not all(present(n, split=s, data_dir=data_dir) for s in splits)]


def refuse_missing_data(cells: Sequence[Cell], data_dir: Path | None) -> None:
    """Raises a FileNotFoundError that names all data sets that are needed, before anything is run.

    Where no folder is given, what is missing is fetched first.
    """
    from invariscope.zoo.datasets import files

    try:
        for name, splits in data_needed(cells).items():
            for split in splits:
                files(name, split=split, data_dir=data_dir)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"these cells read {data_in_words(cells)}, and there are {error}") from error
