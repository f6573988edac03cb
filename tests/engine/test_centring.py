"""Layers whose grid is off the image's centre: noted where turning elements act on them, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.engine.extras import grid_notes as centring


def even(transform, filters):
    """Filters that are what the elements make of them."""
    return transform.orbit(filters).mean(1)


def net(transform, **options):
    """One convolution with filters as symmetric as the elements, so that only its grid can break them."""
    torch.manual_seed(0)
    conv = nn.Conv2d(1, 4, 3, bias=False, **({"stride": 2, "padding": 1} | options))
    conv.weight.data = even(transform, conv.weight.data)
    return nn.Sequential(conv, nn.Tanh())


def images(*size):
    return torch.rand(24, 1, *size, generator=torch.Generator().manual_seed(1))


def measured(model, x, transform, measure):
    result = iv.measure(model, x, transform, measures=[measure], progress=False)
    return {row["layer"]: row for row in result.rows if row["measure"] == measure.label}, result


MOVING = [
    iv.SameEquivariance(),
    iv.EquivarianceDeviation(kind="channelwise"),
    iv.EquivarianceDeviation(feature_action="spatial", distance="l2"),
    iv.EquivarianceError(),
    iv.EquivarianceError(feature_action={"0": "spatial", "*": "trivial"}),
]


@pytest.mark.parametrize("measure", MOVING, ids=lambda m: m.label)
def test_a_stride_that_leaves_the_grid_off_centre_is_noted_and_an_odd_size_is_not(measure):
    turns = iv.QuarterTurns()
    off, result = measured(net(turns), images(28, 28), turns, measure)
    assert off["0"]["grid"].startswith(
        "grid off the image's centre, 0.5 px to the left and 0.5 px up: '180°' misplaces it by 1.41 px"
    )
    assert off["0"]["grid"] in off["0"]["note"]
    assert any(note.startswith("grids off the image's centre: 0") for note in result.provenance["notes"])
    centred, result = measured(net(turns), images(29, 29), turns, measure)
    assert not any("grid" in row for row in centred.values())
    assert not any("centre" in note for note in result.provenance["notes"])


def test_a_result_with_such_a_note_is_read_back(tmp_path):
    turns = iv.QuarterTurns()
    rows, result = measured(net(turns), images(28, 28), turns, iv.SameEquivariance())
    result.save(tmp_path / "run")
    read = {
        row["layer"]: row for row in iv.load(tmp_path / "run").rows if row["measure"] == "same_equivariance"
    }
    assert read["0"]["grid"] == rows["0"]["grid"] != ""


def test_the_note_comes_where_a_symmetric_layer_breaks_and_only_there():
    turns, error = iv.QuarterTurns(), iv.EquivarianceError()
    for size, options in [
        (28, {}),
        (29, {}),
        (28, {"dilation": 2}),
        (27, {"padding": 0}),
        (28, {"padding": 0}),
    ]:
        rows, _ = measured(net(turns, **options), images(size, size), turns, error)
        assert (rows["0"]["value"] > 0.01) == ("grid" in rows["0"]), (size, options)
        assert rows["0"]["value"] > 0.01 or rows["0"]["value"] < 1e-6


def test_elements_that_do_not_touch_the_axis_that_is_off_are_exact_and_not_noted():
    sideways, x = iv.Flip("horizontal"), images(28, 29)
    rows, _ = measured(net(sideways), x, sideways, iv.EquivarianceError())
    assert rows["0"]["value"] < 1e-6
    assert "grid" not in rows["0"]
    rows, _ = measured(net(iv.Flip("vertical")), x, iv.Flip("vertical"), iv.EquivarianceError())
    assert rows["0"]["value"] > 0.01
    assert "grid off the image's centre, 0.5 px up: 'up-down' misplaces it by 1 px" in rows["0"]["note"]


@pytest.mark.parametrize(
    ("transform", "measure"),
    [
        (iv.Translation([(0, 0), (2, 0)]), iv.EquivarianceError()),
        (iv.QuarterTurns(), iv.EquivarianceError(feature_action="trivial")),
        (iv.QuarterTurns(), iv.NormalizedVariance()),
        (iv.QuarterTurns(), iv.EquivarianceDeviation(feature_action="fitted")),
    ],
)
def test_what_moves_no_positions_about_the_centre_costs_no_forward_and_says_nothing(
    transform, measure, monkeypatch
):
    rows, result = measured(net(transform), images(28, 28), transform, measure)
    assert not any("grid" in row for row in rows.values())
    assert not any("centre" in note for note in result.provenance["notes"])
    if not isinstance(transform, iv.Translation):
        monkeypatch.setattr(centring, "grids", lambda *args, **options: pytest.fail("not needed"))
        measured(net(transform), images(28, 28), transform, measure)


def test_drawn_rotations_are_noted_too():
    drawn = iv.Rotation.uniform(3)
    rows, _ = measured(net(iv.QuarterTurns()), images(28, 28), drawn, iv.EquivarianceError())
    assert "'0° ± 180°' misplaces it by 1." in rows["0"]["note"]


def test_a_map_that_is_not_square_is_noted_only_under_elements_that_mix_its_axes():
    torch.manual_seed(0)
    tall = nn.Sequential(nn.Conv2d(1, 2, 1, stride=(1, 2)))
    rows, _ = measured(tall, images(29, 29), iv.Rotation([0, 90]), iv.EquivarianceError())
    assert rows["0"]["grid"].startswith(
        "29 × 15 units do not form a square: elements that mix rows and columns"
    )
    rows, _ = measured(tall, images(29, 29), iv.Rotation([0, 180]), iv.EquivarianceError())
    assert "grid" not in rows["0"]
    assert rows["0"]["value"] < 1e-6


def test_a_model_that_cannot_be_followed_is_measured_and_says_what_is_not_known():
    conv = net(iv.QuarterTurns())

    def elsewhere(x):
        with torch.no_grad():
            return {"maps": conv(torch.from_numpy(x.numpy().copy())).numpy()}

    rows, _ = measured(elsewhere, images(28, 28), iv.QuarterTurns(), iv.EquivarianceError())
    assert rows["maps"]["grid"].startswith(
        "coarser than the inputs, due to operations that could not be followed"
    )


def test_trouble_with_the_grids_does_not_affect_the_measurement(monkeypatch):
    def broken(*args, **options):
        raise RuntimeError

    expected, _ = measured(net(iv.Flip()), images(28, 28), iv.Flip(), iv.EquivarianceError())
    monkeypatch.setattr(centring, "grids", broken)
    found, _ = measured(net(iv.Flip()), images(28, 28), iv.Flip(), iv.EquivarianceError())
    assert found["0"]["value"] == expected["0"]["value"]


def test_the_stated_displacement_is_what_the_action_does_to_a_point():
    turn, offset = np.deg2rad(50), np.array([0.75, -0.25])  # right, down
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    point = np.array([3.0, 2.0])  # from the image's centre
    moved_by_the_map = offset + matrix @ (point - offset)
    astray = np.linalg.norm(moved_by_the_map - matrix @ point)
    said = centring.off_centre((offset[1], offset[0]), matrix[None, None], ("50°",))
    assert f"'50°' misplaces it by {astray:.3g} px" in said


def test_a_failed_assertion_names_the_offset_and_the_odd_size_passes():
    turns = iv.QuarterTurns()
    said = r"positions +grid off the image's centre, 0.5 px to the left and 0.5 px up"
    with pytest.raises(iv.SymmetryError, match=said):
        iv.assert_equivariant(net(turns), images(28, 28), turns)
    assert not iv.assert_equivariant(net(turns), images(29, 29), turns).broken


def test_a_result_with_a_grid_off_the_centre_is_read_back_as_it_was_saved(tmp_path):
    turns = iv.QuarterTurns()
    _, result = measured(net(turns), images(28, 28), turns, iv.EquivarianceDeviation(kind="channelwise"))
    assert any("off the image's centre" in row.get("grid", "") for row in result.rows)
    result.save(tmp_path / "run")
    assert [row.get("grid") for row in iv.load(tmp_path / "run").rows] == [
        row.get("grid") for row in result.rows
    ]
