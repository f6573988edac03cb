"""Transforms of inputs, and their actions on feature maps.

Every public class of this package's modules is exported here, so a new family is one new file. `make stubs`
lists the exports for editors.
"""

from __future__ import annotations

from typing import Any

from invariscope.common.registry import snake_case, unknown
from invariscope.transforms.base import TRANSFORMS, Transform
from invariscope.transforms.machinery.given import as_transform

__all__ = ["TRANSFORMS", "Transform", "as_transform"]


def __getattr__(name: str) -> Any:
    if name.startswith("_") or not name[:1].isupper():
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    classes = {cls.__name__: cls for cls in TRANSFORMS.classes().values()}
    if name not in classes:
        raise AttributeError(str(unknown("transform", snake_case(name), map(snake_case, classes))))
    return classes[name]


def __dir__() -> list[str]:
    return [*__all__, *(cls.__name__ for cls in TRANSFORMS.classes().values())]
