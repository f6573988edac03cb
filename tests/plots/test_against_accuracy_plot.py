"""Invariance against accuracy: which networks stand where, and the line through them."""

import matplotlib.figure
import numpy as np
import pytest
from plot_rows import NAN, result, row
from scipy import stats

from invariscope.lab.plots.against_accuracy import AgainstAccuracy
from invariscope.plots.shared.canvas import Canvas
from invariscope.plots.shared.look import Look
from invariscope.report.figures import sections


def network(name, r, error):
    """R in two layers, of which the last one counts, and the share of wrong answers."""
    rows = [
        row("conv", 7.0, measure="stability.R"),
        row("fc", r, measure="stability.R", ci_low=0.9 * r, ci_high=1.1 * r),
        row("gone", NAN, measure="stability.R"),
        row("output", error, measure="test.error", ci_low=-0.1, ci_high=2 * error),
    ]
    return result(rows, name=name)


R = np.array([0.01, 0.05, 0.3, 0.9, 2.0])
NAMES = ("vgg, P = 1", "vgg, P = 2", "lenet, P = 1", "lenet, P = 2", "fc, P = 1")
BENDS = (1.1, 0.9, 1.0, 1.2, 0.95)
NETWORKS = [network(name, r, 0.2 * r**0.5 * bend) for name, r, bend in zip(NAMES, R, BENDS, strict=True)]


def test_a_dot_is_the_last_layer_that_has_a_value_and_families_share_the_name_before_the_comma():
    plot = AgainstAccuracy.prepare(NETWORKS)
    assert (plot.measure, plot.accuracy, plot.logarithmic) == ("stability.R", "test.error", True)
    sizes = {family.name: len(family.networks) for family in plot.families}
    assert sizes == {"vgg": 2, "lenet": 2, "fc": 1}
    np.testing.assert_array_equal(np.concatenate([family.x for family in plot.families]), R)
    np.testing.assert_allclose(plot.families[0].x_interval[0], [0.009, 0.011])
    np.testing.assert_array_equal(AgainstAccuracy.prepare(NETWORKS, layer="conv").families[0].x, [7.0, 7.0])


def test_the_line_and_the_interval_of_its_slope_are_those_of_a_linear_regression():
    errors = np.array([r.table["value"].iloc[-1] for r in NETWORKS])
    for logarithmic in (True, False):
        line = AgainstAccuracy.prepare(NETWORKS, logarithmic=logarithmic).line
        x, y = (np.log10(R), np.log10(errors)) if logarithmic else (R, errors)
        known = stats.linregress(x, y)
        reach = stats.t.ppf(0.975, 3) * known.stderr
        assert (line.slope, line.low, line.high) == pytest.approx(
            (known.slope, known.slope - reach, known.slope + reach)
        )
        end = known.intercept + known.slope * x[-1]
        assert line.y[1] == pytest.approx(10**end if logarithmic else end)


def test_accuracies_stand_on_even_steps_though_what_was_measured_is_logarithmic():
    rows = zip(NAMES, R, (0.0, 0.4, 0.5, 0.9, 0.95), strict=True)
    scored = [
        result([row("fc", r, measure="stability.R"), row("output", a, measure="test.accuracy")], name=name)
        for name, r, a in rows
    ]
    plot = AgainstAccuracy.prepare(scored)
    assert (plot.accuracy, plot.scales) == ("test.accuracy", (True, False))
    axes = plot.draw().axes[0]
    assert (axes.get_xscale(), axes.get_yscale()) == ("log", "linear")
    known = stats.linregress(np.log10(R), [0.0, 0.4, 0.5, 0.9, 0.95])
    assert plot.line.slope == pytest.approx(known.slope)
    assert plot.line.y[1] == pytest.approx(known.intercept + known.slope * np.log10(R[-1]))
    assert AgainstAccuracy.prepare(NETWORKS).scales == (True, True)


def test_two_networks_have_no_line():
    plot = AgainstAccuracy.prepare(NETWORKS[:2])
    assert plot.line is None
    assert plot.slope == ""
    assert AgainstAccuracy.prepare(NETWORKS, fit=False).line is None


def test_intervals_that_reach_zero_end_at_the_dot_on_logarithmic_axes():
    figure = AgainstAccuracy.prepare(NETWORKS).draw()
    assert isinstance(figure, matplotlib.figure.Figure)
    bars = [c.get_segments() for c in figure.axes[0].collections]
    lowest = min(point[1] for segments in bars for segment in segments for point in segment)
    assert lowest == pytest.approx(0.022)


def test_a_network_without_an_accuracy_is_left_out_and_none_at_all_refused():
    bare = result([row("fc", 0.5, measure="stability.R")], name="bare")
    plot = AgainstAccuracy.prepare([*NETWORKS, bare])
    assert "bare" not in [family.name for family in plot.families]
    with pytest.raises(ValueError, match="no accuracy"):
        AgainstAccuracy.prepare(bare)
    with pytest.raises(ValueError, match=r"no network has both stability\.R of layer 'pool'"):
        AgainstAccuracy.prepare(NETWORKS, layer="pool")
    with pytest.raises(ValueError, match="need positive values"):
        AgainstAccuracy.prepare([network("a", 0.0, 0.1), network("b", 1.0, 0.1)], logarithmic=True)


def test_views_need_two_networks():
    assert [view.label for view in AgainstAccuracy.views(NETWORKS)] == ["Stability: R"]
    assert AgainstAccuracy.views(NETWORKS[:1]) == []


PLACES = [(3, 3, False), (8, 1, False), (9, 1, True), (30, 2, True)]


@pytest.mark.parametrize(("entries", "columns", "beside"), PLACES)
def test_a_legend_stands_above_a_few_lines_and_beside_many(entries, columns, beside):
    canvas = Canvas(Look())
    figure, ax = canvas.figure, canvas.panel(6.0, 4.0)
    for i in range(entries):
        ax.plot([0, 1], [i, i], label="a long name of a network, P = 10000" if entries == 8 else f"net {i}")
    canvas.legend(ax)
    legend = ax.get_legend()
    assert legend._ncols == columns
    figure.draw_without_rendering()
    box, frame = legend.get_window_extent(), ax.get_window_extent()
    assert (box.x0 >= frame.x1) == beside
    assert box.x1 <= figure.bbox.x1


def test_the_report_has_a_legend_of_the_families():
    (section,) = (one for one in sections(NETWORKS)[0] if one.name == "against_accuracy")
    legend = section.pictures[0].legend
    assert [(entry.name, entry.colour) for entry in legend] == [("vgg", 0), ("lenet", 1), ("fc", 2)]
