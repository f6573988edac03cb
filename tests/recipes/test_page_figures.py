"""Figures of pages: panels, common legends, both themes of the documentation, and claims case by case."""

from __future__ import annotations

import re

import pytest

from invariscope.lab import recipes
from invariscope.lab.plots.claim_cases import ClaimCase, ClaimCases
from invariscope.lab.recipes.figures import draw_all
from invariscope.lab.recipes.figures.drawing import WIDTH_IN, draw_panels, save_figure, with_dark_theme
from invariscope.plots import PLOTS
from invariscope.plots.shared.theme import DARK, LIGHT

PANELS = """
[[figures]]
title = "All layers"
plot = "layer_profile"
panels = { network = "networks" }
cells = ["nv/{network}", "random/0"]

[[figures]]
title = "Averaged"
plot = "layer_profile"
trainings = { seed = "seeds" }
cells = ["seeds/{seed}"]
"""


@pytest.fixture
def outcomes(finished, recipe):
    path = recipe()
    path.write_text(path.read_text() + PANELS)
    return recipes.Outcomes(recipes.Store(finished, recipes.load(str(path))))


def test_a_figure_has_a_panel_per_axis_value_and_a_line_per_average(outcomes, tmp_path):
    drawn = {figure.title: figure for figure in draw_all(outcomes, tmp_path / "tiny.md")}
    panels = drawn["All layers"]
    text = (tmp_path / panels.path).read_text()
    shown = re.findall(r"<text [^>]*>([^<]*)</text>", text)
    assert {"simple_conv", "all_conv"} <= set(shown)
    assert panels.notes == ()
    (note,) = drawn["Averaged"].notes
    assert note.startswith("Means over training runs")


def test_a_figure_says_which_cells_it_lacks(out, recipe, tmp_path):
    path = recipe()
    path.write_text(path.read_text() + PANELS)
    store = recipes.Store(out, recipes.load(str(path)))
    for name in ("nv/all_conv", "seeds/1"):
        store.remove(store.plan[name])
    drawn = {figure.title: figure for figure in draw_all(recipes.Outcomes(store), tmp_path / "tiny.md")}
    assert "Drawn from 2 of 3 cells; not finished: nv/all_conv (1)." in drawn["All layers"].notes
    assert "Drawn from 2 of 3 cells; not finished: seeds/* (1)." in drawn["Averaged"].notes
    assert drawn["Layers of all_conv"].reason == "its cell is not finished"


CURVE = """
[[tables]]
title = "Accuracy by angle"
for = { part = ["accuracy", "flips"], angle = [0.0, 90.0, 180.0] }
value = { quantity = "element_value", cell = "accuracy", measure = "prediction.{part}", x = "{angle}" }
against = "angle"
axis = "angle in degrees"
"""


def test_a_table_is_drawn_against_one_of_its_axes(finished, recipe, tmp_path):
    path = recipe()
    path.write_text(path.read_text() + CURVE)
    page = recipes.Page(recipes.Outcomes(recipes.Store(finished, recipes.load(str(path)))))
    text = page.write(tmp_path / "tiny.md").read_text()
    image = "figures/tiny/table_accuracy_by_angle.svg"
    section = text.partition("## Accuracy by angle\n")[2].partition("\n## ")[0]
    assert f"![Accuracy by angle]({image})" in section
    shown = re.findall(r"<text [^>]*>([^<]*)</text>", (tmp_path / image).read_text())
    assert {"accuracy", "flips", "angle in degrees"} <= set(shown)
    assert text.count("/table_") == 1  # no other table names an axis


@pytest.mark.parametrize(
    ("new", "why"),
    [('"angles"', "unknown axis 'angles'"), ('"part"', "'part' must be an axis of numbers, got ['accuracy'")],
)
def test_a_table_can_only_be_drawn_against_an_axis_of_numbers(recipe, new, why):
    path = recipe()
    path.write_text(path.read_text() + CURVE.replace('"angle"\naxis', f"{new}\naxis"))
    with pytest.raises(recipes.RecipeError, match=re.escape(why)):
        recipes.load(str(path))


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('panels = { network = "networks" }', 'panels = { net = "networks" }', "unknown axis 'network'"),
        ('cells = ["seeds/{seed}"]', 'cells = ["seeds/*"]', "must be a whole part of the name"),
    ],
)
def test_wrong_panels_and_trainings_are_refused(recipe, old, new, why):
    path = recipe()
    text = path.read_text() + PANELS
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(recipes.RecipeError, match=re.escape(why)):
        recipes.load(str(path))


