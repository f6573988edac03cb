"""Curves against the radius: what is prepared is what was measured, and the report shows it."""

import numpy as np
import pytest
from plot_rows import NAN, curve, result, row
from sample_results import sample_result

import invariscope as iv
from invariscope import zoo
from invariscope.plots.element_curve import ElementCurve
from invariscope.plots.stability_curves import BumpImages, StabilityCurves


def points(name, values, *, layer="output", **columns):
    prefix = "stability_curve" if layer == "output" else "layer_stability_curve"
    place = {"measure": f"{prefix}.{name}", "layer": layer, "parameter": "radius"}
    return [curve(k, v, x=x, **place, **columns) for k, (x, v) in enumerate(values)]


def test_curves_are_sorted_by_radius_and_what_a_logarithm_cannot_show_is_left_out():
    rows = points("D", [(4.0, 0.5), (1.0, 0.1), (2.0, 0.0)]) + points("G", [(1.0, 0.2)])
    plot = StabilityCurves.prepare(result([row("a", NAN)], curves=rows))
    deformed, noise = plot.series
    assert deformed.radius.tolist() == [1.0, 4.0]
    assert deformed.value.tolist() == [0.1, 0.5]
    assert (deformed.name, noise.name) == ("deformed (D)", "noise (G)")
    shares = points("accuracy", [(1.0, 1.0), (2.0, 0.0)])
    assert StabilityCurves.prepare(result([row("a", NAN)], curves=shares), shown="accuracy").series[
        0
    ].value.tolist() == [1.0, 0.0]


def test_each_view_says_on_which_side_of_noise_stability_lies():
    shares = [row for name in ("accuracy", "flips") for row in points(name, [(1.0, 0.5), (2.0, 0.4)])]
    rows = points("D", [(1.0, 0.1)]) + points("R", [(1.0, 0.1)]) + shares
    readings = {view.label: view.reading for view in StabilityCurves.views([result(curves=rows)])}
    assert "below that of noise" in readings["Response"]
    assert "below that of noise" in readings["Flips"]
    assert "above that of noise" in readings["Accuracy"]
    assert readings["D relative to G"].startswith("Below 1")
    assert "noise, the network" not in StabilityCurves.reading


def test_the_line_stands_at_the_bump_that_was_reached():
    rows = points("D", [(1.0, 0.1), (2.0, 0.2)])
    about = {"shown_for": "bump_noise", "bumps": {"bump_noise": 1.5}, "shown_radius": 2.0}
    one = result([row("a", NAN)], curves=rows, curve=about)
    plot = StabilityCurves.prepare(one)
    assert plot.bump == 1.5
    assert [line.get_xdata()[0] for line in plot.draw().axes[0].lines[-1:]] == [1.5]
    never = result([row("a", NAN)], curves=rows, curve={"shown_for": "largest", "bumps": {}})
    assert np.isnan(StabilityCurves.prepare(never).bump)
    assert np.isnan(StabilityCurves.prepare([one, one]).bump)


def test_curves_of_layers_stand_behind_those_of_the_output():
    rows = points("D", [(1.0, 0.1)]) + points("D", [(1.0, 0.3)], layer="conv1")
    views = StabilityCurves.views([result([row("a", NAN)], curves=rows)])
    assert [view.label for view in views] == ["Response", "Response of conv1"]
    assert views[1].plot.series[0].value.tolist() == [0.3]


def test_the_curve_over_elements_leaves_curves_over_the_radius_alone():
    assert not [v for v in ElementCurve.views([sample_result(stability=True)]) if v.label in ("D", "G")]


def test_without_curves_or_images_the_refusal_says_so():
    with pytest.raises(ValueError, match="no layer with stability curves"):
        StabilityCurves.prepare(sample_result())
    with pytest.raises(ValueError, match="has no images"):
        BumpImages.prepare(sample_result())


def test_the_report_of_a_measured_curve_shows_lines_and_images(tmp_path):
    data = zoo.load("mnist_subset", samples=64)
    found = iv.stability_curve(zoo.build("lenet"), data, radii=4, progress=False, batch_size=256)
    found.save(tmp_path / "run")
    page = iv.load(tmp_path / "run").report(tmp_path / "report.html").read_text()
    for text in (StabilityCurves.title, "Probability", "toward another", BumpImages.title):
        assert text in page
    images = BumpImages.prepare(found)
    assert images.frames.shape == (4, 4, 28, 28)
    assert images.columns == ("as it is", "deformed", "noise", "toward another")
