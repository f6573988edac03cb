"""What a transform should do to a feature map: scaled to its size, exact where the input's is."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from invariscope.transforms import (
    Affine,
    Compose,
    Dihedral,
    Flip,
    Grid,
    QuarterTurns,
    Rotation,
    Scale,
    Transform,
    Translation,
)


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def pointwise(x: torch.Tensor) -> torch.Tensor:
    """Features that know no direction: channels mixed, pixels apart."""
    weights = torch.linspace(-1, 1, x.shape[1] * 4).view(4, x.shape[1], 1, 1)
    return F.relu(F.conv2d(x, weights))


@pytest.mark.parametrize("transform", [QuarterTurns(), Dihedral(), Flip("both"), Rotation.circle(4)])
def test_pointwise_features_are_exactly_equivariant_to_exact_elements(transform: Transform) -> None:
    x = noise(3, 2, 8, 8)
    features = pointwise(transform.orbit(x).reshape(-1, 2, 8, 8)).reshape(3, len(transform), 4, 8, 8)
    still = pointwise(x)[:, None].expand_as(features)
    assert torch.equal(transform.act(still), features)
    assert torch.equal(transform.act(features, inverse=True), still)


def test_pooled_features_move_by_the_shift_in_their_own_pixels() -> None:
    x = noise(2, 1, 16, 24)
    shifts = Translation([(0, 0), (4, 2), (-6, 8)])
    pooled = F.avg_pool2d(shifts.orbit(x).reshape(-1, 1, 16, 24), 2).reshape(2, 3, 1, 8, 12)
    still = F.avg_pool2d(x, 2)[:, None].expand_as(pooled)
    assert torch.equal(shifts.act(still, input_size=(16, 24)), pooled)


def test_a_shift_without_the_inputs_size_is_refused() -> None:
    maps = noise(1, 1, 1, 8, 8)
    for transform in (Translation([(2, 0)]), Grid(Rotation([10]), Translation([(1, 0)]))):
        with pytest.raises(ValueError, match=r"input_size=\(H, W\)"):
            transform.act(maps)
    assert torch.equal(Translation([(0, 0)]).act(maps), maps)


def test_a_shift_by_half_a_map_pixel_is_interpolated() -> None:
    maps = torch.tensor([0.0, 0.0, 1.0, 0.0]).expand(1, 1, 1, 1, 4)
    moved = Translation([(1, 0)]).act(maps, input_size=(2, 8))
    assert moved.flatten().tolist() == [0.0, 0.0, 0.5, 0.5]


def test_maps_stretched_against_the_input_turn_in_the_inputs_pixels() -> None:
    """A map that halves only the rows shows a disc as an ellipse, which a rotation must leave in place."""
    y, x = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    blob = torch.exp(-((x - 31.5) ** 2 + (y - 31.5) ** 2) / 200)[None, None]
    squeezed = F.avg_pool2d(blob, (2, 1))[:, None]
    turned = Rotation([45]).act(squeezed, input_size=(64, 64))
    assert (turned - squeezed).abs().max() < 8e-3
    assert (Rotation([45]).act(squeezed) - squeezed).abs().max() > 0.05


def test_rotation_and_scale_of_smaller_maps_need_no_input_size() -> None:
    maps = noise(2, 1, 3, 7, 7)
    for transform in (Rotation([33]), Scale([1.4]), Affine([[[1, 0.2, 0], [0, 1, 0]]])):
        torch.testing.assert_close(transform.act(maps), transform.act(maps, input_size=(28, 28)))


def test_chains_act_like_their_parts_in_order() -> None:
    maps = noise(2, 1, 3, 8, 8)
    chain = Compose([Translation([(4, 0)]), Rotation([90])])
    expected = Rotation([90]).act(Translation([(4, 0)]).act(maps, input_size=(16, 16)))
    assert torch.equal(chain.act(maps, input_size=(16, 16)), expected)


def test_each_element_acts_on_its_own_column() -> None:
    maps = noise(2, 4, 3, 6, 6)
    acted = QuarterTurns().act(maps)
    for quarter in range(4):
        assert torch.equal(acted[:, quarter], torch.rot90(maps[:, quarter], quarter, (-2, -1)))


def test_activations_without_an_image_plane_or_an_element_axis_are_refused() -> None:
    with pytest.raises(TypeError, match=r"\(n, m, C, H, W\); got \(n, m, 10\)"):
        QuarterTurns().act(noise(2, 4, 10))
    with pytest.raises(ValueError, match=r"expected \(n, 4, ...\), got shape \(2, 3, 5, 6, 6\)"):
        QuarterTurns().act(noise(2, 3, 5, 6, 6))
