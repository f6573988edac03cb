import pytest
from bokeh.models import BoxAnnotation, LinearAxis
from plot_rows import result, row
from sample_results import sample_result

from invariscope.plots import PLOTS
from invariscope.plots.layer_profile import LayerProfile
from invariscope.plots.shared import ticks
from invariscope.plots.shared.depth import shown_layers
from invariscope.plots.shared.layer_axis import blocks, layer_count
from invariscope.report.figures import sections

DEEP = [f"stage{i}.{j}.{part}" for i in range(3) for j in range(8) for part in ("conv", "norm", "relu")]


def deep(**options):
    return sample_result(layers=dict.fromkeys(DEEP, (3, 4, 4)), curves=False, examples=False, **options)


def test_blocks_are_the_runs_of_the_finest_level_with_few_of_them():
    assert [name for name, *_ in blocks(DEEP)] == [f"stage{i}.{j}" for i in range(3) for j in range(8)]
    assert blocks(DEEP)[1] == ("stage0.1", 3, 5)
    finer = [f"{name}.{k}" for name in DEEP for k in range(2)]
    assert [name for name, *_ in blocks(finer)] == [f"stage{i}.{j}" for i in range(3) for j in range(8)]


def test_layers_without_common_modules_and_few_layers_have_no_blocks():
    assert blocks([f"layer{i}" for i in range(30)]) == []
    assert blocks(DEEP[:6]) == []


def test_a_chart_of_layers_says_which_layer_is_where_and_names_the_blocks():
    chart = LayerProfile.prepare([result([row(name, 0.5) for name in DEEP])], layers=None).chart()
    (about,) = (tag["layers"] for tag in chart.tags if "layers" in tag)
    assert about == {"axis": "x", "labels": DEEP}
    marks = [part.name for part in chart.select(BoxAnnotation) if part.name]
    assert sorted(marks) == ["cursor", "picked"]
    (above,) = (part for part in chart.above if isinstance(part, LinearAxis))
    assert above.major_label_overrides[1.0] == "stage0.0"


@pytest.mark.parametrize("name", ["layer_profile", "unit_heatmap", "unit_distribution", "class_heatmap"])
def test_views_of_deep_networks_have_a_plot_of_all_layers(name):
    (view, *_) = PLOTS.get(name).views([deep()])
    assert layer_count(view.plot.chart()) == 24
    assert layer_count(view.whole.chart()) == 72


def test_views_of_small_networks_have_no_second_plot():
    for name in ("layer_profile", "unit_heatmap", "unit_distribution", "class_heatmap"):
        assert all(view.whole is None for view in PLOTS.get(name).views([sample_result()]))


def test_the_page_has_both_charts_of_a_deep_network_and_says_how_deep_they_are():
    _, charts = sections([deep(classes=False)])
    assert charts.depths["layer_profile-0"] == (24, 72)
    assert {"layer_profile-0", "layer_profile-0-all"} <= set(charts.items)


@pytest.mark.parametrize("name", ["layer_profile", "unit_heatmap", "unit_distribution", "class_heatmap"])
def test_charts_name_the_module_that_all_names_of_layers_leave_out(name):
    def titles(layers):
        shown = sample_result(layers=dict.fromkeys(layers, (3, 4, 4)), curves=False, examples=False)
        chart = PLOTS.get(name).views([shown])[0].plot.chart()
        return [axis.axis_label for axis in chart.references() if isinstance(axis, LinearAxis)]

    assert "layer of net.layer3" in titles(
        [f"net.layer3.{k}.{part}" for k in (0, 1) for part in ("conv", "relu")]
    )
    assert not any("layer of" in str(title) for title in titles(["layer3.conv", "fc"]))


def test_operations_belong_to_the_block_that_runs_them():
    parts = (".conv1", ".relu1", ".conv2", "/add", ".relu2")
    labels = [f"layer3.{block}{part}" for block in (0, 1, 2) for part in parts]
    assert blocks(labels) == [("0", 0, 4), ("1", 5, 9), ("2", 10, 14)]
    assert [(block.name, block.first, block.last) for block in ticks.blocks(labels)] == blocks(labels)
    deep = [f"layer{stage}.{block}{part}" for stage in range(6) for block in (0, 1) for part in parts]
    shown = [label for label, kept in zip(deep, shown_layers(deep), strict=True) if kept]
    assert shown == [f"layer{stage}.{block}.relu2" for stage in range(6) for block in (0, 1)]


def test_logarithmic_axes_have_round_numbers_over_the_whole_range():
    rows = [row(f"a{k}", value, measure="gradient_norm") for k, value in enumerate((0.004, 0.1, 0.9))]
    chart = LayerProfile.prepare([result(rows)], logarithmic=True).chart()
    ticks = [tick for tick in chart.yaxis[0].ticker.ticks if 0.004 <= tick <= 0.9]
    assert ticks == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]
    assert chart.yaxis[0].major_label_overrides[0.005] == "0.005"
