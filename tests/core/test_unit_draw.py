"""Draws of units, two per bin, and the error of estimates from them, against plain loops."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from invariscope.measures.values import UnitValues, drawing_error
from invariscope.unit_draw import MIN_LIVE, DrawingError, UnitDraw

SEEDS = 2000


def edges_of(total, count):
    """The edges ⌊hU/H⌋ of H = K/2 bins."""
    bins = count // 2
    return [h * total // bins for h in range(bins + 1)]


def oracle(above, below, places, total):
    """The weighted ratio of sums, v₂ and its degrees of freedom, bin by bin.

    Args:
        above, below: (drawn,) N and D of the drawn units.
        places: (drawn,) their positions in the flat layer.
    """
    edges, units = edges_of(total, len(places)), {}
    for place, n, d in zip(places, above, below, strict=True):
        own = next(h for h, (low, high) in enumerate(pairwise(edges)) if low <= place < high)
        units.setdefault(own, []).append((float(n), float(d)))
    sizes = {h: edges[h + 1] - edges[h] for h in units}
    top = sum(sizes[h] * (pair[0][0] + pair[1][0]) for h, pair in units.items())
    bottom = sum(sizes[h] * (pair[0][1] + pair[1][1]) for h, pair in units.items())
    ratio, mean = top / bottom, bottom / (2 * total)
    parts = []
    for h, pair in units.items():
        first, second = ((n - ratio * d) / mean for n, d in pair)
        parts.append((sizes[h] / total) ** 2 * (1 - 2 / sizes[h]) * (first - second) ** 2 / 4)
    squares = sum(q**2 for q in parts)
    return ratio, sum(parts), 3 * sum(parts) ** 2 / squares if squares else float("inf")


@given(total=st.integers(8, 3000), share=st.floats(0.002, 0.25), seed=st.integers(0, 2**40))
def test_every_bin_has_two_different_units_whatever_the_size(total, share, seed):
    wanted = max(2, int(total * share))
    draw = UnitDraw.of((total,), wanted, seed=seed)
    assert draw.count == wanted // 2 * 2
    pairs = draw.indices.reshape(-1, 2).tolist()
    for (first, second), (low, high) in zip(pairs, pairwise(edges_of(total, draw.count)), strict=True):
        assert first != second
        assert low <= first < high
        assert low <= second < high


def test_an_odd_number_draws_one_unit_less():
    assert UnitDraw.of((1000,), 101, seed=0).count == 100
    np.testing.assert_array_equal(
        UnitDraw.of((1000,), 101, seed=0).indices, UnitDraw.of((1000,), 100, seed=0).indices
    )


@pytest.mark.parametrize(
    ("shape", "units", "count"),
    [
        ((400,), 100, 100),
        ((400,), 101, None),
        ((400,), 4000, None),
        ((65_536,), "auto", None),
        ((65_537,), "auto", 4096),
        ((1 << 20,), "all", None),
        ((1 << 20,), 512, 512),
    ],
)
def test_layers_are_taken_whole_if_more_than_a_quarter_would_be_drawn(shape, units, count):
    draw = UnitDraw.of(shape, units, seed=0)
    assert (None if draw is None else draw.count) == count


def test_the_draw_depends_on_the_seed_and_the_number_of_units_only():
    draw = UnitDraw((8, 40, 30), 64, seed=3)
    for same in (UnitDraw((8, 40, 30), 64, seed=3), UnitDraw((9600,), 64, seed=3)):
        np.testing.assert_array_equal(draw.indices, same.indices)
    for other in (UnitDraw((8, 40, 30), 64, seed=4), UnitDraw((8, 40, 31), 64, seed=3)):
        assert (draw.indices != other.indices).mean() > 0.9


def test_every_unit_of_a_bin_is_drawn_equally_often():
    drawn = np.zeros(100)
    for seed in range(SEEDS):
        drawn[UnitDraw((100,), 6, seed=seed).indices] += 1
    sizes = np.repeat(np.diff(edges_of(100, 6)), np.diff(edges_of(100, 6)))
    expected = SEEDS * 2 / sizes
    assert np.square((drawn - expected) / np.sqrt(expected)).sum() < 135  # 97 degrees; P < 1 %


@pytest.mark.parametrize("shape", [(5, 6, 7), (210,)])
def test_units_are_numbered_in_logical_order_however_they_are_stored(shape):
    values = torch.arange(3.0 * 210).reshape(3, *shape)
    draw = UnitDraw(shape, 20, seed=1)
    expected = values.flatten(1).numpy()[:, draw.indices]
    np.testing.assert_array_equal(draw.take(values).numpy(), expected)
    if len(shape) == 3:
        stored = values.contiguous(memory_format=torch.channels_last)
        np.testing.assert_array_equal(draw.take(stored).numpy(), expected)
        strided = torch.stack([values, values], dim=-1)[..., 0]
        assert not strided.is_contiguous()
        np.testing.assert_array_equal(draw.take(strided).numpy(), expected)


def test_drawn_values_return_to_their_places():
    draw = UnitDraw((5, 6, 7), 20, seed=1)
    whole = draw.in_layer(np.arange(40.0).reshape(2, 20))
    assert whole.shape == (2, 5, 6, 7)
    assert np.isfinite(whole).sum() == 40
    np.testing.assert_array_equal(whole.reshape(2, -1)[:, draw.indices], np.arange(40.0).reshape(2, 20))


def test_sums_of_channels_are_scaled_up_to_their_positions():
    draw = UnitDraw((10, 6, 10), 8, seed=2)
    found = draw.channel_sums(np.arange(8.0)[None])[0]
    for channel in range(10):
        own = np.arange(8.0)[draw.indices // 60 == channel]
        expected = own.mean() * 60 if len(own) else np.nan
        np.testing.assert_allclose(found[channel], expected)
    assert np.isnan(found).any()


@pytest.fixture(params=[(3000,), (3001,), (7, 13, 33)], ids=["equal bins", "unequal bins", "maps"])
def layer(request):
    """A layer with trends, outliers and dead units: its shape, values and flags of live units."""
    rng, shape = np.random.default_rng(5), request.param
    total = int(np.prod(shape))
    values = 1 + rng.random(total) + np.linspace(0, 4, total)
    return shape, values, rng.random(total) < 0.7


@pytest.mark.parametrize("seed", range(5))
def test_the_error_of_a_mean_is_that_of_the_definition(layer, seed):
    shape, values, live = layer
    draw = UnitDraw(shape, 300, seed=seed)
    chosen = np.where(live, values, np.nan)[draw.indices]
    units = UnitValues(chosen[None], live[draw.indices], draw=draw)
    value, variance, freedom = oracle(np.nan_to_num(chosen), live[draw.indices], draw.indices, values.size)
    error = units.layer_error()
    np.testing.assert_allclose(units.layer_values(), [value], rtol=1e-12)
    np.testing.assert_allclose([error.variance, error.freedom], [variance, freedom], rtol=1e-12)
    assert error.live == live[draw.indices].sum()


@pytest.mark.parametrize("seed", range(5))
def test_the_error_of_a_ratio_is_that_of_the_definition(layer, seed):
    shape, values, live = layer
    draw, below = UnitDraw(shape, 300, seed=seed), np.where(live, 1 + values**0.5, 0.0)
    terms = (np.where(live, values, 0.0)[draw.indices], below[draw.indices])
    _, variance, freedom = oracle(*terms, draw.indices, values.size)
    error = drawing_error(*terms, draw)
    np.testing.assert_allclose([error.variance, error.freedom], [variance, freedom], rtol=1e-12)


def estimates(layer, seeds):
    """(seed,) means of live units and ratios of sums, with their estimated variances."""
    shape, values, live = layer
    above, below = np.where(live, values, 0.0), np.where(live, 1 + values**0.5, 0.0)
    found = []
    for seed in range(seeds):
        draw = UnitDraw(shape, 120, seed=seed)
        units = UnitValues(above[draw.indices][None], live[draw.indices], draw=draw)
        ratio = (draw.weights @ above[draw.indices]) / (draw.weights @ below[draw.indices])
        error = drawing_error(above[draw.indices], below[draw.indices], draw)
        found.append((units.layer_values()[0], ratio, units.layer_error().variance, error.variance))
    return np.array(found).T, np.array([values[live].mean(), above.sum() / below.sum()])


def test_estimates_have_no_bias_and_the_variance_that_is_estimated(layer):
    found, truth = estimates(layer, SEEDS)
    spread = found[:2].std(axis=1, ddof=1)
    # A ratio of sums has a bias of order 1/K, far below the standard error of one estimate.
    assert (np.abs(found[:2].mean(axis=1) - truth) < 3 * spread / SEEDS**0.5 + 0.02 * spread).all()
    np.testing.assert_allclose(found[2:].mean(axis=1), spread**2, rtol=0.05)


def test_the_variance_is_not_that_of_a_simple_random_sample(layer):
    _, values, live = layer
    found, _ = estimates(layer, 200)
    simple = values[live].var() / (120 * live.mean()) * (1 - 120 / values.size)
    assert found[2].mean() < 0.7 * simple  # bins remove the trend


def test_an_even_layer_has_no_error():
    draw = UnitDraw((1000,), 100, seed=0)
    error = UnitValues(np.ones((1, 100)), np.ones(100, bool), draw=draw).layer_error()
    assert error.variance == 0
    assert error.freedom == float("inf")
    assert error.too_few_units(0.0) == ""


def test_without_a_draw_there_is_no_error():
    units = UnitValues(np.ones((1, 100)), np.ones(100, bool))
    assert units.layer_error() is None
    assert units.total == units.units == 100


def test_a_layer_without_a_live_unit_has_no_value():
    draw = UnitDraw((1000,), 100, seed=0)
    units = UnitValues(np.full((1, 100), np.nan), np.zeros(100, bool), draw=draw)
    assert np.isnan(units.layer_values()).all()
    assert units.layer_error().live == 0


def test_equal_bins_have_the_short_formulas():
    rng = np.random.default_rng(1)
    draw = UnitDraw((1200,), 120, seed=0)
    residuals = rng.standard_normal(120)
    between = residuals[::2] - residuals[1::2]
    error = DrawingError(draw.contrasts(residuals), 120)
    np.testing.assert_allclose(error.variance, (1 - 120 / 1200) * np.square(between).sum() / 120**2)
    np.testing.assert_allclose(error.freedom, 3 * np.square(between).sum() ** 2 / (between**4).sum())


def test_the_mean_over_classes_averages_residuals_before_squaring():
    draw, rng = UnitDraw((1201,), 120, seed=0), np.random.default_rng(2)
    classes = rng.standard_normal((3, 120))
    together = DrawingError.mean([DrawingError(draw.contrasts(one), 120) for one in classes])
    np.testing.assert_allclose(together.contrasts, draw.contrasts(classes.mean(axis=0)))


def test_a_few_deciding_units_or_too_few_live_ones_are_named():
    few = DrawingError(np.r_[1.0, np.zeros(99)], 200)
    assert few.freedom == 3
    assert "a few of the drawn units decide" in few.too_few_units(0.0)
    assert "a few of the drawn units decide" in few.too_few_units(8.9)
    assert few.too_few_units(9.1) == ""  # a tenth of the variance
    assert few.too_few_units(float("nan")) == ""  # unknown: samples already allow no interval
    dead = DrawingError(np.ones(100), MIN_LIVE - 1)
    assert f"{MIN_LIVE - 1} of the drawn units have a value" in dead.too_few_units(1e9)
    assert all("units=" in why.too_few_units(0.0) for why in (few, dead))
