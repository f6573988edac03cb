"""The contents of the library by name: listings, explanations and classes."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from invariscope.common.cards import Explanation, Listing
from invariscope.common.registry import snake_case, unknown
from invariscope.common.symbols import full_name
from invariscope.measures.base import MEASURES
from invariscope.transforms.base import TRANSFORMS, Transform


def list_measures() -> dict[str, str]:
    """Return the registry name of every measure, with a one-sentence summary."""
    return Listing({name: cls.summary for name, cls in MEASURES.classes().items()})


def list_transforms() -> dict[str, str]:
    """Return the registry name of every transform, with the first paragraph of its documentation."""
    return Listing({name: first_sentence(cls) for name, cls in TRANSFORMS.classes().items()})


def list_plots() -> dict[str, str]:
    """Return the registry name of every plot, with its title and how to read it."""
    return Listing({name: f"{cls.title}. {cls.reading}" for name, cls in _plots().items()})


def explain(name: Any) -> str:
    """Return the documentation of a measure, transform, plot, network, recipe or reader.

    Args:
        name: a registry or class name, the name of a measure's output, a class, or an instance. If several
            kinds share the name, all their texts are returned.
    Raises:
        ValueError: an unknown name; the message lists the closest ones.

    >>> explain("flip").splitlines()[0]
    'The image and its mirror image: a group, bit-exact on images of any shape.'
    """
    wanted = name if isinstance(name, str) else getattr(name, "__name__", type(name).__name__)
    plain = full_name(snake_case(wanted.split(".")[0]))
    known = {kind: (entries(), text) for kind, (entries, text) in _KINDS.items()}
    found = [(kind, text(one[plain])) for kind, (one, text) in known.items() if plain in one]
    if not found:
        names = [entry for one, _ in known.values() for entry in one]
        hint = "iv.list_measures(), iv.list_transforms() and iv.list_plots() list most of them."
        raise unknown("name", wanted, names, hint=hint)
    if len(found) == 1:
        return Explanation(found[0][1])
    return Explanation("\n\n".join(f"As a {kind}: {text}" for kind, text in found))


def class_named(name: str) -> Any:
    """Return the transform or measure class of that name, or None."""
    for registry in (TRANSFORMS, MEASURES):
        found = registry.classes().get(snake_case(name))
        if found is not None and found.__name__ == name:
            return found
    return None


def class_names() -> list[str]:
    """Return the class names of all transforms and measures."""
    return [cls.__name__ for registry in (TRANSFORMS, MEASURES) for cls in registry.classes().values()]


def _classes(package: str, registry: str) -> Mapping[str, Any]:
    """Import the package of a registry, not earlier than needed, and return its classes."""
    return getattr(importlib.import_module(f"invariscope.{package}"), registry).classes()


def _recipes() -> Mapping[str, str]:
    from invariscope.lab import recipes

    return {name: name for name in recipes.names()}


def _about_recipe(name: str) -> str:
    from invariscope.lab import recipes

    recipe = recipes.read(name)
    return f"{recipe.title}\n\n{recipe.source}\n\n{recipe.about}".rstrip()


def _documentation(thing: Any) -> str:
    return inspect.getdoc(thing) or ""


def first_sentence(thing: Any) -> str:
    """Return the first paragraph of a docstring on one line."""
    return " ".join(_documentation(thing).split("\n\n")[0].split())


def _written(cls: type) -> str:
    """Return the documentation of a transform and the ways to write it."""
    from invariscope.catalog.expressions import ways

    made = [f"    {way}" for way in ways(cls, Transform)]
    return "\n".join([_documentation(cls), "", "Written as:", *made])


_plots = partial(_classes, "plots", "PLOTS")
_KINDS: dict[str, tuple[Callable[[], Mapping[str, Any]], Callable[[Any], str]]] = {
    "measure": (MEASURES.classes, lambda cls: cls.explain()),
    "transform": (TRANSFORMS.classes, _written),
    "plot": (_plots, lambda cls: cls.explain()),
    "network": (partial(_classes, "zoo.networks", "NETWORKS"), _documentation),
    "recipe": (_recipes, _about_recipe),
    "reader": (partial(_classes, "readers", "READERS"), _documentation),
}
