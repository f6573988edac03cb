"""Every reader of another framework, on models that trip up naive ones."""

from __future__ import annotations

from typing import Any

import jax
import keras
import numpy as np
import odd_jax
import odd_keras
import odd_onnx
import pytest
import torch
from flax import nnx
from torch import Tensor

import invariscope as iv
from invariscope.readers import Reader, as_reader

BUILDS = {**odd_keras.ODD, **odd_jax.ODD, **odd_onnx.ODD}


@pytest.fixture(params=BUILDS)
def odd(request, tmp_path) -> tuple[Any, np.ndarray, list[tuple[str, int]]]:
    build = BUILDS[request.param]
    return build(tmp_path) if request.param.startswith("onnx") else build()


def fed(reader: Reader, x: np.ndarray) -> Tensor:
    """The inputs as the engine gives them."""
    found = torch.from_numpy(x)
    return found.movedim(-1, 1) if reader.channels_last else found


def readings(reader: Reader, x: np.ndarray) -> dict[tuple[str, int], Tensor]:
    found: dict[tuple[str, int], Tensor] = {}
    with reader.open() as forward:
        forward(fed(reader, x), lambda r: found.__setitem__((r.layer, r.call), r.values.clone()))
    return found


def state(model: Any) -> list[np.ndarray]:
    if isinstance(model, keras.Layer):
        return [np.asarray(variable.value) for variable in model.variables]
    if isinstance(model, nnx.Module):
        leaves = jax.tree.leaves(nnx.state(model))
        return [np.asarray(jax.random.key_data(v) if "key" in str(v.dtype) else v) for v in leaves]
    return []


def test_layers_are_read_in_the_order_of_their_calls(odd):
    model, x, right = odd
    reader = as_reader(model)
    inspection = reader.inspect(fed(reader, x))
    assert [(info.layer, info.call) for info in inspection.layers] == right
    assert {info.status for info in inspection.layers} == {"ok"}
    assert list(readings(reader, x)) == right


def test_a_second_batch_size_gives_the_same_responses_and_the_inspected_shapes(odd):
    model, x, _ = odd
    reader = as_reader(model)
    shapes = {(i.layer, i.call): i.shape for i in reader.inspect(fed(reader, x)).layers}
    small, large = readings(reader, x[:4]), readings(reader, x)
    for key, values in large.items():
        assert tuple(values.shape) == (len(x), *shapes[key])
        assert torch.allclose(values[:4].float(), small[key].float(), atol=1e-5)


def test_the_model_is_untouched_and_responds_as_before(odd):
    model, x, _ = odd
    before, methods = state(model), _methods(model)
    first = readings(as_reader(model), x)
    iv.measure(model, x, [lambda v: v, lambda v: v.flip(-1)], progress=False)
    assert all(np.array_equal(a, b) for a, b in zip(before, state(model), strict=True))
    assert _methods(model) == methods
    again = readings(as_reader(model), x)
    assert all(torch.equal(values, again[key]) for key, values in first.items())


def _methods(model: Any) -> list[Any]:
    """What hooks would leave behind."""
    layers = model._flatten_layers() if isinstance(model, keras.Layer) else []
    classes = {type(m) for _, m in nnx.iter_modules(model)} if isinstance(model, nnx.Module) else set()
    return [["call" in vars(layer) for layer in layers], [(c, c.__call__) for c in classes], nnx.Module.sow]


def test_an_error_of_the_sink_comes_through_as_it_is(odd):
    model, x, _ = odd
    reader = as_reader(model)

    def sink(reading: Any) -> None:
        raise KeyError("of the sink")

    with reader.open() as forward, pytest.raises(KeyError, match="of the sink"):
        forward(fed(reader, x), sink)
    assert readings(reader, x)


def test_wrong_inputs_are_an_error_with_the_shape(odd):
    model, *_ = odd
    wrong = np.zeros((4, 3), np.float32)
    with pytest.raises(ValueError, match=r"failed on inputs of shape \(4, 3\)") as caught:
        as_reader(model).inspect(torch.from_numpy(wrong))
    assert "\x1b" not in str(caught.value)


def test_patterns_select_layers_and_a_wrong_one_names_the_closest(odd):
    model, x, right = odd
    first = right[0][0]
    reader = as_reader(model, layers=first)
    assert {info.layer for info in reader.inspect(fed(reader, x)).layers} == {first}
    with pytest.raises(ValueError, match="no layer matches"):
        as_reader(model, layers=f"{first}_").inspect(fed(reader, x))


def test_the_fingerprint_is_steady_and_covers_everything(odd):
    model, _, _ = odd
    first, second = as_reader(model).identity(), as_reader(model).identity()
    assert first == second
    assert first.unseen == ()


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"precision": "float64"}, {"gradients": True}])
def test_what_needs_torch_is_refused_by_the_name_of_the_framework(odd, options):
    model, x, _ = odd
    with pytest.raises((TypeError, ValueError), match=r"needs a torch module.*(Keras|JAX|ONNX) model"):
        iv.measure(model, x, [lambda v: v, lambda v: v.flip(-1)], progress=False, **options)


def test_measures_of_derivatives_say_that_they_take_torch_modules(odd):
    model, *_ = odd
    with pytest.raises(TypeError, match=r"torch\.nn\.Module; got .* frameworks are not supported here"):
        iv.lie_derivative(model, torch.ones(4, 1, 8, 8))
