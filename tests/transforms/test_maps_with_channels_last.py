"""Maps whose channels come last are not maps (C, H, W), and are not turned as if they were."""

from __future__ import annotations

import pytest
import torch

from invariscope.transforms import Flip, QuarterTurns, Rotation


@pytest.mark.parametrize("shape", [(28, 28, 32), (14, 14, 3), (28, 28, 27)])
@pytest.mark.parametrize("transform", [QuarterTurns(), Rotation.circle(4), Flip("both")])
def test_a_map_with_channels_last_is_refused_with_what_to_do(transform, shape):
    maps = torch.ones(2, 4, *shape)
    with pytest.raises(ValueError, match=r"channels last\. Read it through a callable"):
        transform.act(maps, input_size=(28, 28))


@pytest.mark.parametrize(
    ("shape", "size"),
    [((28, 28, 28), (28, 28)), ((32, 14, 14), (28, 28)), ((16, 8, 16), (16, 16)), ((8, 13, 9), (30, 20))],
)
def test_maps_with_channels_first_are_let_in_whatever_their_strides(shape, size):
    maps = torch.arange(4.0)[:, None, None, None].expand(1, 4, *shape)
    moved = Flip("both").act(maps, input_size=size)
    assert torch.equal(moved, maps)
