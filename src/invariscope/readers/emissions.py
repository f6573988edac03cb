"""What the layers of other frameworks produce during a forward, numbered as they come."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Container
from dataclasses import dataclass
from typing import Any, NoReturn

from invariscope.readers.base import LayerKey
from invariscope.readers.foreign import arrays_in
from invariscope.readers.torch.outputs import suffixes


class RefusedModel(ValueError):
    """The model cannot be read, for a reason that is the reader's own and not an error of the model."""


@dataclass(frozen=True, eq=False)
class Emission:
    """One array that a layer produced.

    Args:
        layer: the layer's name.
        call: which run of the layer within the forward.
        kind: the layer's class, or its operation.
        value: the framework's own array; None if there is none, for the reason in `problem`.
        default: read if the user selects nothing.
        operation: left out silently if it holds no floating-point values with a batch axis.
        channels_last: a map (sample, row, column..., channel).
        unclear: features come last, and it is not known whether the other axes are rows and columns.
        problem: why it cannot be read; "" if it can.
    """

    layer: str
    call: int
    kind: str
    value: Any
    default: bool = True
    operation: bool = False
    channels_last: bool = False
    unclear: bool = False
    problem: str = ""

    @property
    def key(self) -> LayerKey:
        """What identifies the reading."""
        return self.layer, self.call


class Emitter:
    """Takes the values of layers in the order in which a forward produces them, and numbers their runs.

    `failure` keeps an error raised here, since frameworks wrap what is raised inside their layers.

    Args:
        receive: called with each array.
        wanted: names of the layers whose values are needed; None needs all.
    """

    def __init__(self, receive: Callable[[Emission], None], wanted: Container[str] | None = None) -> None:
        self._receive, self._wanted, self._calls = receive, wanted, Counter[str]()
        self._thread = threading.get_ident()
        self.failure: Exception | None = None

    @property
    def inspecting(self) -> bool:
        """Whether this is a trial, from whose few inputs layouts are found."""
        return self._wanted is None

    def wants(self, layer: str) -> bool:
        """Whether the layer's value is needed."""
        return self._wanted is None or layer in self._wanted

    def __call__(self, layer: str, kind: str, value: Any, **about: Any) -> None:
        """Take what a layer returned; `about` holds further fields of its `Emission`.

        Calls from other threads, which run their own forwards, are ignored.
        """
        if threading.get_ident() != self._thread:
            return
        call = self._calls[layer]
        self._calls[layer] += 1
        leaves = list(arrays_in(value))
        for suffix, (_, leaf) in zip(suffixes([path for path, _ in leaves]), leaves, strict=True):
            try:
                self._receive(Emission(layer + suffix, call, kind, leaf, **about))
            except Exception as error:
                self.failure = error
                raise

    def refuse(self, why: str) -> NoReturn:
        """Stop the forward: the model cannot be read."""
        self.failure = RefusedModel(why)
        raise self.failure
