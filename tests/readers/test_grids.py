"""Where the units of feature maps stand: worked out by hand, and agreeing with receptive fields."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import invariscope as iv
from invariscope.anatomy.grids import grids
from invariscope.readers.base import as_reader
from invariscope.zoo import build

pytestmark = pytest.mark.usefixtures("seeded")

torch.manual_seed(0)
CONV = nn.Conv2d(1, 3, 3, stride=2, padding=1)


def offsets(model, *size):
    """By layer, how far (down, right) the grid is off the middle of an image of that size."""
    x = torch.rand(2, 1, *size)
    return {layer: grid.off_centre(size) for (layer, _), grid in grids(as_reader(model), x).items()}


@pytest.mark.parametrize(
    ("layers", "size", "off"),
    [
        ([CONV], (28, 28), (-0.5, -0.5)),  # centres 0, 2, ..., 26
        ([CONV], (29, 29), (0.0, 0.0)),  # 0, 2, ..., 28
        ([CONV], (28, 29), (-0.5, 0.0)),
        ([nn.Conv2d(1, 3, 3, stride=2)], (28, 28), (-0.5, -0.5)),  # 1, 3, ..., 25
        ([nn.Conv2d(1, 3, 3, stride=3, padding=(0, 1))], (10, 10), (-0.5, 0.0)),  # 1, 4, 7 and 0, 3, 6, 9
        ([nn.Conv2d(1, 3, 3, dilation=2, stride=2, padding=2)], (28, 28), (-0.5, -0.5)),
        ([nn.Conv2d(1, 3, 3, dilation=2, padding=2)], (28, 28), (0.0, 0.0)),
        (
            [nn.ZeroPad2d((1, 2, 1, 2)), nn.Conv2d(1, 3, 4)],
            (28, 28),
            (0.5, 0.5),
        ),  # one more pixel behind than ahead
        ([nn.Conv2d(1, 3, 3, stride=2, padding=1, padding_mode="circular")], (28, 28), (-0.5, -0.5)),
        ([nn.MaxPool2d(2)], (28, 28), (0.0, 0.0)),
        ([nn.AvgPool2d(2)], (29, 29), (-0.5, -0.5)),  # the last row and column are seen by no unit
        ([nn.MaxPool2d(2, ceil_mode=True)], (29, 29), (0.5, 0.5)),
        ([nn.MaxPool2d(3, 2, 1, return_indices=False)], (28, 28), (-0.5, -0.5)),
        ([CONV, nn.BatchNorm2d(3), nn.ReLU(inplace=True), nn.AvgPool2d(2)], (26, 26), (-1.5, -1.5)),
        ([CONV, nn.AdaptiveAvgPool2d(3), nn.Upsample(scale_factor=2)], (28, 28), (-0.5, -0.5)),
        ([nn.ConvTranspose2d(1, 3, 4, stride=2, padding=1)], (28, 28), (0.0, 0.0)),
        ([nn.ConvTranspose2d(1, 3, 3, stride=2, padding=1)], (28, 28), (0.0, 0.0)),
        ([nn.ConvTranspose2d(1, 3, 3, stride=2, padding=1, output_padding=1)], (28, 28), (0.25, 0.25)),
        ([nn.ZeroPad2d((0, 1, 2, 0))], (28, 28), (-1.0, 0.5)),
    ],
)
def test_the_middle_of_the_last_layers_grid_is_the_one_worked_out_by_hand(layers, size, off):
    assert list(offsets(nn.Sequential(*layers).eval(), *size).values())[-1] == off


@pytest.mark.parametrize("size", [25, 28, 32])
def test_grids_agree_with_the_receptive_fields_of_a_chain(size):
    model = nn.Sequential(
        nn.Conv2d(1, 2, 5, stride=2, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2), nn.Conv2d(2, 2, 3, dilation=2)
    )
    shape = (1, size, size)
    found = grids(as_reader(model), torch.rand(2, *shape))
    side = torch.rand(1, *shape)
    for number, layer in enumerate(model):
        side = layer(side)
        field = iv.receptive_field(model, str(number), shape)
        last = field.first_centre[0] + field.jump[0] * (side.shape[-1] - 1)
        grid = found[str(number), 0]
        assert grid.middle == pytest.approx([(field.first_centre[0] + last) / 2] * 2)
        assert grid.jump == field.jump


class Branches(nn.Module):
    """Sums and concatenations of operations that are not modules, beside what cannot be followed."""

    def __init__(self):
        super().__init__()
        self.conv, self.seen, self.rolled = (
            nn.Conv2d(1, 3, 3, stride=2, padding=1),
            nn.Identity(),
            nn.Identity(),
        )

    def forward(self, x):
        long, short = F.relu(self.conv(x)), F.avg_pool2d(x, 1, stride=2)
        both = self.seen(torch.cat([long + short, 1 - short], dim=1))
        return self.rolled(both.roll(1, dims=-1))


def test_operations_and_residual_sums_are_followed_and_what_is_not_known_has_no_grid():
    found = offsets(Branches(), 28, 28)
    assert set(found) == {"conv", "relu", "avg_pool2d", "add", "sub", "cat", "seen"}
    assert set(found.values()) == {(-0.5, -0.5)}


def test_branches_that_stand_on_different_grids_have_none_together():
    class Two(nn.Module):
        def forward(self, x):
            return F.avg_pool2d(x, 2) + F.avg_pool2d(x, 1, stride=2)

    found = grids(as_reader(Two()), torch.rand(2, 1, 28, 28))
    middles = {key: grid.middle for key, grid in found.items()}
    assert middles == {("avg_pool2d", 0): (13.5, 13.5), ("avg_pool2d", 1): (13.0, 13.0)}


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "all_conv", "c4_conv"])
def test_every_feature_map_of_the_papers_networks_is_followed(name):
    reader, x = as_reader(build(name)), torch.rand(3, 1, 28, 28)
    maps = {(i.layer, i.call) for i in reader.inspect(x).layers if len(i.shape) == 3}
    assert set(grids(reader, x)) == maps
