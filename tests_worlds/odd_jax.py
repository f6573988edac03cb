"""Flax modules and JAX functions that trip up naive readers, with inputs and the layers that must be read."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

Layers = list[tuple[str, int]]
ODD: dict[str, Callable[[], tuple[Any, np.ndarray, Layers]]] = {}


def odd(make: Callable[[], tuple[Any, tuple[int, ...], Layers]]) -> Any:
    """Register a model: it becomes one that is built with nine inputs."""

    def build() -> tuple[Any, np.ndarray, Layers]:
        model, shape, found = make()
        return model, np.random.default_rng(0).random((9, *shape), np.float32), found

    ODD[f"jax_{make.__name__}"] = build
    return build


class Block(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.linear, self.drop = nnx.Linear(6, 6, rngs=rngs), nnx.Dropout(0.5, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        x = nnx.relu(self.linear(x))
        self.sow(nnx.Intermediate, "relu", x)
        return self.drop(x)


class Nested(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.blocks = nnx.List([Block(rngs), Block(rngs)])
        self.shared, self.idle = nnx.Linear(6, 6, rngs=rngs), nnx.Linear(2, 2, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return {"first": self.shared(x), "second": self.shared(x + 1)}


@odd
def nested_shared_and_dictionary():
    layers = [(f"blocks.{k}.{name}", 0) for k in (0, 1) for name in ("linear", "relu", "drop")]
    return Nested(nnx.Rngs(0)), (6,), [*layers, ("shared", 0), ("shared", 1)]


class Inherited(Block):
    """Calls the `__call__` of its base class, which must not count twice."""

    def __call__(self, x: Any) -> Any:
        return super().__call__(x) * 2


@odd
def inherited_call():
    model = nnx.Sequential(nnx.Linear(6, 6, rngs=nnx.Rngs(1)), Inherited(nnx.Rngs(0)), jnp.tanh)
    return model, (6,), [("layers.0", 0), ("layers.1.linear", 0), ("layers.1.relu", 0), ("layers.1.drop", 0)]


class Normalized(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv, self.norm = nnx.Conv(2, 3, (3, 3), rngs=rngs), nnx.BatchNorm(3, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.norm(self.conv(x)).mean((1, 2)), x


@odd
def batch_statistics_are_not_updated():
    model = Normalized(nnx.Rngs(0))
    model.norm.mean[...] = jnp.float32([0.1, 0.2, 0.3])
    return model, (8, 8, 2), [("conv", 0), ("norm", 0)]


class Scanned(nnx.Module):
    """Its recurrent cell runs inside a scan, where it has no values."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.rnn = nnx.RNN(nnx.SimpleCell(4, 5, rngs=rngs))
        self.attention = nnx.MultiHeadAttention(1, 5, decode=False, rngs=rngs)

    def __call__(self, x: Any) -> Any:
        return self.attention(self.rnn(x))


@odd
def recurrent_and_attention():
    return Scanned(nnx.Rngs(0)), (7, 4), [("rnn", 0), ("attention", 0)]


@odd
def bfloat16():
    linear = nnx.Linear(6, 4, dtype=jnp.bfloat16, param_dtype=jnp.bfloat16, rngs=nnx.Rngs(0))
    return nnx.Sequential(linear, nnx.relu), (6,), [("layers.0", 0)]


WEIGHTS = jnp.asarray(np.random.default_rng(1).random((6, 4), np.float32))


def layers_of(x: Any) -> Any:
    zeta = jnp.tanh(x @ WEIGHTS)
    return zeta.sum(1), {"zeta": zeta, "alpha": {"half": zeta.astype(jnp.bfloat16), "beta": zeta * 2}}


ORDER = [("zeta", 0), ("alpha.half", 0), ("alpha.beta", 0), ("output", 0)]


@odd
def plain_function():
    return layers_of, (6,), ORDER


@odd
def jitted_function_keeps_its_order():
    return jax.jit(layers_of), (6,), ORDER


@odd
def partial_of_a_jitted_function():
    function = jax.jit(lambda weights, x: {"later": x @ weights, "first": x})
    return partial(function, WEIGHTS), (6,), [("later", 0), ("first", 0)]
