"""A tiny recipe, and an output folder with all of its cells."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from invariscope.lab import recipes

TINY = Path(__file__).with_name("tiny.toml")


@pytest.fixture
def recipe(tmp_path) -> Callable[..., Path]:
    """Write the tiny recipe with texts replaced, each of which must occur."""

    def write(*changes: tuple[str, str]) -> Path:
        text = TINY.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "tiny.toml").write_text(text)
        return tmp_path / "tiny.toml"

    return write


@pytest.fixture(scope="session")
def finished(tmp_path_factory) -> Path:
    """Return an output folder with every cell of the quick scale; copy it before changing anything."""
    out = tmp_path_factory.mktemp("finished")
    store = recipes.Store(out, recipes.load(str(TINY)))
    for cell in store.plan.cells:
        recipes.run_cell(store, cell, threads=1, log=lambda text: None)
    return out


@pytest.fixture
def out(finished, tmp_path) -> Path:
    """Return a copy of the finished folder."""
    shutil.copytree(finished, tmp_path / "out")
    return tmp_path / "out"
