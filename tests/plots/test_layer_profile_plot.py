import matplotlib.figure
import numpy as np
import pytest
from plot_rows import NAN, result, row
from sample_results import sample_result

from invariscope.plots.layer_profile import BAND, LOGARITHMIC, NULL, LayerProfile


def profile(values, *, names=None, **columns):
    names = names or [f"layer{i}" for i in range(len(values))]
    return result([row(n, v, **columns) for n, v in zip(names, values, strict=True)])


def test_a_series_holds_each_layers_value_interval_and_null_in_forward_order():
    rows = [
        row("conv", 0.2, ci_low=0.1, ci_high=0.3, null=1.1, units=7),
        row("fc", 0.8, ci_low=0.7, ci_high=0.9, null=1.2, units=3),
    ]
    (series,) = LayerProfile.prepare(result(rows, name="plain")).series
    assert series.name == "plain"
    assert series.layers == ("conv", "fc")
    for found, expected in (
        (series.x, [0, 1]),
        (series.value, [0.2, 0.8]),
        (series.low, [0.1, 0.7]),
        (series.high, [0.3, 0.9]),
        (series.null, [1.1, 1.2]),
        (series.units, [7, 3]),
    ):
        np.testing.assert_array_equal(found, expected)


def test_the_ratio_comes_with_its_own_interval_and_without_the_null_of_the_mean():
    rows = [row("conv", 0.2, value_ratio=0.4, ratio_low=0.3, ratio_high=0.5, null=1.0)] * 2
    (series,) = LayerProfile.prepare(result(rows), column="value_ratio").series
    np.testing.assert_array_equal(series.value, [0.4, 0.4])
    np.testing.assert_array_equal(series.low, [0.3, 0.3])
    assert np.isnan(series.null).all()


def test_models_with_the_same_layers_share_the_layer_axis():
    prepared = LayerProfile.prepare([profile([1, 2, 3]), profile([3, 2, 1])])
    assert not prepared.relative
    assert [list(s.x) for s in prepared.series] == [[0, 1, 2], [0, 1, 2]]


def test_models_of_different_depth_are_put_on_relative_depth():
    prepared = LayerProfile.prepare([profile([1, 2, 3]), profile([1, 2, 3, 4, 5])])
    assert prepared.relative
    assert [list(s.x) for s in prepared.series] == [[0, 0.5, 1], [0, 0.25, 0.5, 0.75, 1]]


def test_relative_depth_of_a_single_layer_is_zero():
    prepared = LayerProfile.prepare(profile([1.0]), relative=True)
    assert list(prepared.series[0].x) == [0]


def test_models_of_the_same_name_are_told_apart():
    prepared = LayerProfile.prepare([profile([1, 2]), profile([1, 2])])
    assert [s.name for s in prepared.series] == ["net (1)", "net (2)"]


def test_later_calls_of_a_shared_module_are_layers_of_their_own():
    prepared = LayerProfile.prepare(result([row("relu", 0.1), row("relu", 0.2, call=1)]))
    assert prepared.series[0].layers == ("relu", "relu, call 1")


def test_the_normalized_variance_leads_wherever_it_stands_in_the_table():
    rows = [row("a", 5.0, measure="sample_variance"), row("a", 0.5)]
    assert LayerProfile.prepare(result(rows)).measure == "normalized_variance"


def test_a_convention_of_the_normalized_variance_leads_if_it_is_the_only_one():
    rows = [row("a", 0.5, measure=m) for m in ("cka", "normalized_variance.pool=after", "sample_variance")]
    assert LayerProfile.prepare(result(rows)).measure == "normalized_variance.pool=after"
    rows.append(row("a", 0.5))
    assert LayerProfile.prepare(result(rows)).measure == "normalized_variance"


def test_an_interval_far_wider_than_the_values_does_not_flatten_them():
    prepared = LayerProfile.prepare(profile([0.5, 1.0], ci_low=-90.0, ci_high=90.0))
    assert prepared.top == pytest.approx(1.08 * 1.6)
    assert prepared.bottom == 0


def test_a_layer_without_a_value_leaves_a_gap_and_does_not_spoil_the_axis():
    prepared = LayerProfile.prepare(profile([0.5, NAN, 1.0]))
    assert np.isnan(prepared.series[0].value[1])
    assert prepared.top == pytest.approx(1.08)


