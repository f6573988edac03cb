"""What is particular to Keras: channels last, unbuilt models, files, back-ends."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
import torch
from keras import layers, ops
from odd_keras import Subclassed

import invariscope as iv
from invariscope.readers import as_reader


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Layers draw their seeds from Python's global generator."""
    keras.utils.set_random_seed(0)


def images(channels: int = 3) -> np.ndarray:
    return np.random.default_rng(0).random((12, 6, 8, channels), np.float32)


@pytest.fixture
def net() -> keras.Model:
    x = keras.Input((6, 8, 3))
    h = layers.Conv2D(5, 3, padding="same", name="conv")(x)
    h = layers.Rescaling(2.0, name="scaled")(h)
    h = layers.Permute((2, 1, 3), name="swapped")(h)
    h = layers.Dense(4, name="mixed")(h)
    return keras.Model(x, layers.Dense(2, name="dense")(layers.Flatten(name="flat")(h)))


def shapes(model: object) -> dict[str, tuple[tuple[int, ...], bool]]:
    x = torch.from_numpy(images()).movedim(-1, 1)
    return {info.layer: (info.shape, info.unclear) for info in as_reader(model).inspect(x).layers}


def test_maps_have_their_channels_first_and_what_was_reshaped_is_unclear(net):
    found = shapes(net)
    assert found["conv"] == found["scaled"] == ((5, 6, 8), False)
    assert found["swapped"] == ((8, 6, 5), True)
    assert found["mixed"] == ((8, 6, 4), True)
    assert found["dense"] == ((2,), False)


def test_transforms_see_images_with_channels_first(net):
    seen: list[tuple[int, ...]] = []

    def flip(x: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(x.shape[1:]))
        return x.flip(-1)

    found = iv.measure(net, images(), [lambda x: x, flip], layers="conv", progress=False)
    assert set(seen) == {(3, 6, 8)}
    assert found.maps["normalized_variance", "conv"].shape == (5, 6, 8)


@pytest.mark.parametrize("form", ["pair", "tensor", "dataset", "loader", "generator", "framework"])
def test_every_form_of_data_is_read_with_channels_last(net, form):
    x = torch.from_numpy(images())
    y = torch.arange(len(x)) % 2
    data = {
        "pair": (x.numpy(), y),
        "tensor": x,
        "dataset": torch.utils.data.TensorDataset(x, y),
        "loader": torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=5),
        "generator": (x[k : k + 4] for k in range(0, 12, 4)),
        "framework": ops.convert_to_tensor(x.numpy()),
    }[form]
    elements = [lambda v: v, lambda v: v.flip(2)]
    right = iv.measure(net, x, elements, progress=False).table["value"]
    found = iv.measure(net, data, elements, progress=False).table["value"]
    assert found.to_numpy() == pytest.approx(right.to_numpy(), abs=1e-6)


def test_an_equivariant_layer_is_judged_on_its_map():
    mean = keras.Sequential(
        [keras.Input((6, 6, 2)), layers.AveragePooling2D(2, name="pool"), layers.ReLU(name="relu")]
    )
    x = np.random.default_rng(0).random((8, 6, 6, 2), np.float32)
    assert iv.assert_equivariant(mean, x, iv.QuarterTurns(), layers=["pool", "relu"]).result is not None
    uneven = keras.Sequential([keras.Input((6, 6, 2)), layers.Conv2D(3, 3, padding="same", name="conv")])
    with pytest.raises(AssertionError, match="'conv'"):
        iv.assert_equivariant(uneven, x, iv.QuarterTurns(), layers=["conv"])


def test_a_model_that_is_not_built_is_refused():
    with pytest.raises(
        ValueError, match=r"'subclassed' is not built: it has no weights yet\. Call the model once"
    ):
        iv.measure(Subclassed(), np.zeros((4, 6), np.float32), [lambda v: v, lambda v: v])


def test_a_layer_that_is_built_by_the_first_forward_is_refused():
    model = Subclassed()
    model.block.build((None, 6))
    model.built = True
    with pytest.raises(ValueError, match="layer 'dense' is not built"):
        iv.measure(model, np.zeros((4, 6), np.float32), [lambda v: v, lambda v: v])


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of Keras, while it saves
def test_a_file_is_read(net, tmp_path):
    path = tmp_path / "net.keras"
    net.save(path)
    elements = [lambda v: v, lambda v: v.flip(-1)]
    right = iv.measure(net, images(), elements, progress=False).table
    found = iv.measure(str(path), images(), elements, progress=False).table
    assert found["layer"].tolist() == right["layer"].tolist()
    assert found["value"].to_numpy() == pytest.approx(right["value"].to_numpy(), abs=1e-6)


def test_a_file_that_is_no_model_is_refused(tmp_path):
    path = Path(tmp_path / "net.keras")
    path.write_bytes(b"nothing")
    with pytest.raises(ValueError, match=r"cannot load a Keras model from .*net\.keras"):
        iv.measure(path, images(), [lambda v: v, lambda v: v])


def test_what_runs_inside_a_loop_of_jax_is_skipped_with_the_reason():
    x = keras.Input((5, 4))
    model = keras.Model(x, layers.LSTM(3, name="lstm")(x))
    cell, *_ = as_reader(model, layers=["lstm/*"]).inspect(torch.ones(3, 5, 4)).layers
    assert cell.layer == "lstm/lstm_cell"
    compiled = keras.backend.backend() == "jax"
    assert ("inside compiled code or a loop (jit, scan, tf.function)" in cell.status) == compiled


def test_half_precision_is_read():
    x = keras.Input((6,))
    model = keras.Model(x, layers.Dense(3, dtype="mixed_bfloat16", name="half")(x))
    (info,) = as_reader(model).inspect(torch.ones(3, 6)).layers
    assert (info.layer, info.dtype, info.status) == ("half", "bfloat16", "ok")


def test_another_device_is_refused(net):
    with pytest.raises(ValueError, match="Keras places its models itself"):
        as_reader(net).inspect(torch.ones(3, 3, 6, 8), device="meta")


def test_samples_of_other_types_are_refused_with_a_way_to_measure_them(net):
    with pytest.raises(TypeError, match=r"Keras models are read from inputs .* samples are str"):
        iv.measure(net, ["a", "b", "c"], [str, str.upper], progress=False)
    with pytest.raises(TypeError, match="preprocess= does not apply to Keras models"):
        iv.measure(net, ["a", "b", "c"], [str, str.upper], preprocess=len, progress=False)


def test_a_function_of_a_batch_measures_a_model_of_several_inputs():
    one, two = keras.Input((4,), name="one"), keras.Input((4,), name="two")
    model = keras.Model({"one": one, "two": two}, layers.Dense(2)(one * two))
    samples = [{"one": row, "two": row + 1} for row in np.random.default_rng(0).random((9, 4), np.float32)]

    def read(one, two):
        return {"dense": ops.convert_to_numpy(model({"one": ops.array(one), "two": ops.array(two)}))}

    def batch(given):
        return {name: np.stack([sample[name] for sample in given]) for name in ("one", "two")}

    turned = iv.On(iv.Elements([np.copy, np.flip]), "one")
    found = iv.measure(read, samples, turned, preprocess=batch, progress=False).table["value"].item()
    flipped = [{"one": s["one"][::-1], "two": s["two"]} for s in samples]
    responses = np.stack([read(**batch(part))["dense"] for part in (samples, flipped)], 1).astype(np.float64)
    expected = (responses.var(1, ddof=1).mean(0) / responses.var(0, ddof=1).mean(0)).mean()
    assert found == pytest.approx(expected, rel=1e-5)
