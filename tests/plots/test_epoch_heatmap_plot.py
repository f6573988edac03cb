"""Layers over epochs: which number stands in which cell."""

import matplotlib.figure
import numpy as np
import pytest
from plot_rows import result, row

from invariscope.plots import draw
from invariscope.plots.epoch_heatmap import EpochHeatmap


def at(epoch, *values, training="net", layers=("conv", "fc"), **columns):
    rows = [row(layer, value, **columns) for layer, value in zip(layers, values, strict=True)]
    return result(rows, name=f"{training}, epoch {epoch}", training={"name": training, "epoch": epoch})


def test_a_cell_holds_the_layers_value_at_that_epoch_whatever_the_order_of_the_results():
    plot = EpochHeatmap.prepare([at(2, 0.5, 0.6), at(0, 0.1, 0.2, ci_low=0.0, ci_high=0.3), at(1, 0.3, 0.4)])
    assert (plot.layers, plot.epochs, plot.model) == (("conv", "fc"), (0, 1, 2), "net")
    np.testing.assert_array_equal(plot.value, [[0.1, 0.3, 0.5], [0.2, 0.4, 0.6]])
    np.testing.assert_array_equal(plot.low[:, 0], [0.0, 0.0])
    np.testing.assert_array_equal(plot.high[:, 0], [0.3, 0.3])
    assert np.isnan(plot.low[:, 1:]).all()


def test_a_layer_that_came_later_has_no_value_before():
    plot = EpochHeatmap.prepare([at(0, 0.1, layers=("conv",)), at(1, 0.3, 0.4)])
    np.testing.assert_array_equal(plot.value, [[0.1, 0.3], [np.nan, 0.4]])


def test_two_trainings_are_two_pictures_and_the_first_is_shown_unless_another_is_asked_for():
    results = [at(e, e + t, 1.0, training=name) for t, name in enumerate(("a", "b")) for e in (0, 1)]
    assert EpochHeatmap.prepare(results).value[0].tolist() == [0.0, 1.0]
    assert EpochHeatmap.prepare(results, model="b").value[0].tolist() == [1.0, 2.0]
    assert [view.label for view in EpochHeatmap.views(results)] == [
        "Normalized variance · a",
        "Normalized variance · b",
    ]


def test_a_single_epoch_is_not_a_picture_worth_showing():
    assert EpochHeatmap.views([at(0, 0.1, 0.2), result([row("conv", 0.1)])]) == []


def test_with_many_epochs_only_some_are_written_below_their_columns():
    plot = EpochHeatmap.prepare([at(5 * epoch, 0.1, 0.2) for epoch in range(40)])
    assert plot.ticks == list(range(0, 40, 4))
    figure = plot.draw()
    figure.canvas.draw()
    assert [label.get_text() for label in figure.axes[0].get_xticklabels()][:3] == ["0", "20", "40"]


def test_the_drawn_cells_are_the_prepared_ones():
    figure = draw("epoch_heatmap", [at(0, 0.1, 0.2), at(4, 0.3, 0.4)], theme="dark")
    assert isinstance(figure, matplotlib.figure.Figure)
    (image,) = figure.axes[0].get_images()
    np.testing.assert_array_equal(image.get_array(), [[0.1, 0.3], [0.2, 0.4]])


def test_results_without_an_epoch_or_with_other_names_are_refused():
    with pytest.raises(ValueError, match=r"has an epoch.*iv\.Monitor"):
        EpochHeatmap.prepare(result([row("conv", 0.1)]))
    with pytest.raises(ValueError, match=r"unknown training run 'nte'. Closest: 'net'"):
        EpochHeatmap.prepare(at(0, 0.1, 0.2), model="nte")
    with pytest.raises(ValueError, match=r"no rows of 'normalized_variance' for stratum '7'"):
        EpochHeatmap.prepare(at(0, 0.1, 0.2), stratum="7")
