"""Registries that find classes by name, so that a new class needs one file and no list to edit."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar

T = TypeVar("T")

_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")


def snake_case(name: str) -> str:
    """Return the registry name of a class.

    >>> snake_case("NormalizedVariance"), snake_case("EquivariancePSNR"), snake_case("CKA")
    ('normalized_variance', 'equivariance_psnr', 'cka')
    """
    return _WORD_START.sub("_", name).lower()


def closest(name: str, candidates: Iterable[str], *, count: int = 3) -> list[str]:
    """Return the candidates most similar to `name`, best first; those that have it as a word come first.

    >>> closest("variance", ["invariance", "sample_variance", "stability", "covariance"])
    ['sample_variance', 'invariance', 'covariance']
    """
    candidates = list(candidates)
    near = difflib.get_close_matches(name, candidates, n=len(candidates) or 1, cutoff=0.4)
    return sorted(near, key=lambda candidate: name not in candidate.split("_"))[:count]


def unknown(kind: str, name: str, candidates: Iterable[str], *, hint: str = "") -> ValueError:
    """Return an error for an unknown name that lists the closest known names.

    >>> unknown("transform", "rotatoin", ["rotation", "flip"])
    ValueError("unknown transform 'rotatoin'. Closest: 'rotation'.")
    """
    candidates = list(dict.fromkeys(candidates))
    near = closest(name, candidates)
    listed = near or sorted(candidates)[:12]
    lead = "Closest" if near else "Known"
    text = f"unknown {kind} {name!r}. {lead}: {', '.join(map(repr, listed)) or 'none'}."
    return ValueError(f"{text} {hint}".rstrip())


def refuse_unknown_options(make: Callable[..., Any], given: Iterable[str], *, name: str = "") -> None:
    """Raise TypeError if a class or function does not take a keyword, suggesting the closest ones.

    Args:
        make: the class or function.
        given: the keywords.
        name: its name in the message; default: its own name.
    """
    options = inspect.signature(make).parameters.values()
    if any(option.kind is option.VAR_KEYWORD for option in options):
        return
    known = [option.name for option in options]
    for option in given:
        if option not in known:
            listed = ", ".join(known) or "none"
            what = f"option of {name or make.__name__}"
            raise TypeError(f"{unknown(what, option, known)} Its options: {listed}.")


@dataclass(frozen=True)
class Registry(Generic[T]):
    """All classes of one kind, found by importing every module of a package.

    Args:
        kind: the user's word for such a class, such as "measure".
        package: the package whose modules define the classes.
        listing: the subcommand of `invariscope list`; default: the plural of the kind; None: no subcommand.
        also: further packages whose modules define such classes.
    """

    kind: str
    package: str
    listing: str | None = ""
    also: tuple[str, ...] = ()
    _classes: dict[str, type[T]] = field(default_factory=dict, repr=False)

    def add(self, cls: type[T], name: str = "") -> None:
        """Register a class, by default under its snake_case name; `names` omits abstract and private ones."""
        self._classes[name or snake_case(cls.__name__)] = cls

    def names(self) -> list[str]:
        """Return all registered names in alphabetical order."""
        for package in (self.package, *self.also):
            _import_all(package)
        # `add` runs before a class is complete, when it is not yet known whether it is abstract.
        return sorted(name for name, cls in self._classes.items() if _is_public(cls))

    def get(self, name: str) -> type[T]:
        """Return the class with this name, or raise ValueError with the closest names.

        Raises:
            TypeError: the name is no string.
        """
        if not isinstance(name, str):
            raise TypeError(f"give the name of a {self.kind}, as a string; got {type(name).__name__}")
        names = self.names()
        if name not in self._classes:
            listing = self.listing or f"{self.kind}s"
            hint = "" if self.listing is None else f"`invariscope list {listing}` shows all."
            raise unknown(self.kind, name, names, hint=hint)
        return self._classes[name]

    def classes(self) -> dict[str, type[T]]:
        """Return all registered classes by name."""
        return {name: self._classes[name] for name in self.names()}


@cache
def _import_all(package: str) -> None:
    """Import every module of a package; cached, because searching its files is slow."""
    for module in pkgutil.iter_modules(importlib.import_module(package).__path__, f"{package}."):
        importlib.import_module(module.name)


def _is_public(cls: type) -> bool:
    return not inspect.isabstract(cls) and not cls.__name__.startswith("_")
