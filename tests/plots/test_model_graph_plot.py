"""The graph of a model: which boxes and lines there are, and where."""

import numpy as np
import pytest
from sample_results import sample_result

import invariscope as iv
from invariscope.plots.model_graph import ModelGraph
from invariscope.plots.shared.graph_layout import FEW, MOST_ROWS, WIDEST, graph_layout

RESIDUAL = ("conv1", "relu", "conv2", "/add", "fc")


def result_of(layers, flow=None):
    result = sample_result(
        "net", layers=dict.fromkeys(layers, (3, 4, 4)), classes=False, curves=False, examples=False
    )
    if flow is not None:
        result.provenance["dataflow"] = [[name, 0, sources] for name, sources in flow]
    return result


def resnet(stages=4, blocks=8):
    """Layers and dataflow of a residual network with six layers per block, without those of its stem."""
    layers, flow = ["stem"], [("stem", [-1])]
    for i in range(stages):
        for j in range(blocks):
            last = len(flow) - 1
            for k, part in enumerate(("conv1", "bn1", "relu1", "conv2", "bn2")):
                flow.append((f"layer{i}.{j}.{part}", [last + k]))
            flow.append((f"layer{i}.{j}/add", [last, len(flow) - 1]))
    layers = [name for name, _ in flow]
    return layers, flow


@pytest.fixture
def residual():
    flow = [("conv1", [-1]), ("relu", [0]), ("conv2", [1]), ("/add", [1, 2]), ("fc", [3])]
    return result_of(RESIDUAL, flow)


def test_lines_are_the_recorded_connections(residual):
    plot = ModelGraph.prepare(residual)
    assert plot.known
    assert {view.reading for view in ModelGraph.views([residual])} == {""}
    assert plot.layers == RESIDUAL
    assert plot.edges == ((0, 1), (1, 2), (1, 3), (2, 3), (3, 4))
    assert plot.joins == {3: "+"}


def test_connections_lead_through_layers_that_are_not_shown(residual):
    plot = ModelGraph.prepare(residual, layers=["relu", "fc"])
    assert plot.edges == ((0, 1),)
    assert ModelGraph.prepare(residual, layers=["conv1", "conv2", "fc"]).edges == ((0, 1), (0, 2), (1, 2))


@pytest.mark.parametrize(
    "flow",
    [
        None,
        "conv1",
        [["conv1", 0, [-1]]],
        [["conv1", 0, [0]], ["relu", 0, [0]], ["conv2", 0, [1]], ["/add", 0, [1]], ["fc", 0, [3]]],
        [["conv1", 0, [-2]], *[[name, 0, []] for name in RESIDUAL[1:]]],
        [["conv1", 0, -1], *[[name, 0, []] for name in RESIDUAL[1:]]],
        [[1, 0, []], *[[name, 0, []] for name in RESIDUAL]],
    ],
)
def test_without_trustworthy_connections_there_are_none_and_the_figure_says_so(flow):
    result = result_of(RESIDUAL)
    if flow is not None:
        result.provenance["dataflow"] = flow
    plot = ModelGraph.prepare(result)
    assert not plot.known
    assert all("do not contain the connections" in view.reading for view in ModelGraph.views([result]))
    assert plot.edges == ()
    figure = plot.draw()
    assert "connections unknown" in figure.axes[0].get_xlabel()
    assert not figure.axes[0].collections or not figure.axes[0].collections[0].get_paths()


def test_few_layers_have_a_row_each_with_their_value_and_many_a_row_per_block(residual):
    figure = iv.plot("model_graph", residual)
    texts = [text.get_text() for text in figure.axes[0].texts]
    assert len(texts) == len(RESIDUAL)
    assert all(float(text) > 0 for text in texts)
    layers, flow = resnet()
    plot = ModelGraph.prepare(result_of(layers, flow))
    assert len(plot.layout.titles) == 1 + 4 * 8
    assert plot.layout.titles[:3] == ("stem", "layer0.0", "layer0.1")
    assert plot.layout.columns == 6
    assert [text.get_text() for text in plot.draw().axes[0].texts].count("+") == 32


