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


def test_a_class_stands_for_the_measure_with_its_defaults():
    assert as_measures(iv.Anova) == as_measures([iv.Anova]) == (iv.Anova(),)


@pytest.mark.parametrize("wrong", [5, iv.Flip(), iv.Flip, b"nv", {"nv": 1}, [None]])
def test_anything_else_is_refused_by_its_type(wrong):
    got = type(wrong[0] if isinstance(wrong, list) else wrong).__name__
    with pytest.raises(TypeError, match=rf"a measure must be an object such as .*; got {got}"):
        as_measures(wrong)
