"""How measures may be named."""

from __future__ import annotations

import pytest

import invariscope as iv
from invariscope.measures.base import as_measures


def test_a_text_may_hold_several_names_and_the_symbols_of_the_papers():
    expected = (iv.NormalizedVariance(), iv.TransformationVariance(), iv.Anova())
    assert as_measures("nv, tv, anova") == expected
    assert as_measures(["nv,TV", iv.Anova()]) == expected


def test_an_unknown_name_among_several_is_the_one_that_is_named():
    with pytest.raises(ValueError, match=r"unknown measure 'anvoa'\. Closest: 'anova'"):
        as_measures("nv, anvoa")
    with pytest.raises(ValueError, match="2 times"):
        as_measures("nv, normalized_variance")


def test_the_action_comes_first_in_a_deviation():
    assert iv.EquivarianceDeviation("spatial") == iv.EquivarianceDeviation(feature_action="spatial")
