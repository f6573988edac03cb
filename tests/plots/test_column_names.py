"""Names below the columns of an interactive chart do not touch, on a phone or on a wide screen."""

from __future__ import annotations

import pytest

from invariscope.plots.shared.interactive import new_chart
from invariscope.plots.shared.layer_axis import EDGES, name_columns

PHONE, DESK = 343, 1100


def orientation(names: list[str], width: int) -> object:
    """The orientation that the page's script chooses at this width."""
    chart = new_chart(height=300)
    name_columns(chart, names)
    axis = chart.xaxis[0]
    (fit,) = [tag["fit"] for tag in axis.tags if "fit" in tag]
    return fit["narrow" if width < fit["below"] else "wide"]["major_label_orientation"]


def test_short_names_are_level_at_any_width():
    assert {orientation(["conv", "relu", "fc"], width) for width in (PHONE, DESK)} == {"horizontal"}


@pytest.mark.parametrize("longest", ["sum, call 1", "global_pool"])
def test_names_that_would_touch_on_a_phone_are_slanted_there(longest):
    names = ["emb", "enc", "act", "sum", longest, "div", "head"]
    assert sum(map(len, names)) <= 40
    assert orientation(names, PHONE) == 0.75
    assert orientation(names, DESK) == "horizontal"
    column = (PHONE - EDGES) / len(names)
    assert column < 6 * (len(longest) + 3) / 2, "level names would not touch, so the check shows nothing"


def test_one_column_has_a_level_name():
    assert orientation(["conv"], PHONE) == "horizontal"
