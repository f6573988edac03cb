import numpy as np
import pytest
from plot_rows import NAN, result, row

from invariscope.plots.class_heatmap import ClassHeatmap
from invariscope.plots.shared.cells import cells, shared_range
from invariscope.plots.unit_distribution import UnitDistribution
from invariscope.plots.unit_heatmap import UnitHeatmap

NV = "normalized_variance"


def test_a_feature_map_is_the_mean_of_its_live_units_and_dead_ones_stay_dead():
    array = np.array([[[1.0, 3.0], [NAN, NAN]], [[NAN, NAN], [NAN, NAN]], [[2.0, 2.0], [2.0, 2.0]]])
    column = cells("conv", array)
    np.testing.assert_array_equal(column.values, [2.0, NAN, 2.0])
    assert (column.kind, column.dead) == ("feature map", 1)


def test_an_infinite_unit_counts_as_one_without_a_value():
    np.testing.assert_array_equal(cells("fc", np.array([np.inf, 1.0])).values, [NAN, 1.0])


def test_a_layer_of_plain_units_keeps_them():
    column = cells("fc", np.array([0.1, 0.2]))
    assert (column.kind, list(column.values)) == ("unit", [0.1, 0.2])


def test_a_layer_of_one_number_has_one_cell():
    assert list(cells("score", np.array(0.5)).values) == [0.5]


def test_too_many_units_are_averaged_in_equal_runs_that_know_where_they_start():
    column = cells("fc", np.arange(10.0), limit=4)
    assert list(column.values) == [1.0, 4.0, 7.0, 9.0]
    assert list(column.index) == [0, 3, 6, 9]
    assert column.lead == "3 units from"


def test_the_scale_starts_at_zero_and_ignores_the_few_largest():
    values = np.r_[np.full(99, 0.5), 1000.0]
    assert shared_range([values]) == (0.0, 0.5)


def test_one_huge_value_among_few_does_not_take_the_scale():
    assert shared_range([np.array([1.0, 1.0, 1.0, 1.0, 1e6])]) == (0.0, 4.0)


@pytest.mark.parametrize("values", [[NAN], [], [0.0, 0.0]])
def test_the_scale_of_nothing_is_still_a_scale(values):
    assert shared_range([np.array(values)]) == (0.0, 1.0)


def test_a_column_per_layer_in_forward_order():
    maps = {(NV, "zeta"): [1.0, 2.0], (NV, "alpha"): [3.0]}
    prepared = UnitHeatmap.prepare(result([row("zeta", 1.5), row("alpha", 3.0)], maps=maps))
    assert [column.label for column in prepared.columns] == ["zeta", "alpha"]


def test_sorting_keeps_each_units_number_and_puts_the_dead_last():
    maps = {(NV, "fc"): [3.0, NAN, 1.0]}
    (column,) = UnitHeatmap.prepare(result(maps=maps), sort=True).columns
    np.testing.assert_array_equal(column.values, [1.0, 3.0, NAN])
    assert list(column.index) == [2, 0, 1]


def test_views_of_two_models_share_the_colour_scale():
    both = [result(maps={(NV, "fc"): [0.2]}, name="a"), result(maps={(NV, "fc"): [0.9]}, name="b")]
    first, second = UnitHeatmap.views(both)
    assert first.plot.span == second.plot.span == (0.0, 0.9)
    assert (first.label, second.label) == ("Normalized variance · a", "Normalized variance · b")


def test_a_result_without_maps_is_refused():
    with pytest.raises(ValueError, match="no measure to show"):
        UnitHeatmap.prepare(result([row("fc", 1.0)]))


def test_the_figure_draws_an_image_per_layer_over_a_hatched_ground():
    figure = UnitHeatmap.prepare(result(maps={(NV, "a"): [1.0, NAN], (NV, "b"): [2.0]})).draw()
    ax = figure.axes[0]
    assert len(ax.images) == 2
    assert [patch.get_hatch() for patch in ax.patches] == ["/////", "/////"]
    assert ax.images[0].get_array().mask.tolist() == [[False], [True]]


def by_class():
    rows = [row("conv", 0.5), row("fc", 0.6)]
    rows += [row("conv", 0.1, stratum="cat"), row("fc", 0.2, stratum="cat")]
    rows += [row("conv", 0.3, stratum="dog"), row("fc", NAN, stratum="dog"), row("fc", 0.2, stratum="mean")]
    maps = {(NV, "fc", "cat"): [0.1, 0.2], (NV, "fc", "dog"): [0.3, 0.4], (NV, "conv", "cat"): [1.0]}
    return result(rows, maps=maps, data={"classes": ["dog", "cat"]})


