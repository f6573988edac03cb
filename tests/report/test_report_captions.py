"""What charts and tables say of values without an interval, and to readers who cannot see them."""

import numpy as np
import pytest
from plot_rows import NAN, curve, result, row

from invariscope.plots.class_heatmap import ClassHeatmap
from invariscope.plots.element_curve import ElementCurve
from invariscope.plots.layer_profile import LayerProfile
from invariscope.plots.model_graph import ModelGraph
from invariscope.plots.unit_heatmap import UnitHeatmap
from invariscope.report import captions, comparison
from invariscope.report.tables import row_table

FEW = "no interval: the smallest group has 6 of 8 samples needed; 64 samples suffice"


def whole(layer, value, **columns):
    return row(layer, value, ci_low=value - 0.1, ci_high=value + 0.1, **columns)


def bare(layer, value, note=FEW, **columns):
    return row(layer, value, ci_low=NAN, ci_high=NAN, note=note, **columns)


def test_a_chart_counts_the_layers_without_an_interval_and_says_why():
    shown = result([whole("a", 0.5), bare("b", 0.25), whole("c", 0.75), row("d", NAN)])
    assert captions.without_interval(LayerProfile.prepare(shown), [shown]) == (
        "No interval for 1 of 3 layers: the smallest group has 6 of 8 samples needed; 64 samples suffice (b)."
    )


def test_a_chart_in_which_every_layer_has_an_interval_says_nothing():
    shown = result([whole("a", 0.5), whole("b", 0.25)])
    assert captions.without_interval(LayerProfile.prepare(shown), [shown]) == ""


def test_reasons_are_counted_and_those_that_differ_in_numbers_are_one():
    few = "no interval yet: {} samples decide the value"
    rows = [bare(layer, 0.5, few.format(n)) for layer, n in zip("ab", (2.5, 3.1), strict=True)]
    shown = result([*rows, bare("c", 0.5, "dead units; no interval: intervals=False"), whole("d", 0.5)])
    assert captions.without_interval(LayerProfile.prepare(shown), [shown]) == (
        "No interval for 3 of 4 layers: 2.5 to 3.1 samples decide the value (a, b); intervals=False (c)."
    )


def test_layers_of_several_networks_are_told_apart():
    nets = [result([bare("a", 0.5)], name="n"), result([whole("a", 0.5)], name="m")]
    text = captions.without_interval(LayerProfile.prepare(nets), nets)
    assert text.startswith("No interval for 1 of 2 layers: ")
    assert text.endswith("(a of n).")


def test_a_curve_explains_its_elements_with_the_note_of_its_row_or_the_rarity_of_the_event():
    points = [curve(0, 0.0, ci_low=NAN, ci_high=NAN), curve(1, 0.5)]
    shown = result([row("a", 0.5)], curves=points)
    assert captions.without_interval(ElementCurve.prepare(shown), [shown]) == (
        "No interval for 1 of 2 points: it needs 5 samples for which the event occurs, and 5 for which it "
        "does not (0°)."
    )
    noted = result([bare("output", 0.5, measure="prediction.accuracy")], curves=points)
    assert "the smallest group has 6 of 8 samples" in captions.without_interval(
        ElementCurve.prepare(noted), [noted]
    )


def test_untransformed_inputs_whose_predictions_cannot_change_are_no_gap():
    points = [curve(k, 0.0, measure="prediction.flips", ci_low=NAN, ci_high=NAN) for k in range(3)]
    shown = result([row("a", 0.5)], curves=points)
    text = captions.without_interval(ElementCurve.prepare(shown), [shown])
    assert text.startswith("No interval for 2 of 3 points: ")
    assert text.endswith("(90°, 180°).")


def test_the_table_counts_all_samples_and_classes_apart():
    rows = [whole("a", 0.5), bare("a", 0.5, stratum="cat"), bare("a", 0.5, stratum="dog", note="")]
    assert captions.of_tables([result(rows)]) == [
        "No interval for any of 2 values of classes and their means: the smallest group has 6 of 8 samples "
        "needed; 64 samples suffice (a); the reason was not recorded (a)."
    ]


def test_the_table_has_a_column_with_the_notes_if_they_differ():
    table = row_table([result([whole("a", 0.5), bare("b", 0.5)])])
    assert [cells[table.keys.index("note")] for cells in table.rows] == ["", FEW]
    assert "note" not in row_table([result([whole("a", 0.5)])]).keys


def test_a_chart_is_described_by_its_range_and_where_the_ends_are():
    nets = [
        result([whole("a", 0.5), whole("b", 0.25)], name="n"),
        result([whole("a", 0.75), whole("b", 0.5)], name="m"),
    ]
    assert captions.described(LayerProfile.prepare(nets), "Normalized variance") == (
        "Layer by layer: Normalized variance. Values of 2 layers of 2 networks range from 0.25 (b, n) to "
        "0.75 (a, m)."
    )


def test_a_chart_without_a_value_is_described_by_its_title():
    shown = result([row("a", 0.5)], curves=[curve(0, NAN), curve(1, NAN)])
    assert captions.described(ElementCurve.prepare(shown), "Accuracy") == "Element by element: Accuracy."


def test_a_heat_map_of_classes_counts_their_values_and_a_graph_its_layers():
    rows = [whole("a", 0.5), bare("b", 0.25, "no interval: 2 live units")]
    rows += [whole("a", 0.5, stratum="cat"), bare("a", 0.5, stratum="dog")]
    shown = result(rows, data={"classes": ["cat", "dog"]})
    few = "the smallest group has 6 of 8 samples needed; 64 samples suffice"
    assert captions.without_interval(ClassHeatmap.prepare(shown), [shown]) == (
        f"No interval for 1 of 2 values of classes: {few} (a)."
    )
    assert captions.without_interval(ModelGraph.prepare(shown), [shown]) == (
        "No interval for 1 of 2 values: 2 live units (b)."
    )


def test_a_heat_map_of_one_of_two_networks_speaks_of_that_one():
    nets = [result([bare("a", 0.5), whole("b", 0.5)], name=name) for name in ("n", "m")]
    nets[1] = result([whole("a", 0.5), whole("b", 0.5)], name="m")
    said = [captions.without_interval(ModelGraph.prepare(net), nets) for net in nets]
    assert [bool(text) for text in said] == [True, False]


def test_units_have_no_intervals_and_the_caption_says_where_those_of_layers_are():
    shown = result([whole("a", 0.5)], maps={("normalized_variance", "a"): np.ones(3)})
    assert captions.without_interval(UnitHeatmap.prepare(shown), [shown]) == captions.UNITS


@pytest.mark.parametrize(
    ("note", "value", "said"),
    [
        (FEW, 0.75, "the smallest group has 6 of 8 samples needed; 64 samples suffice"),
        ("", 0.75, "the reason was not recorded"),
    ],
)
def test_differences_without_an_interval_are_explained(note, value, said):
    nets = [result([bare("a", 0.5, note), whole("b", 0.5)], name="n")]
    nets.append(result([bare("a", value, note), whole("b", 0.75)], name="m"))
    found = comparison.compare_all(nets)
    rows = found.rows.assign(ci_low=[NAN, 0.1])
    assert captions.of_differences(rows) == f"No interval for 1 of 2 differences: {said} (a)."
    assert captions.of_differences(rows.assign(ci_low=[0.1, 0.1])) == ""
    assert list(found.gaps) == [target for _, target, *_ in found.charts]