def test_raw_variances_over_orders_of_magnitude_get_a_logarithmic_axis():
    assert LayerProfile.prepare(profile([1e-3, 10.0], measure="sample_variance")).logarithmic


@pytest.mark.parametrize("convention", ["", ".quiroga2019", ".pool=after"])
def test_multiples_of_a_change_of_sample_keep_their_zero_however_small_a_layer_is(convention):
    small = profile([1e-3, 1.0], null=1.0, measure=f"normalized_variance{convention}")
    assert not LayerProfile.prepare(small).logarithmic


def test_a_broken_layer_stands_out_from_right_ones_although_the_null_is_far_above_both():
    shown = profile([5e-6, 0.115, 0.0], null=82.0, ci_low=-1.0, ci_high=1.0, measure="lie.rotation")
    plot = LayerProfile.prepare(shown)
    assert plot.logarithmic
    axes = plot.draw().axes[0]
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [5e-6, 0.115, NAN])
    bars = axes.collections[0].get_segments()
    assert [bar[0][1] for bar in bars[:2]] == [5e-6, 0.115]
    assert plot.chart().y_scale.__class__.__name__ == "LogScale"
    near = profile([0.005, 0.115], null=82.0, measure="lie.rotation")
    assert not LayerProfile.prepare(near).logarithmic


def test_a_view_explains_only_the_marks_that_its_figure_has():
    def said(**columns):
        return LayerProfile.views([profile([1e-3, 1.0], **columns)])[0].reading

    assert said() == ""
    assert said(null=1.0) == NULL
    assert said(null=1.0, measure="sample_variance") == f"{NULL} {LOGARITHMIC}"
    assert BAND in LayerProfile.explain()
    assert BAND not in LayerProfile.reading


def test_layers_with_values_below_zero_are_never_put_on_a_logarithmic_axis_unasked():
    assert not LayerProfile.prepare(profile([-0.1, 1e-6, 1.0], measure="lie.rotation")).logarithmic


def test_an_unknown_measure_is_refused_with_the_closest_one():
    with pytest.raises(ValueError, match=r"normalised_variance.*Closest: 'normalized_variance'"):
        LayerProfile.prepare(profile([1.0]), measure="normalised_variance")


def test_a_class_that_was_not_measured_is_refused():
    with pytest.raises(ValueError, match=r"no rows of 'normalized_variance' for stratum 'cat'"):
        LayerProfile.prepare(profile([1.0]), stratum="cat")


def test_no_result_at_all_is_refused():
    with pytest.raises(ValueError, match="no result"):
        LayerProfile.prepare([])


def test_the_views_leave_out_measures_of_the_output_alone():
    rows = [row("a", 1.0), row("b", 1.0), row("output", 0.9, measure="prediction.accuracy")]
    assert [view.plot.measure for view in LayerProfile.views([result(rows)])] == ["normalized_variance"]


def test_the_figure_has_a_line_an_interval_and_a_null_per_model():
    shown = [profile([0.2, 0.4], ci_low=0.1, ci_high=0.5, null=1.0), profile([0.3, 0.6], null=1.0)]
    figure = LayerProfile.prepare(shown).draw()
    assert isinstance(figure, matplotlib.figure.Figure)
    (ax,) = figure.axes
    assert [line.get_linestyle() for line in ax.lines] == ["-", "-", ":"]  # the networks share their null
    assert len(ax.collections) == 2
    assert [text.get_text() for text in ax.get_legend().get_texts()][:2] == ["net (1)", "net (2)"]
    assert [text.get_text() for text in ax.get_xticklabels()] == ["layer0", "layer1"]


def test_some_layers_alone_can_be_shown_and_the_scale_be_chosen():
    whole = LayerProfile.prepare(sample_result(), measure="normalized_variance")
    some = LayerProfile.prepare(
        sample_result(), measure="normalized_variance", layers=["conv?", "fc*"], logarithmic=True
    )
    assert some.series[0].layers == ("conv1", "conv2", "conv3", "fc1", "fc2")
    kept = [whole.series[0].layers.index(layer) for layer in some.series[0].layers]
    np.testing.assert_array_equal(some.series[0].value, whole.series[0].value[kept])
    assert len(some.series[0].random.low) == 5
    assert some.draw().axes[0].get_yscale() == "log"
    assert whole.draw().axes[0].get_yscale() == "linear"
