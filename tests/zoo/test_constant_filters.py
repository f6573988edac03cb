"""Constant filters: their responses by hand, and the exponents that theory gives them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import invariscope as iv
from invariscope import zoo


def test_a_layer_answers_a_pixel_with_the_filter_convolved_with_itself():
    x = torch.zeros(1, 1, 16, 16)
    x[0, 0, 0, 5] = 1.0
    row = np.zeros(16)
    row[5] = 1
    along = row.copy()
    for _ in range(3):
        along = sum(np.roll(along, step) for step in (-1, 0, 1)) / 3
    down = np.roll(along, -5)  # the pixel lies in the first row, and the borders touch
    found = zoo.constant_filters(3)(x)[0, 0].detach().numpy()
    np.testing.assert_allclose(found, np.outer(down, along), atol=1e-7)


@pytest.mark.usefixtures("seeded")
def test_strides_average_blocks():
    x = torch.rand(2, 1, 8, 8)
    found = zoo.constant_filters(2, filter_size=2, stride=2)(x)
    torch.testing.assert_close(found, torch.nn.functional.avg_pool2d(x, 4))


def test_a_row_is_an_image_of_one_row_in_every_way():
    data = zoo.scale_detection(6, size=32, dimensions=1)
    assert data.shape == (1, 1, 32)
    torch.testing.assert_close(data.images.square().mean(), torch.tensor(1.0))
    moves = zoo.unit_displacements(dimensions=1)
    assert moves.labels == ("→ →", "→ ←", "← →", "← ←")
    assert (moves.orbit(data.images).count_nonzero(dim=(2, 3, 4)) == 2).all()
    assert zoo.constant_filters(3, dimensions=1)(data.images).shape == (6, 1, 1, 32)


def test_blocks_of_two_halve_the_sensitivity_to_displacements_with_each_layer():
    # A step of one leaves its block of 2^k pixels with probability 2^-k, and then moves all of its weight.
    layers = 5
    data = zoo.scale_detection(512, size=2048, dimensions=1)
    result = iv.measure(
        zoo.constant_filters(layers, dimensions=1, filter_size=2, stride=2),
        data.images,
        zoo.unit_displacements(dimensions=1),
        measures="stability",
        layers="relu*",
        progress=False,
    )
    rows = result.table.set_index(["measure", "layer"])
    for k in range(1, layers + 1):
        row = rows.loc["stability.D", f"relu{k}"]
        # Of so many pixels, those of the mean image are not quite negligible.
        assert 0.97 * row.ci_low < 2.0**-k < 1.03 * row.ci_high
        assert row.ci_high - row.ci_low < 1.5 * 2.0**-k
    noise = rows.loc["stability.G"]["value"]
    assert (np.diff(noise) > 0).all()  # what the first ReLU let through piles up


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"layers": 0}, "layers must be an integer, at least 1"),
        ({"layers": 2, "dimensions": 3}, "dimensions must be 1"),
        ({"layers": 2, "filter_size": 4}, "odd filter_size"),
        ({"layers": 2, "filter_size": 3, "stride": 2}, "or equal to filter_size"),
    ],
)
def test_impossible_networks_are_rejected(options, said):
    with pytest.raises(ValueError, match=said):
        zoo.constant_filters(**options)
    with pytest.raises(ValueError, match="dimensions must be 1"):
        zoo.scale_detection(4, dimensions=3)
