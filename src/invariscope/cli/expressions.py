"""Measures, transforms and plots on the command line: expressions, or references to users' transforms."""

from __future__ import annotations

from typing import TYPE_CHECKING

from invariscope.catalog.expressions import read_measures, read_plot
from invariscope.catalog.expressions import read_transform as read_expression
from invariscope.cli.references import is_reference, load_reference

if TYPE_CHECKING:
    from invariscope.transforms.base import Transform

__all__ = ["read_measures", "read_plot", "read_transform"]


def read_transform(text: str) -> Transform:
    """Return the transform given by an expression or by a reference `file.py:name`.

    A reference may name a transform, a list of callables on batches, or a function that returns either.

    Raises:
        ValueError, TypeError: as for `catalog.expressions.read_transform` and `load_reference`.
    """
    if not is_reference(text):
        return read_expression(text)
    from invariscope.transforms import as_transform

    return as_transform(load_reference(text))
