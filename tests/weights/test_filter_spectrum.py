"""Filters in the modes of the pixel grid."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.weights import (
    SpectrumRecorder,
    filter_spectrum,
    laplacian_modes,
    mode_power,
    spectrum_table,
    training_spectra,
)
from invariscope.weights.spectrum import Modes
from invariscope.zoo import build, load, train

RNG = np.random.default_rng(0)


def grid_laplacian(height: int, width: int) -> np.ndarray:
    """Degree minus adjacency of the pixel grid, neighbour by neighbour."""
    size = height * width
    laplacian = np.zeros((size, size))
    for y in range(height):
        for x in range(width):
            for other_y, other_x in ((y + 1, x), (y, x + 1)):
                if other_y < height and other_x < width:
                    a, b = y * width + x, other_y * width + other_x
                    laplacian[[a, b], [a, b]] += 1
                    laplacian[[a, b], [b, a]] -= 1
    return laplacian


@pytest.mark.parametrize("shape", [(3, 3), (5, 5), (2, 4), (9, 9), (1, 3), (1, 1)])
def test_the_modes_are_orthonormal_eigenvectors_of_the_grid(shape):
    modes = laplacian_modes(*shape)
    flat = modes.vectors.reshape(len(modes.vectors), -1)
    np.testing.assert_allclose(flat @ flat.T, np.eye(len(flat)), atol=1e-12)
    np.testing.assert_allclose(grid_laplacian(*shape) @ flat.T, flat.T * modes.eigenvalues, atol=1e-12)


def test_a_3x3_grid_has_the_known_eigenspaces():
    found = filter_spectrum(RNG.normal(size=(2, 2, 3, 3)))
    assert found.eigenvalues.tolist() == [0, 1, 2, 3, 4, 6]
    assert found.multiplicity.tolist() == [1, 2, 1, 2, 2, 1]


def test_the_power_is_that_of_numpys_own_eigenvectors():
    filters = RNG.normal(size=(4, 3, 5, 5))
    eigenvalues, vectors = np.linalg.eigh(grid_laplacian(5, 5))
    squares = (filters.reshape(12, 25) @ vectors) ** 2
    found = filter_spectrum(filters)
    expected = [squares[:, np.abs(eigenvalues - one) < 1e-6].sum(1).mean() for one in found.eigenvalues]
    np.testing.assert_allclose(found.power, expected, rtol=1e-10)


def test_another_basis_of_each_eigenspace_gives_the_same_power():
    modes, filters = laplacian_modes(5, 5), RNG.normal(size=(7, 5, 5))
    turned = modes.vectors.copy()
    for space in np.unique(modes.spaces):
        inside = modes.spaces == space
        rotation = np.linalg.qr(RNG.normal(size=(inside.sum(), inside.sum())))[0]
        turned[inside] = np.einsum("mn,nyx->myx", rotation, modes.vectors[inside])
    assert np.abs(turned - modes.vectors).max() > 0.1
    np.testing.assert_allclose(
        mode_power(filters, Modes(modes.eigenvalues, turned)), mode_power(filters, modes), rtol=1e-10
    )


def test_the_powers_add_up_to_the_mean_squared_norm():
    filters = RNG.normal(size=(3, 4, 7, 7))
    assert filter_spectrum(filters).power.sum() == pytest.approx((filters**2).sum((2, 3)).mean())


def test_filters_by_hand():
    mean, edge, board = np.ones((3, 3)), np.array([[1.0, 0, -1]] * 3), np.outer([1, -2, 1], [1, -2, 1])
    found = filter_spectrum(np.stack([mean, edge, board])[:, None])
    np.testing.assert_allclose(found.power, np.array([9, 6, 0, 0, 0, 36]) / 3, atol=1e-12)
    assert found.mean_frequency == pytest.approx((0 * 9 + 1 * 6 + 6 * 36) / 51)


def test_the_ratio_compares_with_the_start_and_says_nothing_where_there_was_nothing():
    smooth = np.full((2, 1, 3, 3), 2.0)
    start = smooth / 4
    found = filter_spectrum(smooth, start=start)
    assert found.ratio[0] == pytest.approx(16)
    assert np.isnan(found.ratio[1:]).all()
    assert np.isnan(filter_spectrum(smooth).ratio).all()
    assert np.isnan(filter_spectrum(0 * smooth).mean_frequency)
    assert list(found.table.columns) == ["layer", "eigenvalue", "multiplicity", "power", "ratio"]


def test_independent_weights_have_equal_power_in_every_dimension():
    found = filter_spectrum(RNG.normal(size=(200, 100, 3, 3)))
    np.testing.assert_allclose(found.power / found.multiplicity, 1, rtol=0.05)


def test_a_model_its_state_dict_and_its_filters_agree():
    model = build("simple_conv", filters=3)
    found = [
        filter_spectrum(model, "conv2"),
        filter_spectrum(model.state_dict(), "conv2"),
        filter_spectrum(model.conv2.weight),
        filter_spectrum(model.conv2.weight.detach().numpy()),
    ]
    assert [one.layer for one in found] == ["conv2", "conv2", "filters", "filters"]
    for one in found[1:]:
        np.testing.assert_allclose(one.power, found[0].power, rtol=1e-12)


def test_a_locally_connected_layer_averages_over_its_places():
    model = build("min_lcn", input_shape=(2, 4, 4), filters=3, kernel_size=3)
    expected = filter_spectrum(model.local.weight.detach().flatten(0, 1))
    np.testing.assert_allclose(filter_spectrum(model).power, expected.power, rtol=1e-10)
    assert filter_spectrum(model).layer == "local"


def test_a_convolution_that_is_the_whole_model_needs_no_name():
    torch.manual_seed(0)
    layer = nn.Conv2d(2, 3, 3)
    assert filter_spectrum(layer).power.sum() == pytest.approx(
        float((layer.weight.detach().double() ** 2).sum((2, 3)).mean())
    )


@pytest.mark.parametrize(
    ("weights", "layer", "message"),
    [
        (build("fully_connected", width=3), None, r"FullyConnected has no two-dimensional convolution"),
        ({"fc.weight": torch.ones(2, 3)}, None, r"the state dict has no two-dimensional convolution"),
        (build("simple_conv", filters=2), None, r"SimpleConv has 5 matching layers: name one of 'conv1'"),
        (build("simple_conv", filters=2), "conv9", r"unknown convolution 'conv9'\. Closest: 'conv"),
        (np.ones((3, 3)), None, r"filters must have shape \(out, in, k, k\), got \(3, 3\)"),
        (np.full((1, 1, 3, 3), np.nan), None, r"filters of 'filters' are not all finite"),
    ],
)
def test_what_has_no_such_filters_is_refused(weights, layer, message):
    with pytest.raises(ValueError, match=message):
        filter_spectrum(weights, layer)


def test_other_things_than_weights_and_another_start_are_refused():
    with pytest.raises(TypeError, match="from a module, a state dict or an array; got str"):
        filter_spectrum("conv1")
    with pytest.raises(ValueError, match=r"shape \(1, 1, 3, 3\), but .* have shape \(2, 1, 3, 3\)"):
        filter_spectrum(np.ones((1, 1, 3, 3)), start=np.ones((2, 1, 3, 3)))


def test_stages_of_a_training_are_compared_with_the_first():
    first, last = np.ones((1, 1, 3, 3)), np.full((1, 1, 3, 3), 3.0)
    weights = [{"a.weight": torch.tensor(one), "b.weight": torch.tensor(two)}
               for one, two in ((first, last), (last, first))]  # fmt: skip
    table = training_spectra(zip((10, 20), weights, strict=True))
    rows = table[table["eigenvalue"] == 0].set_index(["layer", "epoch"])["ratio"]
    assert rows.round(9).to_dict() == {("a", 10): 1, ("b", 10): 1, ("a", 20): 9, ("b", 20): 0.111111111}
    only = training_spectra({1: weights[0]}, layers="b")
    assert set(only["layer"]) == {"b"}
    with pytest.raises(ValueError, match="no spectra: give at least one stage"):
        training_spectra({})


def test_layers_of_one_pixel_are_left_out_unless_named():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1))
    assert set(training_spectra({0: model})["layer"]) == {"0"}
    assert set(training_spectra({0: model}, layers="1")["eigenvalue"]) == {0.0}


def test_a_recorder_follows_a_training_and_its_records_survive_it():
    data = load("mnist_subset", split="train", samples=96)
    model = build("min_cnn", filters=4, kernel_size=3)
    start = filter_spectrum(model)
    recorder = SpectrumRecorder()
    trained = train(model, data, epochs=2, batch_size=32, lr=1e-2, monitor=recorder)
    table = recorder.table
    assert list(table["epoch"].unique()) == [0, 1, 2]
    np.testing.assert_allclose(table["power"][:6], start.power)
    last = filter_spectrum(model, start={"conv.weight": torch.zeros(4, 1, 3, 3)})
    np.testing.assert_allclose(table["power"][12:], last.power)
    np.testing.assert_allclose(table["ratio"][12:], last.power / start.power)
    assert spectrum_table(trained.measured).equals(table)


def test_the_package_offers_it():
    assert iv.weights.filter_spectrum is filter_spectrum
