"""Convert what the user passed as a transform to a `Transform`."""

from __future__ import annotations

import inspect
from typing import Any

from invariscope.transforms.base import TRANSFORMS, Transform


def as_transform(obj: Any) -> Transform:
    """Convert any supported argument to a transform.

    Args:
        obj: a Transform (returned unchanged), a callable on batches or a list of them (converted to
            `Elements`), or the registry name of a family that needs no arguments.
    Raises:
        TypeError: a type that is not supported.
        ValueError: an unknown name (with the closest ones), or a family that needs arguments.

    >>> as_transform("quarter_turns").labels
    ('0°', '90°', '180°', '270°')
    >>> len(as_transform([lambda x: x, lambda x: -x]))
    2
    """
    if isinstance(obj, Transform):
        return obj
    if isinstance(obj, str):
        if "(" in obj:
            raise ValueError(f"a transform with arguments must be an object, not a string: give iv.{obj}")
        return _with_defaults(TRANSFORMS.get(obj))
    if isinstance(obj, type) and issubclass(obj, Transform):
        raise TypeError(f"a transform must be an instance, not a class: give {obj.__name__}(...).")
    if callable(obj) or isinstance(obj, list | tuple):
        return TRANSFORMS.get("elements")(obj)  # by name, since elements.py depends on this module
    raise TypeError(
        "a transform must be a Transform, a callable on batches, a list of callables, or a name; "
        f"got {type(obj).__name__}."
    )


def _with_defaults(family: type[Transform]) -> Transform:
    arguments = inspect.signature(family).parameters.values()
    needed = [a.name for a in arguments if a.default is a.empty and a.kind is not a.VAR_KEYWORD]
    if needed:
        raise ValueError(
            f"{family.__name__} has no default elements: it needs {', '.join(needed)}. "
            f"Give an object, {family.__name__}(...), instead of the name."
        )
    return family()
