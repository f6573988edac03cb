"""What there is, and what it means: the registries as a person sees them."""

from __future__ import annotations

from typing import Any

from invariscope.common.registry import snake_case
from invariscope.measures.base import MEASURES
from invariscope.transforms.base import TRANSFORMS


def list_measures() -> dict[str, str]:
    """Every measure's registry name, and one sentence on what it says."""
    return {name: cls.summary for name, cls in MEASURES.classes().items()}


def explain(name: str) -> str:
    """What a measure's number means, its formula, and when it misleads.

    Raises:
        ValueError: no such measure; the closest names are given.
    """
    return MEASURES.get(snake_case(name)).explain()


def class_named(name: str) -> Any:
    """The transform or measure class of that name, or None."""
    for registry in (TRANSFORMS, MEASURES):
        found = registry.classes().get(snake_case(name))
        if found is not None and found.__name__ == name:
            return found
    return None


def class_names() -> list[str]:
    """The class names of all transforms and measures."""
    return [cls.__name__ for registry in (TRANSFORMS, MEASURES) for cls in registry.classes().values()]
