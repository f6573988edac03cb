import numpy as np
import pytest
from plot_rows import NAN, curve, result

from invariscope.plots.element_curve import ElementCurve
from invariscope.plots.feature_orbits import FeatureOrbits
from invariscope.plots.orbit_strip import OrbitStrip

NV = "normalized_variance"

PREDICTIONS = (
    "prediction.accuracy", "prediction.flips", "prediction.probability_true", "consistency.by_element"
)  # fmt: skip


def test_a_curve_is_sorted_by_its_parameter_with_bounds_and_labels():
    (series,) = ElementCurve.prepare(result(curves=[curve(1, 0.5), curve(0, 0.9)])).series
    assert list(series.x) == [0, 90]
    assert list(series.value) == [0.9, 0.5]
    assert series.labels == ("0°", "90°")
    np.testing.assert_allclose(series.low, [0.8, 0.4])


def test_several_models_stand_on_one_axis():
    models = [result(curves=[curve(0, 0.9)], name="a"), result(curves=[curve(0, 0.8)], name="b")]
    assert [s.name for s in ElementCurve.prepare(models).series] == ["a", "b"]


def test_a_model_without_the_curve_is_left_out():
    models = [result(curves=[curve(0, 0.9)], name="a"), result(name="b")]
    assert [s.name for s in ElementCurve.prepare(models).series] == ["a"]


def test_elements_that_the_parameter_does_not_tell_apart_are_numbered():
    curves = [curve(0, 0.9, x=5.0), curve(1, 0.8, x=5.0)]
    prepared = ElementCurve.prepare(result(curves=curves))
    assert prepared.parameter == "element"
    assert list(prepared.series[0].x) == [0, 1]


def test_elements_without_any_parameter_are_numbered():
    prepared = ElementCurve.prepare(result(curves=[curve(0, 0.9, x=NAN), curve(1, 0.8, x=NAN)]))
    assert prepared.parameter == "element"


def test_wide_angles_are_marked_at_multiples_of_45_degrees():
    prepared = ElementCurve.prepare(result(curves=[curve(j, 0.9) for j in range(3)]))
    assert prepared.angle_ticks == [0, 45, 90, 135, 180]


def test_accuracy_is_the_first_view_and_shares_end_at_one():
    curves = [curve(j, 0.1, measure="prediction.flips") for j in range(2)] + [curve(0, 0.9), curve(1, 0.5)]
    views = ElementCurve.views([result(curves=curves)])
    assert [view.label for view in views] == ["Accuracy", "Predictions that change class"]
    assert views[0].plot.span == (0.0, 1.02)


def test_each_view_is_explained_by_what_it_shows():
    curves = [curve(j, 0.1, measure=name) for name in PREDICTIONS for j in range(2)]
    readings = {view.plot.measure: view.reading for view in ElementCurve.views([result(curves=curves)])}
    assert "accuracy" not in ElementCurve.reading.lower()
    assert all(("accuracy" in text) == (name == "prediction.accuracy") for name, text in readings.items())
    assert "0 means" in readings["prediction.flips"]
    assert "1 means" in readings["consistency.by_element"]


def test_a_curve_of_a_layer_names_it_and_says_that_others_have_one_too():
    measure = "equivariance_deviation.channelwise.by_element"
    curves = [curve(j, 0.5, measure=measure, layer=layer) for layer in ("conv1", "conv2") for j in range(2)]
    (view,) = ElementCurve.views([result(curves=curves)])
    assert view.label == "Equivariance deviation: channelwise, at layer conv2, the last of 2"
    written = view.plot.draw().axes[0].get_ylabel()
    assert " ".join(written.split()) == "Equivariance deviation: channelwise, at layer conv2"
    assert view.plot.chart().yaxis[0].axis_label == "Equivariance deviation: channelwise, at layer conv2"
    (alone,) = ElementCurve.views([result(curves=curves[:2])])
    assert alone.label == "Equivariance deviation: channelwise, at layer conv1"


def deviating(name, *values):
    points = [curve(j, v, measure="equivariance_deviation.output.by_element") for j, v in enumerate(values)]
    return result(curves=points, name=name)


def test_models_far_apart_stand_on_a_logarithmic_axis_and_what_is_not_positive_is_not_shown():
    far = [deviating("random", 0.0, 1e-7, 2e-7), deviating("plain", 1.0, 1.5, 0.5)]
    plot = ElementCurve.prepare(far)
    assert plot.logarithmic
    axes = plot.draw().axes[0]
    assert axes.get_yscale() == "log"
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [NAN, 1e-7, 2e-7])
    assert plot.chart().y_scale.__class__.__name__ == "LogScale"
    near = [deviating("a", 0.1, 0.2), deviating("b", 1.0, 1.5)]
    assert not ElementCurve.prepare(near).logarithmic
    assert ElementCurve.prepare(near).draw().axes[0].get_yscale() == "linear"
    assert ElementCurve.prepare(near, logarithmic=True).draw().axes[0].get_yscale() == "log"


def test_values_below_zero_are_never_put_on_a_logarithmic_axis_unasked():
    assert not ElementCurve.prepare([deviating("a", -0.5, 1.0, 2.0), deviating("b", 1e-6, 1e-6)]).logarithmic


def test_a_result_without_curves_is_refused_and_has_no_view():
    assert ElementCurve.views([result()]) == []
    with pytest.raises(ValueError, match="no curve to show"):
        ElementCurve.prepare(result())