@pytest.mark.parametrize("count", [1, FEW, FEW + 1, 60, 200, 1000])
def test_every_layer_has_its_own_box_in_reading_order(count):
    for names in ([str(i) for i in range(count)], [f"b{i // 9}.{i % 9}.conv" for i in range(count)]):
        layout = graph_layout(names, names, [(i, i + 1) for i in range(count - 1)])
        assert len(layout.x) == len(layout.y) == count
        assert len(set(zip(layout.x, layout.y, strict=True))) == count
        assert np.all(np.diff(layout.y * 1000 + layout.x) > 0)
        assert len(layout.titles) <= max(MOST_ROWS, -(-count // WIDEST))
        assert layout.hidden == 0
        assert len(layout.lines) == count - 1


def test_a_line_starts_at_its_source_and_ends_at_its_target():
    layers, flow = resnet()
    plot = ModelGraph.prepare(result_of(layers, flow))
    layout = plot.layout
    found = set()
    for line in layout.lines:
        ends = []
        for x, y in (line[0], line[-1]):
            near = np.abs(layout.x - x) + np.abs(layout.y - y)
            ends.append(int(near.argmin()))
            assert near.min() < 0.4
        found.add(tuple(ends))
        steps = np.abs(np.diff(line, axis=0))
        assert np.all(steps.min(axis=1) == 0), "lines have right angles only"
    assert found == set(plot.edges)


def test_long_connections_go_around_the_boxes_and_are_counted_if_there_is_no_room():
    names = [str(i) for i in range(20)]
    skips = [(i, 19 - i) for i in range(9)]
    layout = graph_layout(names, names, skips)
    lanes = {line[:, 0].max() for line in layout.lines}
    assert len(lanes) == 9
    assert min(lanes) > 0.5
    dense = [(i, j) for i in range(20) for j in range(i + 2, 20)]
    layout = graph_layout(names, names, dense)
    assert layout.hidden + len(layout.lines) == len(dense)
    assert layout.hidden > 0
    plot = ModelGraph.prepare(result_of(names, [(n, list(range(k)) or [-1]) for k, n in enumerate(names)]))
    assert "long connections are not drawn" in plot.draw().axes[0].get_xlabel()


def test_a_layer_without_a_value_is_hatched_and_explained(residual):
    from dataclasses import replace

    rows = [replace(row, value=float("nan")) if row.layer == "relu" else row for row in residual.rows]
    figure = iv.plot("model_graph", replace(residual, rows=tuple(rows)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["no value"]
    assert len(figure.axes[0].texts) == len(RESIDUAL) - 1


def test_the_chart_names_the_sources_of_each_layer(residual):
    from bokeh.models import HoverTool, MultiLine, Rect

    chart = ModelGraph.prepare(residual).chart()
    (tool,) = chart.select(HoverTool)
    assert ("from", "@sources") in tool.tooltips
    source = next(r.data_source for r in chart.renderers if isinstance(r.glyph, Rect))
    assert source.data["sources"] == ["–", "conv1", "relu", "relu, conv2", "/add"]
    lines = next(r.data_source for r in chart.renderers if isinstance(r.glyph, MultiLine))
    assert len(next(iter(lines.data.values()))) == 5


def test_unknown_strata_and_layers_are_refused(residual):
    with pytest.raises(ValueError, match="no rows of 'normalized_variance' for stratum 'dog'"):
        iv.plot("model_graph", residual, stratum="dog")
    with pytest.raises(ValueError, match="no layer matches"):
        iv.plot("model_graph", residual, layers="zzz")


def test_rows_leave_out_the_shared_prefix_and_parts_of_a_block_are_numbered():
    names = [f"net.stem.{i}" for i in range(3)] + [f"net.stage.{i}" for i in range(WIDEST + 6)]
    plot = ModelGraph.prepare(result_of(names))
    assert plot.layout.titles == ("stem", "stage (1)", "stage (2)")
    assert plot.remarks(0)[0] == "layers of net"


def test_texts_that_are_higher_than_their_box_are_left_out():
    several = [result_of([f"layer{i}" for i in range(10)]) for _ in range(6)]
    texts = [ax.texts for ax in iv.plot("model_graph", several, theme="paper").axes]
    assert not any(text.get_text() for found in texts for text in found)
    alone = iv.plot("model_graph", several[0], theme="paper").axes[0].texts
    assert all(text.get_text() for text in alone)
