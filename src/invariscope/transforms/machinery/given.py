"""What a user may write for a transform."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, cast

from torch import Tensor

from invariscope.transforms.base import TRANSFORMS, Transform


def as_transform(obj: Any) -> Transform:
    """A transform from whatever a user may write for one.

    Args:
        obj: a Transform (returned as it is), a callable on batches or a list of them (their `Elements`), or
            the registry name of a family that needs no arguments.
    Raises:
        TypeError: nothing of the kind.
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
            raise ValueError(f"a transform with arguments is given as an object: iv.{obj}, not as text")
        return _with_defaults(TRANSFORMS.get(obj))
    if isinstance(obj, type) and issubclass(obj, Transform):
        raise TypeError(
            f"{obj.__name__} is a family: give one of its transforms, such as {obj.__name__}(...)."
        )
    if callable(obj) or isinstance(obj, list | tuple):
        from invariscope.transforms.elements import Elements

        return Elements(
            cast("list[Callable[[Tensor], Tensor]]", obj if isinstance(obj, list | tuple) else [obj])
        )
    raise TypeError(
        f"a transform is a Transform, a callable on batches, a list of callables, or a name; "
        f"got {type(obj).__name__}."
    )


def _with_defaults(family: type[Transform]) -> Transform:
    arguments = inspect.signature(family).parameters.values()
    needed = [a.name for a in arguments if a.default is a.empty and a.kind is not a.VAR_KEYWORD]
    if needed:
        raise ValueError(
            f"{family.__name__} has no default elements: it needs {', '.join(needed)}. "
            f"Build it in Python, {family.__name__}(...), and give the object instead of its name."
        )
    return family()
