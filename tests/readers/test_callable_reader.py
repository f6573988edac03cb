"""Any callable that returns {layer: array} can be read."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from invariscope.readers import CallableReader, Reading

X = torch.linspace(0, 1, 20).reshape(5, 4)


def layers(x: Tensor) -> dict[str, Any]:
    array = x.numpy()
    return {"scaled": x * 2, "squares": array**2, "turned": (x[:, :3] + 1).T, "output": x[:, :2]}


def read(reader: CallableReader, x: Tensor, **options: Any) -> tuple[Any, dict[str, Tensor]]:
    found: dict[str, Tensor] = {}

    def sink(reading: Reading) -> None:
        assert (reading.call, reading.alias_of, reading.status) == (0, None, "ok")
        assert reading.values is not None
        found[reading.layer] = reading.values.clone()

    with reader.open(**options) as forward:
        returned = forward(x, sink)
    return reader.inspect(x).prediction.of(returned, len(x)), found


def test_each_entry_is_a_layer_in_its_order_with_the_batch_in_front() -> None:
    output, found = read(CallableReader(layers), X)
    assert list(found) == ["scaled", "squares", "turned", "output"]
    torch.testing.assert_close(found["scaled"], X * 2)
    torch.testing.assert_close(found["squares"], X**2)
    torch.testing.assert_close(found["turned"], X[:, :3] + 1)
    torch.testing.assert_close(output, X[:, :2])


def test_inspection_lists_shapes_kinds_and_the_output() -> None:
    inspection = CallableReader(layers).inspect(X)
    assert [(i.layer, i.shape, i.dtype, i.kind, i.status) for i in inspection.layers] == [
        ("scaled", (4,), "float32", "array", "ok"),
        ("squares", (4,), "float32", "array", "ok"),
        ("turned", (3,), "float32", "array", "ok"),
        ("output", (2,), "float32", "array", "ok"),
    ]
    assert inspection.output is not None
    assert (inspection.output.layer, inspection.output.shape) == ("output", (2,))


def test_a_single_array_is_the_output() -> None:
    output, found = read(CallableReader(lambda x: x.numpy() + 1), X)
    assert list(found) == ["output"]
    torch.testing.assert_close(output, X + 1)


def test_without_an_entry_output_the_last_one_is_the_prediction() -> None:
    output, _ = read(CallableReader(lambda x: {"first": x, "last": x[:, :1]}), X)
    torch.testing.assert_close(output, X[:, :1])


def test_layers_are_selected_as_for_modules() -> None:
    assert list(read(CallableReader(layers, layers="s*"), X)[1]) == ["scaled", "squares"]
    assert list(read(CallableReader(layers, layers=lambda i: i.shape == (3,)), X)[1]) == ["turned"]
    with pytest.raises(ValueError, match=r"no layer matches 'squared' in layers\. Closest: 'squares'"):
        CallableReader(layers, layers="squared").inspect(X)
    with pytest.raises(ValueError, match="selects none of the 4 layers"):
        CallableReader(layers, layers=lambda i: False).inspect(X)


def test_arrays_that_cannot_be_measured_are_listed_with_the_reason() -> None:
    def odd(x: Tensor) -> dict[str, Any]:
        return {
            "good": x,
            "sum": x.sum(),
            "pairs": x @ x.T,
            "classes": x.argmax(1),
            "double": torch.cat([x, x]),
        }

    reasons = {i.layer: i.status for i in CallableReader(odd).inspect(X).layers}
    assert reasons == {
        "good": "ok",
        "sum": "no axis follows the batch size",
        "pairs": "axes 0 and 1 both follow the batch size: choose one with batch_axis=",
        "classes": "its values are int64, not real floating-point numbers",
        "double": "axis 0 has 2 rows per sample",
    }
    chosen = CallableReader(odd, batch_axis={"pairs": 0}).inspect(X).layers
    assert {i.layer: i.status for i in chosen}["pairs"] == "ok"


@pytest.mark.parametrize(
    ("function", "error", "text"),
    [
        (lambda x: {"a": "text"}, ValueError, "layer 'a' must be an array of numbers, got str"),
        (lambda x: {3: x}, ValueError, "layer names must be strings, got 3"),
        (lambda x: {}, ValueError, "returned no layers: return"),
        (
            lambda x: x @ torch.ones(7),
            ValueError,
            r"failed on inputs of shape \(5, 4\) and dtype float32, 2 of which",
        ),
    ],
)
def test_a_callable_that_fails_or_returns_something_else_is_an_error(
    function: Any, error: type[Exception], text: str
) -> None:
    with pytest.raises(error, match=text):
        CallableReader(function).inspect(X)


def test_a_function_that_returns_a_model_is_not_taken_for_one() -> None:
    def make(pretrained=False):
        return nn.Linear(4, 2)

    with pytest.raises(TypeError, match=r"got the function make, not a model: did you mean make\(\)\?"):
        CallableReader(make).inspect(X)


def skipped_later(reader: CallableReader) -> dict[str, str]:
    with reader.open() as forward:
        readings: list[Reading] = []
        forward(X, readings.append)
    return {reading.layer: reading.status for reading in readings if reading.values is None}


def test_a_layer_that_changes_its_shape_later_is_skipped() -> None:
    reader = CallableReader(lambda x: {"a": x[: min(len(x), 3)]})
    reader.inspect(X)
    reason = "it has shape (3, 4) for 5 inputs, but axis 0 should be the batch axis"
    assert skipped_later(reader) == {"a": reason}


def test_a_layer_that_vanishes_later_is_skipped() -> None:
    reader = CallableReader(lambda x: {"a": x} if len(x) > 3 else {"a": x, "b": x})
    reader.inspect(X)
    assert skipped_later(reader) == {"b": "it is missing from the output for 5 inputs"}


def test_a_callable_cannot_be_cast() -> None:
    with pytest.raises(ValueError, match="precision='bf16' needs a torch module"):
        CallableReader(layers).inspect(X, precision="bf16")


def test_read_only_arrays_are_taken() -> None:
    def frozen(x: Tensor) -> np.ndarray:
        array = x.numpy().copy()
        array.setflags(write=False)
        return array

    torch.testing.assert_close(read(CallableReader(frozen), X)[0], X)


def test_a_random_callable_draws_from_its_own_stream() -> None:
    reader = CallableReader(lambda x: {"a": x + torch.rand(1)})
    before = torch.get_rng_state()
    assert reader.inspect(X).notes == ("the forward pass draws random numbers (torch)",)
    first, again, other = (read(reader, X, seed=seed)[0] for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_the_name_is_that_of_the_function_or_class() -> None:
    class Model:
        def __call__(self, x: Tensor) -> Tensor:
            return x

    assert CallableReader(layers).name == "layers"
    assert CallableReader(Model()).name == "Model"


def test_a_callable_may_write_to_its_input() -> None:
    def doubled(x: Tensor) -> Tensor:
        x *= 2
        return x

    rows = X.clone()
    output, _ = read(CallableReader(doubled), rows)
    torch.testing.assert_close(output, X * 2)
    torch.testing.assert_close(rows, X)
