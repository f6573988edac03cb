"""What a report says of curves against the radius: only what happened."""

import pytest
from plot_rows import NAN, curve, result, row

from invariscope.report import figures, findings, page, stability
from invariscope.report.facts import key_facts
from invariscope.report.tables import row_table

LADDER = {"transform": {"family": "deformation_ladder", "labels": ["T 1e-05", "T 1e-03"]}}


def points(name, values):
    place = {"measure": f"stability_curve.{name}", "parameter": "radius"}
    return [curve(k, value, x=x, **place) for k, (x, value) in enumerate(values)]


def measured(*, bump=NAN, flips=(0.0, 0.25), **options):
    bounds = {"ci_low": bump - 0.5, "ci_high": bump + 0.5}
    rows = [
        row("output", bump, measure="stability_curve.bump_noise", **bounds),
        row("output", NAN, measure="stability_curve.bump", ci_low=NAN, ci_high=NAN),
        *(row(f"conv{k}", 0.5, measure="layer_stability_curve.gain") for k in (1, 2)),
    ]
    curves = points("D", [(1.0, 0.1), (4.0, 0.5)]) + points("R", [(4.0, 0.5), (1.0, 2.0)])
    curves += points("flips", [(1.0, 0.0), (4.0, 0.125)])
    curves += points("flips_noise", list(zip((1.0, 4.0), flips, strict=True)))
    curves += points("accuracy", [(1.0, 0.9), (4.0, 0.75)])
    return result(rows, curves=curves, **LADDER, **options)


def said(*results):
    return findings.sentences(results, None)


def test_the_curves_come_first_and_a_single_value_beside_them_is_not_a_chart():
    alone = measured(bump=3.0)
    alone = result([r for r in alone.rows if r["layer"] == "output"], curves=alone.curve_rows, **LADDER)
    found, _ = figures.sections([alone])
    assert found[0].name == "stability_curves"
    assert found[0].order < figures.TABLE_ORDER
    assert "layer_profile" not in [section.name for section in found]
    with_layers, _ = figures.sections([measured(bump=3.0)])
    (profile,) = [section for section in with_layers if section.name == "layer_profile"]
    assert [picture.label for picture in profile.pictures] == ["Layer stability curve: gain"]


def test_a_single_value_without_curves_is_still_shown():
    found, _ = figures.sections([result([row("output", 0.5, measure="stability_curve.gain")])])
    assert [section.name for section in found] == ["layer_profile"]


def test_where_predictions_flip_leads_and_the_rest_says_how_close_it_came():
    assert said(measured(bump=3.0, flips=(0.0, 0.75)))[0].replace("\u00a0", " ") == (
        "Half of the predictions have flipped at a radius of 3.0 (95 % interval 2.5 to 3.5) under noise; up "
        "to 4, fewer than half flip: at most 12 % under smooth deformations."
    )


def test_no_event_is_told_of_where_none_happened():
    first, *_ = said(measured())
    assert first.replace("\u00a0", " ") == (
        "Up to a radius of 4, fewer than half of the predictions flip: at most 12 % under smooth "
        "deformations, at most 25 % under noise."
    )
    assert not any("have flipped" in sentence for sentence in said(measured()))


def test_deformations_are_set_beside_noise_and_the_accuracy_at_the_largest_radius_is_given():
    _, beside, accuracy = (sentence.replace("\u00a0", " ") for sentence in said(measured()))
    assert "between 0.5 (radius 4) and 2 (radius 1) times" in beside
    assert accuracy == "At the largest radius, 4, the accuracy is 75 % under smooth deformations."


def test_the_heading_and_the_facts_speak_of_radii_and_not_of_an_invariance():
    assert findings.title([measured()]) == "Stability against the size of the displacement: net"
    assert dict(key_facts([measured()]))["Transform"] == ["deformation ladder, 2 sizes: radius 1 … 4"]


def test_the_headline_is_about_every_network():
    several = [measured(bump=3.0, name="a"), measured(bump=2.0, name="b"), measured(name="c")]
    first, *others = (sentence.replace("\u00a0", " ") for sentence in said(*several))
    assert first == (
        "Under noise, half of the predictions have flipped at a radius of 3.0 (95 % interval 2.5 to 3.5) for "
        "a and 2.0 (1.5 to 2.5) for b; for c, fewer than half flip up to a radius of 4."
    )
    assert others[0] == (
        "In a, up to a radius of 4, fewer than half of the predictions flip: at most 12 % under smooth "
        "deformations."
    )
    assert not any("noise, half" in text or "under noise" in text for text in others if "flip" in text)


def test_a_headline_on_networks_whose_predictions_rarely_flip_says_how_many_do():
    assert said(measured(name="a"), measured(name="b"))[0].replace("\u00a0", " ") == (
        "Up to a radius of 4, fewer than half of the predictions flip under smooth deformations: at most "
        "12 % for a and 12 % for b."
    )


def test_the_headline_on_many_networks_gives_the_range_of_their_radii():
    several = [measured(bump=bump, name=f"n{bump:g}") for bump in (3.0, 2.0, 2.5, 2.7)]
    several += [measured(name="c"), measured(name="d")]
    first, *others = said(*several)
    assert first == (
        "Under noise, half of the predictions have flipped at radii from 2 (n2) to 3 (n3); for c and d, "
        "fewer than half flip up to a radius of 4."
    )
    assert not any("bump" in text for text in others)


def test_the_table_shows_all_rows_at_first_those_of_flips_included():
    filters = row_table([measured()]).filters
    assert [chosen["selected"] for chosen in filters] == [""]


@pytest.mark.parametrize("parameter", ["element", "radius"])
def test_only_curves_against_the_radius_lead_the_page(parameter):
    rows = [curve(0, 0.1, measure="stability_curve.D", parameter=parameter)]
    assert stability.has_curves(result([row("a", 0.5)], curves=rows)) == (parameter == "radius")


def test_the_legend_of_several_networks_has_the_colours_and_dashes_of_the_lines():
    curves = points("D", [(1.0, 0.1), (4.0, 0.5)]) + points("G", [(1.0, 0.2), (4.0, 0.6)])
    networks = [
        result([row("output", 0.5, measure="stability_curve.gain")], curves=curves, **LADDER, name=n)
        for n in "ab"
    ]
    sections, _ = figures.sections(networks)
    legend = next(s for s in sections if s.name == "stability_curves").pictures[0].legend
    assert [(entry.colour, entry.dash) for entry in legend] == [
        *[(0, "solid"), (0, "dashed")],
        *[(1, "solid"), (1, "dashed")],
    ]


def test_the_page_opens_with_the_ratio_of_deformations_to_noise():
    sections, _ = figures.sections([measured(bump=3.0)])
    assert sections[0].name == "layer_profile"
    first, rest = page._lead(sections, [measured(bump=3.0)])
    assert (first.name, first.pictures[0].label) == ("stability_curves", "D relative to G")
    assert sorted(section.name for section in rest) == sorted(
        s.name for s in sections if s.name != first.name
    )
