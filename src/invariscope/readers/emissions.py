"""Collect the arrays that layers of frameworks other than torch produce, and number each layer's runs."""

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
    """Raised if a reader does not support a model, although the model itself may run."""


@dataclass(frozen=True, eq=False)
class Emission:
    """One array that a layer produced.

    Args:
        layer: the layer's name.
        call: number of the layer's run within the forward pass, from 0.
        kind: class of the layer, or name of the operation.
        value: the framework's own array; None if there is none, with the reason in `problem`.
        default: whether the layer is read if the user selects nothing.
        operation: whether the layer is an operation; operations on shapes, indices and weights are left out
            silently.
        channels_last: whether the value is a map (sample, row, column..., channel).
        unclear: True if features are known to be on the last axis, but it is unknown whether the other axes
            are rows and columns.
        problem: why the value cannot be read; "" if it can.
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
        """Identifies the reading."""
        return self.layer, self.call


class Emitter:
    """Callback that receives the outputs of layers in execution order, and numbers the runs of each layer.

    `failure` keeps an error raised by this callback, since frameworks wrap errors raised inside their layers.

    Args:
        receive: called with each array.
        wanted: names of the layers whose values are needed; None: all.
    """

    def __init__(self, receive: Callable[[Emission], None], wanted: Container[str] | None = None) -> None:
        self._receive, self._wanted, self._calls = receive, wanted, Counter[str]()
        self._thread = threading.get_ident()
        self.failure: Exception | None = None

    @property
    def inspecting(self) -> bool:
        """Whether this is a trial forward pass, in which the layouts of maps are determined."""
        return self._wanted is None

    def wants(self, layer: str) -> bool:
        """Return whether the layer's value is needed."""
        return self._wanted is None or layer in self._wanted

    def __call__(self, layer: str, kind: str, value: Any, **about: Any) -> None:
        """Pass on what a layer returned; `about` holds further fields of its `Emission`.

        Calls from other threads, which run their own forward passes, are ignored.
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
        """Stop the forward pass because the model cannot be read."""
        self.failure = RefusedModel(why)
        raise self.failure