def test_the_curve_figure_has_a_line_and_a_band_per_model():
    shown = [result(curves=[curve(0, 0.9), curve(1, 0.8)], name=name) for name in "ab"]
    (ax,) = ElementCurve.prepare(shown).draw().axes
    assert (len(ax.lines), len(ax.collections)) == (2, 2)
    assert ax.get_xlabel() == "angle (degrees)"


def orbit(m=4, channels=1, low=0.0):
    return np.linspace(low, 1, m * channels * 9).reshape(m, channels, 3, 3)


def test_an_orbit_within_zero_and_one_is_shown_as_it_is():
    images = orbit()
    prepared = OrbitStrip.prepare(result(examples={"orbit": images}, transform={"labels": list("abcd")}))
    np.testing.assert_array_equal(prepared.frames, images[:, 0])
    assert prepared.labels == ("a", "b", "c", "d")


def test_a_standardised_orbit_is_stretched_all_elements_alike():
    prepared = OrbitStrip.prepare(result(examples={"orbit": orbit(low=-3.0)}))
    assert (prepared.frames.min(), prepared.frames.max()) == (0, 1)
    assert prepared.frames[0].max() < prepared.frames[1].min()


def test_three_channels_are_colours():
    prepared = OrbitStrip.prepare(result(examples={"orbit": orbit(channels=3)}))
    assert prepared.frames.shape == (4, 3, 3, 3)
    assert prepared.grid().rows[0].pixels().dtype == np.uint8


def test_labels_of_another_count_are_not_trusted():
    prepared = OrbitStrip.prepare(result(examples={"orbit": orbit()}, transform={"labels": ["a"]}))
    assert prepared.labels == ("0", "1", "2", "3")


def test_a_long_orbit_is_thinned_evenly_and_says_so():
    prepared = OrbitStrip.prepare(result(examples={"orbit": orbit(m=96)}))
    assert prepared.labels[:3] == ("0", "4", "8")
    assert prepared.grid().rows[0].detail == "24 of 96 elements"


def test_results_on_the_same_data_show_the_orbit_once():
    same, other = {"orbit": orbit()}, {"orbit": orbit() ** 2}
    shown = [result(examples=e, name=n) for n, e in (("a", same), ("b", same), ("c", other))]
    assert [view.label for view in OrbitStrip.views(shown)] == ["a", "c"]
    assert [view.label for view in OrbitStrip.views(shown[:2])] == [""]


def test_a_result_without_images_has_no_strip():
    assert OrbitStrip.views([result()]) == []
    with pytest.raises(ValueError, match="no example orbit"):
        OrbitStrip.prepare(result())


def with_features():
    maps = {(NV, "block:0.conv"): np.stack([np.full((2, 2), 0.1), np.full((2, 2), 0.7)])}
    examples = {
        "orbit": orbit(),
        "feature:least:block:0.conv:1": np.arange(16.0).reshape(4, 2, 2),
        "feature:most:block:0.conv:0": np.ones((4, 2, 2)),
    }
    return result(maps=maps, examples=examples)


def test_features_carry_rank_layer_channel_and_measured_value_most_invariant_first():
    found = FeatureOrbits.prepare(with_features())
    assert [(f.rank, f.layer, f.channel, f.value) for f in found.features] == [
        ("most", "block:0.conv", 0, pytest.approx(0.1)),
        ("least", "block:0.conv", 1, pytest.approx(0.7)),
    ]


def test_a_features_brightness_is_shared_along_its_orbit():
    found = FeatureOrbits.prepare(with_features())
    constant, rising = (feature.frames for feature in found.features)
    assert not constant.any()
    np.testing.assert_allclose(rising.ravel(), np.arange(16) / 15)


def test_the_input_stands_above_its_feature_maps():
    grid = FeatureOrbits.prepare(with_features()).grid()
    assert [(r.label, r.detail) for r in grid.rows] == [
        ("input", ""),
        ("block:0.conv · 0", "most invariant · 0.1000"),
        ("block:0.conv · 1", "least invariant · 0.7000"),
    ]


def test_feature_maps_need_no_input_and_no_measured_value():
    examples = {"feature:most:conv:5": np.zeros((3, 2, 2))}
    grid = FeatureOrbits.prepare(result(examples=examples)).grid()
    assert grid.columns == ("0", "1", "2")
    assert [(r.label, r.detail) for r in grid.rows] == [("conv · 5", "most invariant")]


def test_the_grid_figure_has_an_image_per_frame():
    (ax,) = FeatureOrbits.prepare(with_features()).draw().axes
    assert len(ax.images) == 3 * 4
    assert [text.get_text() for text in ax.get_xticklabels()] == ["0", "1", "2", "3"]


def test_a_curve_against_something_else_names_its_own_plot():
    radius = curve(0, 0.5, measure="stability_curve.R", parameter="radius")
    with pytest.raises(
        ValueError, match=r"'stability_curve.R' is a curve against radius.*'stability_curves'"
    ):
        ElementCurve.prepare(result(curves=[radius, curve(0, 0.9)]), measure="stability_curve.R")


def test_networks_have_their_own_markers_in_curves():
    several = [result(curves=[curve(0, 0.9), curve(1, 0.5)], name=name) for name in "ab"]
    lines = ElementCurve.prepare(several).draw().axes[0].get_lines()
    assert [line.get_marker() for line in lines] == ["o", "s"]
