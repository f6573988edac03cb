"""What is particular to JAX: tracers, Linen, which functions count as JAX."""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import torch
from flax import linen, nnx
from odd_jax import Nested, Normalized, Scanned, layers_of

import invariscope as iv
from invariscope.readers import CallableReader, as_reader
from invariscope.readers.jax import JaxReader

ELEMENTS = [lambda v: v, lambda v: v.flip(-1)]
LEAKED: dict[str, Any] = {}


@jax.jit
def leaking(x: Any) -> Any:
    LEAKED["hidden"] = x * 2
    return x.sum(1)


def test_a_leaked_tracer_is_named():
    def layers(x: jax.Array) -> dict[str, Any]:
        return {"sum": leaking(x), **LEAKED}

    with pytest.raises(ValueError, match="layer 'hidden' is a JAX tracer, not a value: it leaked"):
        iv.measure(layers, np.ones((4, 6), np.float32), ELEMENTS)


def test_a_leaked_output_is_refused():
    class Leaks(nnx.Module):
        def __init__(self) -> None:
            self.linear = nnx.Linear(6, 2, rngs=nnx.Rngs(0))

        def __call__(self, x: Any) -> Any:
            leaking(self.linear(x))
            return LEAKED["hidden"]

    with pytest.raises(ValueError, match="the output is a JAX tracer"):
        iv.measure(Leaks(), np.ones((4, 6), np.float32), ELEMENTS)


def test_what_runs_inside_a_scan_cannot_be_read():
    reader = as_reader(Scanned(nnx.Rngs(0)), layers="rnn.cell")
    with pytest.raises(ValueError, match=r"'rnn\.cell' exists in Scanned, but its forward pass never ran it"):
        reader.inspect(torch.ones(3, 7, 4))


def test_layers_that_never_ran_are_listed():
    assert as_reader(Nested(nnx.Rngs(0))).inspect(torch.ones(3, 6)).unused == ("idle",)


def test_dropout_is_off_and_the_model_keeps_its_mode():
    model = Nested(nnx.Rngs(0))
    model.train()
    found = iv.measure(model, np.random.default_rng(0).random((9, 6), np.float32), ELEMENTS, progress=False)
    assert len(found.table)
    assert model.blocks[0].drop.deterministic is False


def test_sown_values_do_not_stay_in_the_model():
    model = Nested(nnx.Rngs(0))
    as_reader(model).inspect(torch.ones(3, 6))
    assert not nnx.state(model, nnx.Intermediate)


def test_convolutions_want_channels_last_and_give_maps_with_channels_first():
    reader = as_reader(Normalized(nnx.Rngs(0)))
    assert reader.channels_last
    assert [info.shape for info in reader.inspect(torch.ones(3, 2, 8, 6)).layers] == [(3, 8, 6), (3, 8, 6)]


def test_linen_needs_its_weights():
    model = linen.Dense(3)
    with pytest.raises(TypeError, match="Linen module holds no weights: pass a function"):
        iv.measure(model, np.ones((4, 6), np.float32), ELEMENTS)


def test_linen_intermediates_are_read_under_their_names():
    class Net(linen.Module):
        @linen.compact
        def __call__(self, x: Any) -> Any:
            return linen.Dense(2, name="last")(linen.relu(linen.Dense(4, name="first")(x)))

    model = Net()
    variables = model.init(jax.random.key(0), jnp.ones((2, 6)))
    apply = jax.jit(lambda x: model.apply(variables, x, capture_intermediates=True))
    found = [info.layer for info in as_reader(apply).inspect(torch.ones(3, 6)).layers]
    assert set(found) >= {"intermediates.first", "intermediates.last", "output"}


def for_torch(x: torch.Tensor) -> dict[str, Any]:
    return {"tanh": jnp.tanh(x.numpy())}


@pytest.mark.parametrize(
    ("function", "reader"),
    [
        (layers_of, JaxReader),
        (jax.jit(for_torch), JaxReader),
        (partial(jax.jit(lambda a, x: x), 1), JaxReader),
        (lambda x: layers_of(x), JaxReader),
        (for_torch, CallableReader),
        (lambda x: {"x": x}, CallableReader),
    ],
)
def test_which_functions_receive_jax_arrays(function, reader):
    assert type(as_reader(function)) is reader


def test_data_may_be_jax_arrays_of_any_precision():
    x = np.random.default_rng(0).random((9, 6), np.float32)
    model = Nested(nnx.Rngs(0))
    right = iv.measure(model, x, ELEMENTS, progress=False).table["value"]
    assert iv.measure(model, jnp.asarray(x), ELEMENTS, progress=False).table["value"].equals(right)
    assert len(iv.measure(model, jnp.asarray(x, jnp.bfloat16), ELEMENTS, progress=False).table)


def test_an_empty_dictionary_is_refused():
    with pytest.raises(ValueError, match="returned no layers"):
        as_reader(jax.jit(lambda x: {})).inspect(torch.ones(3, 6))
