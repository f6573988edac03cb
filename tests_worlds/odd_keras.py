"""Keras models that trip up naive readers, with inputs and the layers that must be read, in order."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
from keras import layers, ops

Layers = list[tuple[str, int]]
ODD: dict[str, Callable[[], tuple[Any, np.ndarray, Layers]]] = {}


def odd(make: Callable[[], tuple[Any, tuple[int, ...], Layers]]) -> Any:
    """Register a model: it becomes one that is built seeded, with five inputs."""

    def build() -> tuple[Any, np.ndarray, Layers]:
        keras.utils.clear_session()
        keras.utils.set_random_seed(0)
        model, shape, found = make()
        return model, np.random.default_rng(0).random((9, *shape), np.float32), found

    ODD[f"keras_{make.__name__}"] = build
    return build


@odd
def nested():
    inner = keras.Sequential([layers.Dense(4, name="a"), layers.ReLU(name="b")], name="inner")
    outer = keras.Sequential([keras.Input((6,)), layers.Dense(5, name="a"), inner, layers.Dense(3, name="c")])
    return outer, (6,), [("a", 0), ("inner/a", 0), ("inner/b", 0), ("c", 0)]


@odd
def shared():
    x, dense = keras.Input((6,)), layers.Dense(6, name="dense")
    return keras.Model(x, dense(ops.tanh(dense(x)))), (6,), [("dense", 0), ("tanh", 0), ("dense", 1)]


@odd
def dictionary_and_several_outputs():
    x = keras.Input((6,))
    a = layers.Dense(4, name="a")(x)
    b = layers.Dense(3, name="b")(a)
    return keras.Model(x, {"second": b, "first": a}), (6,), [("a", 0), ("b", 0)]


@odd
def inference_mode():
    x = keras.Input((8, 8, 2))
    h = layers.BatchNormalization(name="norm")(layers.Conv2D(3, 3, name="conv")(x))
    model = keras.Model(x, layers.Dropout(0.5, name="drop")(layers.GlobalAveragePooling2D(name="pool")(h)))
    model.get_layer("norm").set_weights(
        [np.float32(v) for v in ([1, 2, 3], [0, 1, 0], [0.1, 0.2, 0.3], [1, 2, 3])]
    )
    return model, (8, 8, 2), [("conv", 0), ("norm", 0), ("pool", 0), ("drop", 0)]


class Block(layers.Layer):
    """A layer of the user's, with layers inside."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.inner = layers.Dense(4, activation=layers.ReLU(), name="inner")

    def call(self, x: Any) -> Any:
        return self.inner(x) + 1

    def build(self, shape: Any) -> None:
        self.inner.build(shape)
        self.built = True


class Subclassed(keras.Model):
    """A subclassed model; the second dense layer is never called."""

    def __init__(self) -> None:
        super().__init__(name="subclassed")
        self.block, self.dense, self.idle = (
            Block(name="block"),
            layers.Dense(3, name="dense"),
            layers.Dense(2, name="idle"),
        )

    def call(self, x: Any, training: bool = False) -> Any:
        return self.dense(self.block(x)), x


@odd
def subclassed():
    model = Subclassed()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the layer that is never called
        model(np.zeros((2, 6), np.float32))
    return model, (6,), [("block/inner", 0), ("dense", 0)]


@odd
def recurrent_and_attention():
    x = keras.Input((5, 4))
    h = layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    h = layers.Bidirectional(layers.LSTM(3, return_sequences=True, name="lstm"), name="both")(h)
    model = keras.Model(x, layers.TimeDistributed(layers.Dense(2, name="dense"), name="each")(h))
    return model, (5, 4), [("attention", 0), ("both", 0), ("each", 0)]
