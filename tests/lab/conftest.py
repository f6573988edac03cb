"""A tiny campaign of one training and its measurements."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

TINY = Path(__file__).with_name("tiny.toml")


@pytest.fixture
def steps(tmp_path) -> Callable[..., Path]:
    """Write a campaign of the tiny recipe, with texts of the recipe replaced."""

    def write(*changes: tuple[str, str], cells: str = '["nv/*"]') -> Path:
        text = TINY.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new, 1)
        (tmp_path / "tiny.toml").write_text(text)
        step = f'[[steps]]\nrecipe = "{tmp_path / "tiny.toml"}"\nworth = 2\ncells = {cells}\n'
        (tmp_path / "steps.toml").write_text(step)
        return tmp_path / "steps.toml"

    return write
