"""`invariscope curve`."""

from __future__ import annotations

from pathlib import Path

import invariscope as iv
from invariscope.plots.shared.labels import number


def test_a_curve_is_measured_shown_and_saved_with_its_report(invoke):
    done = invoke(
        "curve", "net.py:make", "digits.npz", "--radii", 4, "--layers", "0", "--out", "c", "--label", "a"
    )
    assert done.exit_code == 0, done.output
    saved = iv.load("c")
    output = saved.curves.query("measure == 'stability_curve.D'")
    assert len(output) == 4
    assert set(saved.curves.query("measure == 'layer_stability_curve.D'")["layer"]) == {"0"}
    assert "Squared response of a, relative to another sample" in done.output
    assert number(output["value"].iloc[0]) in done.output
    assert "of the predictions flip by noise, up to a radius of" in done.output
    assert "the radius is the L2 norm" in done.output
    assert "the curves of 1 layer are in `iv.load('c').curves`" in done.output
    assert "radii are shown" not in done.output
    assert "Half of the predictions flip" in done.output
    assert "Stability against the size of the displacement" in Path("c/report.html").read_text()


def test_radii_that_the_tables_leave_out_are_counted(invoke):
    done = invoke("curve", "net.py:make", "digits.npz", "--radii", 10, "--samples", 8)
    assert "8 of the 10 radii are shown; the report has all of them" in done.output
    assert "layer_stability_curve" not in done.output
    table = done.output.split("relative to another sample")[1].split("Half of the predictions")[0]
    for radius in iv.load("curve").curves.query("measure == 'stability_curve.D'")["x"].iloc[[0, -1]]:
        assert number(radius) in table


def test_the_same_curve_as_in_python_under_the_same_seed(invoke):
    done = invoke("curve", "zoo:lenet", "mnist_subset", "--samples", 16, "--radii", 2, "--seed", 5)
    assert done.exit_code == 0, done.output
    from invariscope import zoo

    model = zoo.build("lenet", seed=5)
    data = zoo.load("mnist_subset")
    found = iv.stability_curve(model, data, samples=16, radii=2, seed=5, progress=False)
    assert found.curves.value.equals(iv.load("curve").curves.value)


def test_no_number_is_cut_on_a_narrow_terminal(invoke, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    done = invoke("curve", "net.py:make", "digits.npz", "--radii", 2, "--label", "a")
    curves = iv.load("curve").curves
    responses = curves[curves["measure"].isin([f"stability_curve.{name}" for name in ("D", "G", "R")])]
    assert len(responses) == 6
    for value in responses["value"]:
        assert number(value) in done.stdout


def test_too_small_images_end_with_one_line(fails):
    assert "no allowed range" in fails("curve", "net.py:make", "digits.npz", "--cutoff", "6")