def test_a_page_removes_the_figures_that_it_no_longer_shows(finished, recipe, tmp_path):
    store = recipes.Store(finished, recipes.load(str(recipe())))
    page = tmp_path / "p" / "tiny.md"
    old = page.parent / "figures" / "tiny" / "old.svg"
    other = page.parent / "figures" / "another" / "old.svg"
    for path in (old, other):
        path.parent.mkdir(parents=True)
        path.write_text("<svg/>")
    recipes.Page(recipes.Outcomes(store)).write(page)
    assert not old.exists()
    assert other.exists()
    shown = set(re.findall(r"\((figures/[^)]+)\)", page.read_text()))
    assert shown == {f"figures/tiny/{path.name}" for path in old.parent.iterdir()}


def profile(outcomes, *names: str):
    return PLOTS.get("layer_profile").prepare([outcomes.result(name) for name in names])


def test_panels_share_a_legend_and_a_scale(outcomes):
    parts = [(name, profile(outcomes, name, "random/0")) for name in ("nv/simple_conv", "seeds/0", "seeds/1")]
    same = [("one", parts[1][1]), ("two", parts[1][1]), ("three", parts[1][1])]
    figure = draw_panels(same)
    first, second, third, _ = figure.axes
    assert first.get_ylim() == second.get_ylim() == third.get_ylim()
    assert [ax.get_legend() is None for ax in figure.axes] == [True, True, True, False]
    assert second.get_ylabel() == "" != first.get_ylabel()
    # Names that mean another colour in another panel stay within their panels.
    figure = draw_panels([("ab", profile(outcomes, "nv/simple_conv", "nv/all_conv")),
                          ("ba", profile(outcomes, "nv/all_conv", "nv/simple_conv"))])  # fmt: skip
    assert all(ax.get_legend() is not None for ax in figure.axes)


def test_a_figure_is_never_wider_than_the_page(outcomes):
    for parts in ([("", profile(outcomes, "nv/all_conv"))], 2 * [("x", profile(outcomes, "nv/all_conv"))]):
        assert draw_panels(parts).get_size_inches()[0] <= WIDTH_IN


def test_an_svg_follows_the_theme_of_its_page_and_is_the_same_each_time(outcomes, tmp_path):
    contents = []
    for name in ("one.svg", "two.svg"):
        save_figure(draw_panels([("", profile(outcomes, "nv/all_conv"))]), tmp_path / name)
        contents.append((tmp_path / name).read_text())
    assert contents[0] == contents[1]
    assert f'[style*="stroke: {LIGHT.series[0]}"] {{ stroke: {DARK.series[0]} !important }}' in contents[0]
    assert contents[0].count("<style>@media (prefers-color-scheme: dark)") == 1


def test_the_rules_of_the_dark_theme_stand_within_the_image():
    found = with_dark_theme('<?xml version="1.0"?>\n<svg width="9pt">\n<g/></svg>')
    assert re.match(r'<\?xml version="1\.0"\?>\n<svg width="9pt">\n<style>', found)


CASES = [
    ClaimCase("for", -0.3, -0.4, -0.2, "confirmed"),
    ClaimCase("against", 0.3, 0.2, 0.4, "refuted"),
    ClaimCase("unknown", 0.01, -9.0, 9.0, "undecided"),
]


def test_claims_show_their_range_and_cut_intervals_much_wider_than_the_values():
    drawing = ClaimCases.prepare(CASES, least=-float("inf"), most=0.0)
    low, high = drawing.span
    assert low < -0.4 < 0.4 < high < 2
    ax = drawing.draw().axes[0]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["for", "against", "unknown"]
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    assert texts == ["for the claim", "against it", "undecided", "range in which the claim holds"]


def test_ratios_far_apart_have_a_logarithmic_axis():
    cases = [ClaimCase(str(v), v, v / 2, 2 * v, "confirmed") for v in (0.01, 0.1, 0.5)]
    assert ClaimCases.prepare(cases, least=-float("inf"), most=1.0).logarithmic
    assert not ClaimCases.prepare(cases, least=-float("inf"), most=0.0).logarithmic


def test_a_claim_without_values_has_no_figure():
    with pytest.raises(ValueError, match="no case has a value"):
        ClaimCases.prepare([ClaimCase("x", float("nan"), 0, 1, "not tested")], least=0, most=1)
