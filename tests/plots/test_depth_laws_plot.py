"""Laws of depth: planted ones come back, and what cannot have one is said."""

from __future__ import annotations

import numpy as np
import pytest

from invariscope.lab.plots.depth_laws import DepthLaws, law_values
from invariscope.results.result import Result


def result(values, name="net", start=1) -> Result:
    rows = [
        {"measure": "stability.D", "layer": f"relu{k}", "call": 0, "stratum": "all", "value": value,
         "ci_low": 0.9 * value, "ci_high": 1.1 * value}
        for k, value in enumerate(values, start=start)
    ]  # fmt: skip
    other = {**rows[0], "layer": "output", "value": 77.0}
    return Result(rows=(*rows, other), provenance={"model": {"name": name}})


def test_a_power_law_and_a_factor_come_back_with_their_lines():
    numbers = np.arange(1, 9)
    power = DepthLaws.prepare(result(3 * numbers**-0.7), law="power", layers=["relu*"]).series[0]
    assert power.slope == pytest.approx(-0.7)
    np.testing.assert_allclose(law_values(power, "power"), 3 * numbers**-0.7)
    factor = DepthLaws.prepare(result(5 * 2.0 ** (0.5 * numbers)), layers=["relu*"]).series[0]
    assert factor.slope == pytest.approx(0.5)
    np.testing.assert_allclose(law_values(factor, "exponential"), 5 * 2.0 ** (0.5 * numbers))


def test_the_line_rests_on_the_layers_from_the_first_on_and_keeps_their_numbers():
    values = [100.0, np.nan, 4.0, 8.0, 16.0]
    plot = DepthLaws.prepare(result(values), layers=["relu*"], first=3)
    (series,) = plot.series
    assert series.number.tolist() == [1, 3, 4, 5]  # a layer without a value keeps its place
    assert series.fitted.tolist() == [3, 4, 5]
    assert series.slope == pytest.approx(1.0)


def test_the_legend_names_the_law_of_each_model_and_a_power_has_logarithmic_axes():
    several = [result([4.0, 2.0, 1.0], "a"), result([1.0, 2.0, 4.0], "b")]
    ax = DepthLaws.prepare(several, layers=["relu*"]).draw().axes[0]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["a: 2^(−1.0 k)", "b: 2^(1.0 k)"]
    assert (ax.get_xscale(), ax.get_yscale()) == ("linear", "log")
    power = DepthLaws.prepare(several, law="power", layers=["relu*"]).draw().axes[0]
    assert (power.get_xscale(), power.get_yscale()) == ("log", "log")


def test_what_has_no_law_is_refused():
    with pytest.raises(ValueError, match=r"unknown law 'powr'. Closest: 'power'"):
        DepthLaws.prepare(result([1.0, 2.0]), law="powr")
    with pytest.raises(ValueError, match="no layer that matches"):
        DepthLaws.prepare(result([1.0, 2.0]), layers=["conv*"])


def test_a_logarithmic_axis_that_spans_little_still_has_several_numbers():
    figure = DepthLaws.prepare(result([1.0, 1.1, 1.2]), layers=["relu*"]).draw()
    figure.canvas.draw()
    texts = [t.get_text() for t in figure.axes[0].get_yticklabels()]
    assert {"1", "1.1"} <= {text for text in texts if "×" not in text and "$" not in text}
