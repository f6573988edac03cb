"""What rounding is taken to explain, and that real networks stay below it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.checking.tolerances import Rounding, roundings
from invariscope.readers import as_reader
from invariscope.zoo import build

pytestmark = pytest.mark.usefixtures("seeded")


def of(model, x, **options):
    """The roundings of a model's layers."""
    inspection = as_reader(model).inspect(x, **options)
    return roundings(inspection, model, inputs=x[0].numel(), device="cpu")


def test_it_is_made_of_the_formats_the_depth_and_the_largest_fan_in():
    model = nn.Sequential(nn.Linear(50, 7), nn.ReLU(), nn.Linear(7, 9))
    found = of(model, torch.rand(4, 50))
    eps = 2**-23
    assert found["2", 0] == Rounding(3, 50, eps, eps, "float32")
    assert found["2", 0].value == pytest.approx(4 * 3**0.5 * eps * (1 + 50**0.5))


@pytest.mark.parametrize(
    ("dtype", "stored", "summed"),
    [(torch.float64, 2**-52, 2**-52), (torch.bfloat16, 2**-7, 2**-23), (torch.float16, 2**-10, 2**-23)],
)
def test_half_formats_store_coarsely_and_sum_in_float32(dtype, stored, summed):
    found = of(nn.Sequential(nn.Linear(8, 2)).to(dtype), torch.rand(4, 8, dtype=dtype))
    assert (found["0", 0].stored, found["0", 0].summed) == (stored, summed)


def test_the_coarsest_format_so_far_counts_and_views_add_no_depth():
    class Coarse(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.middle, self.same, self.last = (nn.Identity() for _ in range(4))

        def forward(self, x):
            x = self.middle((self.first(x * 2) / 3).bfloat16())
            return self.last(self.same(x).float() + 1)

    found = of(Coarse(), torch.rand(4, 8))
    assert found["first", 0].dtype == "float32"
    assert found["last", 0].dtype == "bfloat16"
    assert found["same", 0].depth == found["middle", 0].depth


def test_where_no_weights_can_be_seen_the_largest_layer_bounds_the_sums():
    def network(x):
        return {"wide": x.repeat(1, 4), "narrow": x[:, :2]}

    found = of(network, torch.rand(4, 8))
    assert [rounding.terms for rounding in found.values()] == [32, 32]


@pytest.mark.parametrize(("name", "options"), [("simple_conv", {}), ("resnet18", {"width": 16})])
def test_networks_of_the_zoo_round_less_than_that(name, options):
    averaged = iv.OrbitAverage(build(name, **options).eval(), iv.QuarterTurns())
    images = torch.rand(4, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    verdict = iv.assert_invariant(averaged, images, iv.QuarterTurns())
    assert verdict.broken == ()
    assert verdict.layers[0].worst.error > 0


def test_an_output_beside_which_no_layer_can_be_read_has_a_tolerance_of_its_own():
    class Listing(nn.Module):
        def forward(self, x):
            return [float(image.sum()) for image in x]

    images = torch.rand(8, 1, 6, 6)
    verdict = iv.assert_invariant(Listing(), images, iv.QuarterTurns(), output=column)
    assert 0 < verdict.layers[0].worst.allowed < 1e-4


def column(numbers):
    return torch.tensor(numbers)[:, None]


class Flat(nn.Module):
    def __init__(self):
        super().__init__()
        self.output, self.last = nn.Linear(36, 3), nn.Linear(3, 3)

    def forward(self, x):
        return self.last(self.output(x.flatten(1)))


def test_a_module_called_output_is_not_taken_for_the_output():
    with pytest.raises(iv.SymmetryError, match="layer 'output' is not invariant") as failure:
        iv.assert_invariant(Flat(), torch.rand(8, 1, 6, 6), iv.QuarterTurns())
    assert (
        "2 layers" in failure.value.verdict.broken[0].worst.reason
    )  # as deep as the output, not as 'output'
