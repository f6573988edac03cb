"""Figures of smooth fields: their numbers, and what is drawn of them."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from invariscope.lab.plots.deformation_phases import DeformationPhases
from invariscope.lab.plots.displacement_fields import DisplacementFields
from invariscope.transforms import Deformation, Diffeomorphism


def bend() -> Deformation:
    return Deformation([[[[0.1]], [[0.0]]], [[[0.0]], [[-0.05]]]])


def blob(n: int = 20) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(n), torch.arange(n), indexing="ij")
    return torch.exp(-((x - 8.0) ** 2 + (y - 11.0) ** 2) / 20)


def test_fields_are_those_of_the_sample_and_positions_point_to_where_pixels_come_from():
    transform = Diffeomorphism(3)
    plot = DisplacementFields.prepare(transform, size=(20, 24), index=7, seed=2)
    np.testing.assert_array_equal(plot.fields, transform.field([7], size=(20, 24), seed=2)[0])
    assert plot.labels == transform.labels
    straight = DisplacementFields.prepare(bend(), size=(11, 11)).positions[0]
    assert straight[0, 5, 5] == pytest.approx(5 - 1)
    np.testing.assert_array_equal(straight[1], np.indices((11, 11))[0])


def test_arrows_are_the_displacements_in_pixels():
    figure = DisplacementFields.prepare(bend(), size=(13, 13)).draw()
    arrows = figure.axes[0].collections[0]
    assert arrows.U.max() == pytest.approx(1.2)
    assert arrows.scale == 1
    assert np.abs(arrows.V).max() < 1e-12


def test_the_image_lies_under_the_arrows_and_must_have_their_size():
    plot = DisplacementFields.prepare(bend(), size=(20, 20), image=blob()[None])
    assert plot.image is not None
    assert (plot.image.min(), plot.image.max()) == (0, 1)
    assert len(plot.draw().axes[0].images) == 1
    with pytest.raises(ValueError, match=r"\(20, 20\) pixels, but the fields have \(8, 8\)"):
        DisplacementFields.prepare(bend(), size=(8, 8), image=blob())


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_grid_lines_are_drawn_in_both_themes(theme):
    figure = DisplacementFields.prepare(bend(), size=(20, 20)).draw(theme=theme)
    assert [len(ax.collections) for ax in figure.axes] == [1, 1, 2, 2]
    upright = figure.axes[3].collections[0]  # the second field moves along y only: lines of x stay straight
    assert all(np.ptp(path.vertices[:, 0]) < 1e-9 for path in upright.get_paths())


def test_images_over_the_plane_are_the_deformed_image_and_its_range_is_marked():
    plot = DeformationPhases.prepare(blob(), cutoffs=(2, 3), columns=6, seed=1)
    low, high = Diffeomorphism.allowed_range(20, 3)
    np.testing.assert_allclose(plot.ranges[1], [low, high])
    inside = [low <= t <= high for t in plot.temperatures]
    assert list(plot.allowed[1]) == inside
    assert 0 < sum(inside) < 6
    k = inside.index(True)
    expected = Diffeomorphism(1, temperature=plot.temperatures[k], c=3).orbit(blob()[None, None], seed=1)[
        0, 0, 0
    ]
    assert np.corrcoef(plot.images[1, k].ravel(), expected.ravel())[0, 1] == pytest.approx(1)
    np.testing.assert_allclose(plot.columns_of(np.array(plot.temperatures)), np.arange(6) + 0.5)


def test_the_plane_draws_pale_images_outside_of_the_range():
    plot = DeformationPhases.prepare(blob(), cutoffs=(2, 3), columns=5)
    (ax,) = plot.draw(theme="dark").axes
    assert [image.get_alpha() for image in ax.images] == [1.0 if a else 0.3 for a in plot.allowed.ravel()]
    assert [line.get_label() for line in ax.lines] == ["T1", "T2"]
    np.testing.assert_allclose(ax.lines[1].get_xdata()[::2], plot.columns_of(plot.ranges[:, 1]))


def test_a_plane_of_one_temperature_is_refused():
    with pytest.raises(ValueError, match="at least 2; got 1"):
        DeformationPhases.prepare(blob(), columns=1)