def test_classes_are_in_the_order_of_the_data_and_means_are_not_a_class():
    prepared = ClassHeatmap.prepare(by_class())
    assert prepared.classes == ("dog", "cat")
    assert prepared.layers == ("conv", "fc")
    np.testing.assert_array_equal(prepared.by_layer, [[0.3, NAN], [0.1, 0.2]])


def test_the_units_shown_are_those_of_the_last_layer_that_every_class_has():
    prepared = ClassHeatmap.prepare(by_class())
    assert prepared.last_layer == "fc"
    assert [list(found.values) for found in prepared.by_unit] == [[0.3, 0.4], [0.1, 0.2]]


def test_a_result_without_classes_has_no_class_view_and_is_refused():
    assert ClassHeatmap.views([result([row("fc", 1.0)])]) == []
    with pytest.raises(ValueError, match=r"no values per class: .* by_class=True"):
        ClassHeatmap.prepare(result([row("fc", 1.0)]))


def test_the_class_figure_names_classes_and_layers():
    first, second, *_ = ClassHeatmap.prepare(by_class()).draw().axes
    assert [text.get_text() for text in first.get_yticklabels()] == ["dog", "cat"]
    assert [text.get_text() for text in first.get_xticklabels()] == ["conv", "fc"]
    assert second.images[0].get_array().shape == (2, 2)


def test_quantiles_are_over_all_live_units_and_the_dead_are_counted():
    maps = {(NV, "conv"): np.r_[np.arange(101.0), NAN, NAN].reshape(1, -1), (NV, "off"): [NAN]}
    prepared = UnitDistribution.prepare(result(maps=maps))
    np.testing.assert_allclose(prepared.quantiles[0], [5, 25, 50, 75, 95])
    assert np.isnan(prepared.quantiles[1]).all()
    assert (list(prepared.live), list(prepared.dead)) == ([101, 0], [2, 1])
    assert prepared.mean[0] == 50
    assert prepared.draw().axes[0].containers


def test_the_violin_is_widest_where_most_units_are_and_empty_for_the_dead():
    maps = {(NV, "conv"): np.repeat([0.2, 0.8], [90, 30]), (NV, "off"): [NAN]}
    prepared = UnitDistribution.prepare(result(maps=maps))
    widest, place = prepared.outline[0], np.linspace(prepared.bottom, prepared.top, prepared.outline.shape[1])
    assert place[widest.argmax()] == pytest.approx(0.2, abs=0.03)
    at_second = np.abs(place - 0.8) < 0.05
    assert widest[at_second].max() == pytest.approx(1 / 3, abs=0.01)
    assert widest[np.abs(place - 0.5) < 0.1].max() == 0
    assert prepared.outline[1].max() == 0


def many_classes(count, layers=("conv", "fc"), *, maps=False):
    rows = [row(layer, 0.5) for layer in layers]
    rows += [row(layer, (i * 7 % count) / count, stratum=f"c{i}") for i in range(count) for layer in layers]
    units = {(NV, "fc", f"c{i}"): [float(i), 2.0 * i] for i in range(count)} if maps else {}
    return result(rows, maps=units)


@pytest.mark.parametrize("maps", [False, True])
def test_of_many_classes_the_lowest_quantiles_and_the_highest_are_shown(maps):
    prepared = ClassHeatmap.prepare(many_classes(1000, maps=maps))
    lowest, middle, highest = prepared.by_layer[:12], prepared.by_layer[12:15], prepared.by_layer[15:]
    np.testing.assert_allclose(lowest[:, 0], np.arange(12) / 1000)
    np.testing.assert_allclose(highest[:, 1], np.arange(988, 1000) / 1000)
    np.testing.assert_allclose(middle, np.outer([0.0999, 0.4995, 0.8991], [1, 1]))
    assert prepared.classes[0] == "c0"
    assert prepared.classes[1] == "c143"  # 7 · 143 mod 1,000 = 1
    assert prepared.classes[13] == "median of 1,000 classes"
    if maps:
        assert len(prepared.by_unit) == len(prepared.classes) == 27
        np.testing.assert_allclose(prepared.by_unit[13].values, [499.5, 999.0])


def test_classes_without_a_value_are_not_among_the_extremes():
    several = many_classes(60)
    rows = [*several.rows, row("conv", NAN, stratum="absent"), row("fc", NAN, stratum="absent")]
    prepared = ClassHeatmap.prepare(result(rows))
    assert "absent" not in prepared.classes
    assert prepared.classes[13] == "median of 61 classes"
