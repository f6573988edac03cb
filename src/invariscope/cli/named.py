"""Requests for models by name, and the models loaded for them."""

from __future__ import annotations

import abc
import importlib
import importlib.metadata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from invariscope.results.result import Result
    from invariscope.zoo import Card


@dataclass(frozen=True)
class Request:
    """Requirements for loading a model.

    Args:
        weights: None for the model's own or published weights, "random" for newly drawn ones, otherwise a
            file with weights for the architecture.
        shape: (C, H, W) of the inputs, or None if unknown.
        classes: number of classes, or None if unknown.
        seed: seed of random weights.
        preprocess: whether to load the preprocessing that comes with the model.
    """

    weights: str | None = None
    shape: tuple[int, ...] | None = None
    classes: int | None = None
    seed: int = 0
    preprocess: bool = True

    @property
    def bare(self) -> bool:
        """Whether only the architecture is needed because the weights come from elsewhere."""
        return self.weights is not None


@dataclass(frozen=True)
class Preprocess(abc.ABC):
    """Function that converts transformed samples to model inputs, and records notes on unexpected changes."""

    images: ClassVar[bool] = False
    """Whether samples are images with values from 0 to 1."""
    tokens: ClassVar[bool] = False
    """Whether samples are texts, converted to padded tokens."""

    # The underscore excludes notes from the identity of a run, because a resumed run starts without notes.
    _notes: list[str] = field(default_factory=list, init=False, repr=False, compare=False)

    @abc.abstractmethod
    def __call__(self, samples: Any) -> Any:
        """Return the model's inputs."""

    def note(self, text: str) -> None:
        """Record a note unless it is already recorded."""
        if text not in self._notes:
            self._notes.append(text)

    @property
    def notes(self) -> tuple[str, ...]:
        """Recorded notes."""
        return tuple(self._notes)


@dataclass(frozen=True)
class Named:
    """A loaded model with its label.

    Args:
        model: the model, in any form that `iv.measure` takes.
        label: name of the model in tables and plots.
        fresh: whether the weights were drawn at random on loading.
        card: card of a network written by `train`.
        seed: seed of randomly drawn weights.
        preprocess: function that converts transformed samples to the model's inputs, or None.
        notes: remarks on the model, shown with its results.
        pool: layers whose rows are pooled, as in `iv.measure`; None for no pooling.
        classes: class names in the order of the model's outputs, if the model knows them.
    """

    model: Any
    label: str
    fresh: bool = False
    card: Card | None = None
    seed: int = 0
    preprocess: Any = None
    notes: tuple[str, ...] = ()
    pool: Any = None
    classes: tuple[str, ...] = ()

    @property
    def feeding(self) -> dict[str, Any]:
        """Options of `iv.measure` that come with the model."""
        return {"preprocess": self.preprocess, "pool": self.pool}

    def summary(self, result: Result) -> Result:
        """Return the result with the model's notes and, if its weights were drawn at random, the seed."""
        found = result.weighted(f"random, seed {self.seed}") if self.fresh else result
        return _noted(found, [*self.notes, *getattr(self.preprocess, "notes", ())])

    def prepared(self, data: Any) -> Any:
        """Return images standardized as in the network's training, and other data unchanged."""
        from invariscope.zoo import ImageData

        return self.card.prepared(data) if self.card and isinstance(data, ImageData) else data


def _noted(result: Result, notes: Sequence[str]) -> Result:
    provenance = result.provenance
    known = provenance.get("notes", [])
    added = [note for note in notes if note not in known]
    return replace(result, provenance={**provenance, "notes": [*known, *added]})


def optional_package(module: str, package: str) -> ModuleType:
    """Import a module of an optional package.

    Raises:
        ImportError: the package is missing, or fails while it is imported; the message names it.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        missing = (getattr(error, "name", None) or module).partition(".")[0]
        own = missing == module.partition(".")[0]
        which = (
            f"{package}: pip install {package}"
            if own
            else f"{missing} (for {package}): pip install {missing}"
        )
        raise ImportError(f"this model needs the package {which} ({error})") from error
    except Exception as error:  # such as torchvision's, if it was built for another torch
        torch = importlib.metadata.version("torch")
        raise ImportError(
            f"this model needs the package {package}, which is installed but cannot be imported "
            f"({type(error).__name__}: {error}). Install versions of it and of its requirements that fit "
            f"torch {torch}"
        ) from error
