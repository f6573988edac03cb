"""Quotients of what is zero: 0/0 has no value, anything else over 0 is infinite, and the row says so."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv

SAME, OTHER = (0.1, 1 / 3, 0.7), (0.5, 0.2, 0.9)
DISTANCES = ("cosine", "l2", "squared_l2")
MEASURES = [
    "normalized_variance",
    "normalized_distance",
    "stability",
    "gradient_norm",
    "fitted_equivariance",
    "cka",
    *(iv.EquivarianceDeviation(distance=distance) for distance in DISTANCES),
    iv.EquivarianceDeviation(feature_action="fitted"),
    iv.EquivarianceDeviation(kind="output"),
]
# Of a network that gives all samples one answer, and another one to all of them when they are transformed.
QUOTIENTS = {
    "normalized_variance": np.nan,  # its only units are infinite, and left out
    "normalized_distance": np.inf,
    "stability.D": np.inf,
    "stability.G": np.inf,
    "gradient_norm.relative": np.nan,
    "gradient_norm.moved": np.inf,
    "gradient_norm.noisy": np.inf,
    "fitted_equivariance": np.nan,
    "fitted_equivariance.invariance": -np.inf,
    "cka": np.nan,
    "equivariance_deviation.latent_squared_l2_fitted.to_null": np.nan,
}
DEFINED = {
    "stability.R",
    "gradient_norm.moved_to_noisy",
    "equivariance_deviation.latent.to_null",
    "equivariance_deviation.latent_l2.to_null",
    "equivariance_deviation.latent_squared_l2.to_null",
    "equivariance_deviation.output.to_null",
}


class Answers(nn.Module):
    """One answer to images that are as they were, and perhaps another one to all others."""

    def __init__(self, moved):
        super().__init__()
        self.answers, self.end = nn.Buffer(torch.tensor([SAME, moved])), nn.Identity()

    def forward(self, x):
        return self.end(self.answers[(x[:, 0, 0, 0] < 0.5).long()])


def quotients(moved, kind):
    images = -torch.rand(80, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    images[:, 0, 0, 0] = 1  # which no turn leaves there
    precision = str(kind).removeprefix("torch.")
    options = {"layers": "end", "precision": precision, "progress": False}
    result = iv.measure(
        Answers(moved).to(kind), images.to(kind), iv.QuarterTurns(), measures=MEASURES, **options
    )
    return {row["measure"]: row for row in result.rows if row["measure"] in {*QUOTIENTS, *DEFINED}}


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_a_constant_network_has_no_quotients(kind):
    found = quotients(SAME, kind)
    assert found.keys() == QUOTIENTS.keys() | DEFINED
    for name, row in found.items():
        assert np.isnan(row["value"]), name
        assert "no value" in row["note"] or "no unit" in row["note"]


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_what_only_the_transformation_moves_is_infinite(kind):
    found = quotients(OTHER, kind)
    for name, expected in QUOTIENTS.items():
        np.testing.assert_equal(found[name]["value"], expected, err_msg=name)
        assert ("infinite: division by 0" in found[name]["note"]) == np.isinf(expected)
    assert all(np.isfinite(found[name]["value"]) for name in DEFINED)


def test_samples_without_a_response_are_infinitely_far_from_what_the_transformation_makes_of_them():
    torch.manual_seed(0)
    images = torch.zeros(8, 1, 4, 4)
    images[:, 0, 0, 1] = 1
    corner = nn.Sequential(nn.Flatten(), nn.Linear(16, 1, bias=False))
    with torch.no_grad():
        corner[1].weight.copy_(torch.eye(16)[14:15])  # where a half turn puts the dot
    options = {"measures": "worst_element", "layers": "1", "progress": False}
    values = iv.measure(corner, images, iv.QuarterTurns(), **options).table.set_index("measure")["value"]
    assert values["worst_element"] == np.inf
    assert values["worst_element.element"] == 2
