"""Figures of weights: spectra over training, and filters drawn."""

from __future__ import annotations

import matplotlib.colors
import matplotlib.figure
import numpy as np
import pandas as pd
import pytest
from sample_results import sample_result

from invariscope.lab.plots.filter_images import FilterImages
from invariscope.lab.plots.filter_spectra import FilterSpectra
from invariscope.plots import PLOTS
from invariscope.plots.shared.theme import DARK, LIGHT


def table() -> pd.DataFrame:
    rows = [
        {"epoch": epoch, "layer": layer, "eigenvalue": value, "ratio": 1 + epoch * (6 - value)}
        for epoch in (0, 2, 5)
        for layer in ("conv1", "$x_2$")
        for value in (0.0, 1.0, 6.0)
        if (epoch, layer) != (2, "$x_2$")
    ]
    return pd.DataFrame(rows)


def test_the_spectra_are_the_tables_own_numbers_with_gaps_where_it_has_none():
    plot = FilterSpectra.prepare(table())
    assert plot.layers == ("conv1", "$x_2$")
    assert plot.epochs.tolist() == [0, 2, 5]
    assert [values.tolist() for values in plot.eigenvalues] == [[0, 1, 6]] * 2
    assert plot.ratios[0].tolist() == [[1, 13, 31], [1, 11, 26], [1, 1, 1]]
    np.testing.assert_array_equal(plot.ratios[1][0], [1, np.nan, 31])
    assert FilterSpectra.prepare(table(), layers=("conv1",)).layers == ("conv1",)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_the_figures_are_drawn_in_their_theme(theme, tmp_path):
    images = FilterImages.prepare({"start": np.eye(3)[None], "$trained$": -np.eye(3)[None]})
    for plot in (FilterSpectra.prepare(table()), images):
        figure = plot.draw(theme=theme.name)
        assert isinstance(figure, matplotlib.figure.Figure)
        assert matplotlib.colors.to_hex(figure.get_facecolor()) == theme.surface
        plot.save(tmp_path / "figure.svg", theme=theme.name)
        assert (tmp_path / "figure.svg").read_text().startswith("<?xml")


def test_each_line_is_a_frequency_on_a_logarithmic_scale():
    figure = FilterSpectra.prepare(table(), layers=("conv1",)).draw()
    ax = figure.axes[0]
    assert ax.get_yscale() == "log"
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["λ = 0", "λ = 1", "λ = 6"]


def test_panels_of_the_same_frequencies_share_one_legend_and_others_have_their_own():
    both = FilterSpectra.prepare(table()).draw().axes
    assert [ax.get_legend() is not None for ax in both] == [False, True]
    other = table().query("layer == 'conv1' or eigenvalue != 1")
    assert all(ax.get_legend() for ax in FilterSpectra.prepare(other).draw().axes)


def test_zero_is_the_middle_grey_and_the_largest_weight_an_end():
    filters = np.array([[[0.0, -2.0], [1.0, 0.0]], [[0.0, 0.0], [0.0, 0.0]]])
    plot = FilterImages.prepare({"start": filters}, details={"start": "R² 0.2"})
    np.testing.assert_allclose(plot.rows[0].frames[0], [[0.5, 0.0], [0.75, 0.5]])
    assert (plot.rows[0].frames[1] == 0.5).all()
    assert plot.rows[0].detail == "R² 0.2"


def test_at_most_so_many_filters_are_shown_the_same_in_each_row():
    first, last = np.arange(40.0).reshape(10, 2, 2), np.ones((10, 2, 2))
    plot = FilterImages.prepare({"start": first, "trained": last}, limit=5)
    assert plot.filters == (0, 2, 4, 6, 8)
    assert [len(row.frames) for row in plot.rows] == [5, 5]
    assert plot.grid().columns == ("0", "2", "4", "6", "8")


def test_what_cannot_be_drawn_is_refused():
    with pytest.raises(ValueError, match=r"lacks the columns eigenvalue, ratio: use"):
        FilterSpectra.prepare(table()[["epoch", "layer"]])
    with pytest.raises(ValueError, match=r"unknown layer 'conv2'. Closest: 'conv1'"):
        FilterSpectra.prepare(table(), layers=("conv2",))
    with pytest.raises(ValueError, match=r"got \{'start': \(2, 1, 3, 3\)\}: merge the axes"):
        FilterImages.prepare({"start": np.ones((2, 1, 3, 3))})
    with pytest.raises(ValueError, match="all rows must hold the same filters"):
        FilterImages.prepare({"a": np.ones((2, 3, 3)), "b": np.ones((3, 3, 3))})


def test_the_spectra_of_a_result_are_its_points_at_the_epochs_of_its_stages():
    result = sample_result(layers={f"conv{k}": (4, 6, 6) for k in range(6)} | {"fc": (5,)}, maps=True)
    plot = FilterSpectra.prepare(result, most=3)
    assert plot.layers == ("conv0", "conv2", "conv5")
    assert plot.epochs.tolist() == [0, 3]
    assert plot.ratios[0].tolist() == [[1, 4], [1, 3.5], [1, 1]]
    with pytest.raises(ValueError, match="no filter spectra"):
        FilterSpectra.prepare(sample_result())


def test_images_of_filters_are_not_part_of_a_report():
    assert "filter_images" not in PLOTS.names()


def test_gabor_fits_stand_below_the_filters_of_their_stage():
    from sample_results import sample_result

    from invariscope.lab.plots.gabor_filters import GaborFilters

    sample = sample_result("net", layers={"conv1": (4, 6, 6)}, maps=True)
    plot = GaborFilters.prepare(sample, limit=3)
    grid = plot.grid()
    assert (plot.layer, grid.columns) == ("conv1", ("0", "2", "4"))
    assert [row.label for row in grid.rows] == ["epoch 0", "epoch 0, fit", "trained", "trained, fit"]
    assert [row.detail for row in grid.rows] == ["", "R² 0.30", "", "R² 0.90"]
    np.testing.assert_array_equal(grid.rows[2].frames, grid.rows[3].frames)
    assert [view.label for view in GaborFilters.views([sample])] == ["conv1"]
    bare = sample_result("bare", layers={"conv1": (4, 6, 6)})
    assert GaborFilters.views([bare]) == []
    with pytest.raises(ValueError, match="no layer with Gabor fits"):
        GaborFilters.prepare(bare)
