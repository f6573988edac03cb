"""Volumes whose slices are moved as images."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv

pytestmark = pytest.mark.usefixtures("seeded")
PLANES = {"depth": (3, 4), "height": (2, 4), "width": (2, 3)}


def volumes(*sides: int) -> Tensor:
    return torch.randn(3, 2, *(sides or (5, 5, 5)))


@pytest.mark.parametrize("across", PLANES)
def test_quarter_turns_are_those_of_torch_in_the_plane_of_the_slices(across):
    x = volumes()
    orbit = iv.Slices(iv.QuarterTurns(), across=across).orbit(x)
    for turns in range(4):
        assert torch.equal(orbit[:, turns], torch.rot90(x, turns, PLANES[across]))


@pytest.mark.parametrize("across", PLANES)
def test_the_inverse_undoes_every_element(across):
    x = volumes()
    turns = iv.Slices("dihedral", across=across)
    orbit, back = turns.orbit(x), turns.inverse()
    for element in range(len(turns)):
        assert torch.equal(back.orbit(orbit[:, element])[:, element], x)


def test_slices_may_have_any_depth():
    x = volumes(4, 5, 7)
    assert torch.equal(iv.Slices("flip").orbit(x)[:, 1], x.flip(4))
    assert torch.equal(iv.Slices("flip", across="width").orbit(x)[:, 1], x.flip(3))
    assert torch.equal(iv.Slices(iv.Flip("vertical"), across="width").orbit(x)[:, 1], x.flip(2))


def test_shifts_move_every_slice():
    x = volumes()
    moved = iv.Slices(iv.Translation([(1, 0)])).orbit(x)[:, 0]
    assert torch.equal(moved[..., 1:], x[..., :-1])
    assert not moved[..., 0].any()


def test_slices_across_other_axes_must_fit_too():
    iv.Slices("quarter_turns").check(volumes(4, 5, 5))
    with pytest.raises(ValueError, match="square"):
        iv.Slices("quarter_turns", across="height").check(volumes(4, 5, 5))
    with pytest.raises(ValueError, match="depth"):
        iv.Slices("flip", across="dept")


class Symmetric(nn.Module):
    """A convolution whose filters look the same from all quarter turns about the depth."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv3d(2, 3, 3, padding=1, bias=False)
        turns = [torch.rot90(self.conv.weight.detach(), turn, (3, 4)) for turn in range(4)]
        self.conv.weight = nn.Parameter(torch.stack(turns).mean(0))

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


def test_a_symmetric_convolution_is_equivariant_about_its_axis_alone():
    x, measure = torch.randn(8, 2, 6, 6, 6), iv.EquivarianceDeviation(feature_action="spatial", distance="l2")
    found = {
        across: iv.measure(
            Symmetric(), x, iv.Slices("quarter_turns", across=across), measures=[measure], progress=False
        ).table.value.iloc[0]
        for across in ("depth", "height")
    }
    assert found["depth"] < 1e-5
    assert found["height"] > 0.1


def test_maps_without_depth_are_moved_as_images():
    model = nn.Sequential(nn.Conv3d(2, 3, (6, 1, 1)), nn.Flatten(1, 2))
    measure = iv.EquivarianceDeviation(feature_action="spatial", distance="l2")
    turns = iv.Slices("quarter_turns")
    found = iv.measure(model, volumes(6, 6, 6), turns, measures=[measure], layers="1", progress=False)
    assert found.table.value.iloc[0] < 1e-5
