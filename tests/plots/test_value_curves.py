"""Curves of table values: what is shown, and where the axis ends."""

from __future__ import annotations

import math

import numpy as np
import pytest

from invariscope.lab.plots.value_curves import ValueCurve


def test_points_are_sorted_and_those_without_a_value_left_out():
    curve = ValueCurve.prepare([(2.0, 5.0, 4.0, 6.0), (1.0, 3.0, 2.0, 4.0), (3.0, math.nan, 0, 0)], axis="r")
    np.testing.assert_array_equal(curve.x, [1, 2])
    np.testing.assert_array_equal(curve.value, [3, 5])
    assert not curve.ratio


def test_the_axis_of_ratios_is_logarithmic_has_a_line_at_one_and_cuts_wide_intervals():
    points = [(3.0, 4.0, 3.0, 5.0), (6.0, 2.0, 1.5, 2.5), (9.0, 3.0, 1e-6, 1e6), (12.0, -1.0, -2.0, 0.0)]
    curve = ValueCurve.prepare(points, axis="radius", ratio=True)
    assert curve.x.tolist() == [3, 6, 9]
    low, high = curve.span
    assert 0.4 < low < 1 < 5 < high < 10
    ax = curve.draw().axes[0]
    assert ax.get_yscale() == "log"
    assert ax.get_ylim() == pytest.approx((low, high))
    assert [1, 1] in [list(line.get_ydata()) for line in ax.lines]
    assert ax.get_xlabel() == "radius"


def test_an_interval_close_to_the_values_is_shown_whole():
    curve = ValueCurve.prepare([(0.0, 1.0, 0.9, 1.1), (1.0, 2.0, 1.9, 2.1)], axis="r")
    low, high = curve.span
    assert low < 0.9
    assert high > 2.1


def test_a_single_value_is_no_curve():
    with pytest.raises(ValueError, match="at least two values"):
        ValueCurve.prepare([(1.0, 2.0, 1.0, 3.0), (2.0, 0.0, 0.0, 1.0)], axis="r", ratio=True)
