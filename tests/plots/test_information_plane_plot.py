"""Class against transformation: which number stands on which axis."""

import matplotlib.figure
import numpy as np
import pytest
from plot_rows import NAN, result, row

from invariscope.plots.information_plane import InformationPlane


def told(layer, about_element, about_class, **columns):
    """The four rows of one layer, shares a quarter and a half of the bits."""
    values = {"transform": about_element, "label": about_class}
    values |= {"transform_share": about_element / 4, "label_share": about_class / 2}
    return [row(layer, value, measure=f"information.{name}", **columns) for name, value in values.items()]


def test_bits_about_the_transformation_lie_on_x_and_about_the_class_on_y():
    net = result([*told("conv", 0.4, 0.1, ci_low=0.0, ci_high=0.5), *told("fc", 0.2, 0.8)])
    (series,) = InformationPlane.prepare(net).series
    assert series.layers == ("conv", "fc")
    np.testing.assert_array_equal(series.x, [0.4, 0.2])
    np.testing.assert_array_equal(series.y, [0.1, 0.8])
    np.testing.assert_array_equal(series.x_interval, [[0.0, 0.5], [NAN, NAN]])
    shares = InformationPlane.prepare(net, form="shares").series[0]
    np.testing.assert_array_equal([shares.x, shares.y], [[0.1, 0.05], [0.05, 0.4]])


def test_layers_without_both_values_and_results_without_layers_are_left_out():
    rows = [*told("conv", 0.4, 0.1), *told("dead", NAN, NAN)]
    rows.append(row("only", 0.3, measure="information.transform"))
    plot = InformationPlane.prepare([result(rows), result([row("conv", 1.0)], name="other")])
    assert [(series.name, series.layers) for series in plot.series] == [("net", ("conv",))]


def test_runs_of_a_shared_module_stay_apart():
    plot = InformationPlane.prepare(result([*told("conv", 0.4, 0.1), *told("conv", 0.3, 0.2, call=1)]))
    assert plot.series[0].layers == ("conv", "conv, call 1")
    np.testing.assert_array_equal(plot.series[0].y, [0.1, 0.2])


def test_the_drawn_line_runs_through_the_prepared_values_in_the_order_of_the_layers():
    net = result([*told("conv", 0.4, 0.1), *told("fc", 0.2, 0.8)])
    figure = InformationPlane.prepare([net, net]).draw(theme="dark")
    assert isinstance(figure, matplotlib.figure.Figure)
    line = figure.axes[0].get_lines()[0]
    np.testing.assert_array_equal(line.get_xydata(), [[0.4, 0.1], [0.2, 0.8]])


def test_views_are_there_only_where_the_class_is_known():
    assert [view.label for view in InformationPlane.views([result(told("conv", 0.4, 0.1))])] == [
        "Bits",
        "Shares",
    ]
    assert InformationPlane.views([result([row("conv", 0.3, measure="information.transform")])]) == []


def test_what_cannot_be_shown_is_refused_with_what_to_measure():
    with pytest.raises(ValueError, match=r"no layer has information\.transform .* measure 'information'"):
        InformationPlane.prepare(result([row("conv", 1.0)]))
    with pytest.raises(ValueError, match=r"unknown form 'bit'.*'bits'"):
        InformationPlane.prepare(result(told("conv", 0.4, 0.1)), form="bit")
