"""Composition, product and inverse: order, pairing, and a single sampling."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch

from invariscope.transforms import (
    Affine,
    Compose,
    Dihedral,
    Elements,
    Flip,
    Grid,
    Inverse,
    QuarterTurns,
    Rotation,
    Scale,
    Translation,
)


def noise(samples: int = 2, side: int = 12) -> torch.Tensor:
    return torch.randn(samples, 1, side, side, generator=torch.Generator().manual_seed(3))


def test_compose_applies_the_first_part_first() -> None:
    x = noise()
    shift, turn = Translation([(3, 0)]), Rotation([90])
    composed = Compose([shift, turn]).orbit(x)[:, 0]
    assert torch.equal(composed, turn.orbit(shift.orbit(x)[:, 0])[:, 0])
    assert not torch.equal(composed, shift.orbit(turn.orbit(x)[:, 0])[:, 0])


def test_compose_pairs_elements_and_repeats_single_ones() -> None:
    x = noise()
    composed = Compose([Translation([(1, 0)]), Rotation([0, 90]), Flip()])
    shifted = Translation([(1, 0)]).orbit(x)[:, 0]
    assert torch.equal(composed.orbit(x)[:, 0], shifted)
    assert torch.equal(composed.orbit(x)[:, 1], torch.rot90(shifted, 1, (-2, -1)).flip(-1))
    assert composed.parameters["angle_deg"] == (0, 90)
    assert composed.parameters["shift_x_px"] == (1, 1)


def test_composite_inverse_reverses_the_order() -> None:
    """Undoing the parts in their own order, as a peer does, misses by the turned shift."""
    x = torch.zeros(1, 1, 12, 12)
    x[..., 5:8, 4:7] = noise(side=3)[:1]
    composed = Compose([Translation([(2, 1)]), Rotation([90])])
    moved = composed.orbit(x)[:, 0]
    assert torch.equal(composed.inverse().orbit(moved)[:, 0], x)
    unreversed = Compose([Translation([(-2, -1)]), Rotation([-90])])
    assert not torch.equal(unreversed.orbit(moved)[:, 0], x)


def test_grid_lists_all_pairs_with_the_last_part_fastest() -> None:
    x = noise()
    grid = Grid(Rotation([0, 90]), Translation([(0, 0), (1, 0), (0, 2)]))
    orbit = grid.orbit(x)
    for j, degrees in enumerate((0, 90)):
        turned = Rotation([degrees]).orbit(x)[:, 0]
        for k, shift in enumerate(((0, 0), (1, 0), (0, 2))):
            assert torch.equal(orbit[:, 3 * j + k], Translation([shift]).orbit(turned)[:, 0])
    assert grid.labels[4] == "90°, (+1, 0) px"
    assert grid.parameters["angle_deg"] == (0, 0, 0, 90, 90, 90)
    assert grid.parameters["shift_y_px"] == (0, 0, 2, 0, 0, 2)
    assert grid.identity == 0


def test_a_parameter_that_two_parts_share_keeps_both_values() -> None:
    grid = Grid(Rotation([0, 10]), Rotation([1, 2]), Rotation([5]))
    assert grid.parameters == {
        "angle_deg": (0, 0, 10, 10),
        "angle_deg_part2": (1, 2, 1, 2),
        "angle_deg_part3": (5, 5, 5, 5),
    }


def test_affine_parts_are_sampled_once() -> None:
    """Two rotations by 15 degrees and one by 30 give the same values, without a second blur."""
    x = noise(side=25)
    twice = Compose([Rotation([15]), Rotation([15])]).orbit(x)
    torch.testing.assert_close(twice, Rotation([30]).orbit(x), atol=1e-4, rtol=1e-4)
    there_and_back = Compose([Translation([(5, 0)]), Translation([(-5, 0)])])
    assert torch.equal(there_and_back.orbit(x)[:, 0], x)
    assert there_and_back.exact == (True,)


def test_exact_families_join_any_sampling_and_other_samplings_stay_apart() -> None:
    x = noise(side=25)
    joined = Grid(Flip(), Rotation([30], padding="border")).orbit(x)
    torch.testing.assert_close(joined[:, 1], Rotation([30], padding="border").orbit(x.flip(-1))[:, 0])
    apart = Compose([Rotation([30]), Rotation([-30], interpolation="bicubic")])
    expected = Rotation([-30], interpolation="bicubic").orbit(Rotation([30]).orbit(x)[:, 0])
    assert torch.equal(apart.orbit(x), expected)
    assert apart.identity is None or apart.exact[0]


def test_products_that_are_groups_know_their_table() -> None:
    table = Grid(Flip(), QuarterTurns()).table()
    assert np.array_equal(table, Dihedral().table())
    assert Grid(Rotation.circle(4), Translation([(0, 0), (1, 0)])).table() is None
    assert Compose([Rotation.circle(5), Rotation.circle(5)]).table() is not None
    assert Compose([Rotation.circle(6), Rotation.circle(6)]).table() is None  # 0° and 360° are one element
    assert Grid(Flip(), Rotation.circle(4, jitter_deg=1)).table() is None


def test_inverses_of_nested_chains_undo_them() -> None:
    x = torch.zeros(2, 1, 20, 20)
    x[..., 8:12, 8:12] = noise(side=4)
    inner = Compose([Translation([(2, 0)]), Grid(QuarterTurns(), Translation([(0, 0), (0, 3)]))])
    nested = Inverse(inner)
    orbit = nested.orbit(x)
    for j in range(len(inner)):
        assert torch.equal(inner.orbit(orbit[:, j])[:, j], x)
    assert nested.inverse() is inner


def test_callables_take_part_between_affine_parts() -> None:
    x = noise()
    square = Elements([torch.square], labels=["square"])
    chain = Compose([Rotation([90]), square, Scale([1.5])])
    expected = Scale([1.5]).orbit(torch.rot90(x, 1, (-2, -1)).square())
    assert torch.equal(chain.orbit(x), expected)
    assert chain.labels == ("90°, then square, then × 1.5",)
    assert not chain.invertible
    assert chain.table() is None
    assert chain.identity is None
    with pytest.raises(TypeError, match="inverses="):
        chain.inverse()
    with pytest.raises(TypeError, match="actions="):
        chain.act(x[:, None])


def test_data_that_a_callable_makes_are_checked_where_they_arise() -> None:
    chain = Compose([lambda x: x.float() / 255, Flip()])
    pixels = torch.tensor([[[[0, 255]]]], dtype=torch.uint8)
    assert chain.orbit(pixels)[0, 1].tolist() == [[[1.0, 0.0]]]
    with pytest.raises(TypeError, match="of uint8"):
        Compose([lambda x: x, Flip()]).orbit(pixels)


def test_descriptions_of_chains_hold_those_of_their_parts() -> None:
    described = Grid(Flip(), Compose([Rotation([10]), Affine([[[1, 0, 0], [0, 1, 0]]])])).describe()
    parts = json.loads(json.dumps(described))["options"]["parts"]
    assert [part["family"] for part in parts] == ["flip", "compose"]
    assert parts[1]["options"]["parts"][0]["options"]["degrees"] == [10.0]


def test_a_rotation_of_a_shifted_image_turns_the_shift() -> None:
    spot = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    spot[..., 10, 10] = 1
    moved = Compose([Translation([(6, 0)]), Rotation([45])]).orbit(spot)[0, 0, 0]
    y, x = torch.meshgrid(torch.arange(21.0), torch.arange(21.0), indexing="ij")
    place = [float((moved * axis).sum() / moved.sum()) for axis in (x, y)]
    assert place == pytest.approx([10 + 6 / math.sqrt(2), 10 - 6 / math.sqrt(2)], abs=0.1)
