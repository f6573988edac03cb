"""The band of random weights stands behind the profile, layer by layer, in both forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bokeh.models import HoverTool, Quad
from plot_rows import NAN, result, row

from invariscope.plots.layer_profile import LayerProfile

LAYERS = ("a", "b", "c")


def random_row(layer, low, high, **columns):
    base = {"measure": "normalized_variance", "layer": layer, "call": 0, "stratum": "all"}
    return base | {"mean": (low + high) / 2, "low": low, "high": high, "draws": 30} | columns


def profile(values, band=(), **columns):
    """A result over layers a, b, c whose band has the given (layer, low, high)."""
    rows = [row(layer, value, **columns) for layer, value in zip(LAYERS, values, strict=True)]
    return replace(result(rows), baseline_rows=tuple(random_row(*entry) for entry in band))


def boxes(ax):
    """(left, right, bottom, top) of the shaded steps."""
    return [(*p.get_bbox().intervalx, *p.get_bbox().intervaly) for p in ax.patches]


def quads(chart):
    found = [r for r in chart.renderers if isinstance(r.glyph, Quad)]
    return [{name: np.asarray(v) for name, v in r.data_source.data.items()} for r in found]


BANDED = profile([0.2, 0.4, 0.6], [("c", 0.8, 0.9), ("a", 0.5, 0.7)])


def test_a_series_holds_the_band_of_each_layer_and_a_gap_where_there_is_none():
    (series,) = LayerProfile.prepare(BANDED).series
    np.testing.assert_array_equal(series.random.low, [0.5, NAN, 0.8])
    np.testing.assert_array_equal(series.random.high, [0.7, NAN, 0.9])
    np.testing.assert_allclose(series.random.mean, [0.6, NAN, 0.85])


def test_the_band_of_another_measure_or_stratum_or_call_is_not_taken():
    others = [{"measure": "sample_variance"}, {"stratum": "3"}, {"call": 1}]
    wrong = replace(BANDED, baseline_rows=tuple(random_row("a", 0.5, 0.7, **other) for other in others))
    assert not LayerProfile.prepare(wrong).series[0].random.known


def test_the_ratio_of_means_has_no_band():
    shown = profile([0.2, 0.4, 0.6], [("a", 0.5, 0.7)], value_ratio=0.3)
    assert LayerProfile.prepare(shown).series[0].random.known
    assert not LayerProfile.prepare(shown, column="value_ratio").series[0].random.known


def test_the_steps_of_the_figure_and_of_the_chart_are_the_bands():
    prepared = LayerProfile.prepare(BANDED)
    (ax,) = prepared.draw().axes
    drawn = [box for box in boxes(ax) if np.isfinite(box).all()]
    np.testing.assert_allclose(drawn, [(-0.5, 0.5, 0.5, 0.7), (1.5, 2.5, 0.8, 0.9)])
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["net", "random weights"]
    (quad,) = quads(prepared.chart())
    np.testing.assert_array_equal(quad["left"], [-0.5, 0.5, 1.5])
    np.testing.assert_array_equal(quad["low"], [0.5, NAN, 0.8])
    np.testing.assert_array_equal(quad["high"], [0.7, NAN, 0.9])


def test_without_a_baseline_nothing_is_shaded_or_named():
    prepared = LayerProfile.prepare(profile([0.2, 0.4, 0.6]))
    (ax,) = prepared.draw().axes
    assert (boxes(ax), ax.get_legend(), quads(prepared.chart())) == ([], None, [])
    assert "random nets" not in dict(prepared.chart().select_one(HoverTool).tooltips)


def test_the_pointer_shows_the_band():
    assert (
        dict(LayerProfile.prepare(BANDED).chart().select_one(HoverTool).tooltips)["random nets"] == "@random"
    )


def test_networks_that_share_their_band_are_shown_it_once():
    other = profile([0.3, 0.3, 0.3], [("c", 0.8, 0.9), ("a", 0.5, 0.7)])
    prepared = LayerProfile.prepare([BANDED, other])
    assert len(quads(prepared.chart())) == 1
    assert len(boxes(prepared.draw().axes[0])) == 3


def test_networks_with_bands_of_their_own_keep_them_apart():
    other = profile([0.3, 0.3, 0.3], [("a", 0.1, 0.2)])
    prepared = LayerProfile.prepare([profile([0.1, 0.1, 0.1]), BANDED, other])
    found = quads(prepared.chart())
    np.testing.assert_array_equal([quad["low"][0] for quad in found], [0.5, 0.1])
    colours = [r.glyph.fill_color for r in prepared.chart().renderers if isinstance(r.glyph, Quad)]
    assert len(set(colours)) == 2
    (ax,) = prepared.draw().axes
    named = [text.get_text() for text in ax.get_legend().get_texts()]
    assert named.count("random weights") == 1


def test_the_axis_reaches_the_band_but_not_its_far_tail():
    assert LayerProfile.prepare(BANDED).top == pytest.approx(1.08 * 0.9)
    wide = replace(BANDED, baseline_rows=(random_row("a", 0.5, 90.0, mean=1.0),))
    assert LayerProfile.prepare(wide).top == pytest.approx(1.08 * 1.6)


def test_steps_touch_each_other_on_relative_depth_too():
    prepared = LayerProfile.prepare(BANDED, relative=True)
    (quad,) = quads(prepared.chart())
    np.testing.assert_allclose(quad["left"], [-0.25, 0.25, 0.75])
    np.testing.assert_allclose(quad["right"], [0.25, 0.75, 1.25])
