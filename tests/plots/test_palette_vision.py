"""Colours of figures as people with colour vision deficiencies see them."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from palette_vision import MACHADO, difference, lab, seen

from invariscope.plots.shared.theme import DARK, LIGHT, PAPER, palette

THEMES = [LIGHT, DARK, PAPER]
# CIE76 units. Below 2.3, two colours look the same to most people side by side; lines in a legend are apart.
NEIGHBOURS, ANY = 14.0, 10.0


def test_the_simulation_keeps_greys_and_confuses_what_deutans_confuse():
    for kind in MACHADO:
        np.testing.assert_allclose(seen("#808080", kind), to_rgb("#808080"), atol=0.01)
    red, green = "#d00000", "#508000"
    assert difference(red, green, "normal") > 3 * difference(red, green, "deutan")


def test_lab_agrees_with_published_values():
    np.testing.assert_allclose(lab(np.array(to_rgb("#ff0000"))), [53.24, 80.09, 67.20], atol=0.1)
    np.testing.assert_allclose(lab(np.array(to_rgb("#ffffff"))), [100, 0, 0], atol=0.1)


@pytest.mark.parametrize("kind", MACHADO)
@pytest.mark.parametrize("theme", THEMES, ids=lambda theme: theme.name)
def test_series_of_a_figure_can_be_told_apart(theme, kind):
    colours = theme.series
    pairs = {(a, b): difference(a, b, kind) for a, b in combinations(colours, 2)}
    near = [pairs[pair] for pair in pairwise(colours)]
    assert min(near) >= NEIGHBOURS
    assert min(pairs.values()) >= ANY


@pytest.mark.parametrize("kind", MACHADO)
def test_the_sequential_scale_grows_evenly_lighter(kind):
    lightness = np.array([lab(seen(colour, kind))[0] for colour in palette()])
    assert np.diff(lightness).min() > -0.2  # hex strings are rounded
    assert np.diff(lightness[::16]).min() > 2.0


def test_the_check_rejects_a_red_and_a_green_of_equal_lightness():
    assert difference("#b05050", "#7a7030", "deutan") < NEIGHBOURS
