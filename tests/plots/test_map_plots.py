"""Spectra and the stability of neurons: what is prepared is what was measured."""

import numpy as np
import pytest
import torch
from plot_rows import NAN, curve, result, row
from sample_results import sample_result
from torch import nn

import invariscope as iv
from invariscope.plots.element_curve import ElementCurve
from invariscope.plots.neuron_stability import NeuronStability
from invariscope.plots.spectra import Spectra
from invariscope.plots.unit_heatmap import UnitHeatmap


def spectrum(layer, values, *, measure="spectrum.share", n=8):
    place = {"measure": measure, "layer": layer, "parameter": "frequency_cpp"}
    return [curve(k, v, x=(k + 1) / n, **place, label="", ci_low=v / 2, ci_high=2 * v) for k, v in values]


def test_a_spectrum_is_a_density_so_that_halving_the_resolution_leaves_a_line_where_it_is():
    rows = spectrum("a", [(0, 0.25), (1, 0.125)], n=4) + spectrum("b", [(0, 0.5), (1, 0.25)], n=2)
    plot = Spectra.prepare(result([row("a", NAN)], curves=rows))
    a, b = plot.series
    np.testing.assert_allclose(a.value, [1.0, 0.5])
    np.testing.assert_allclose(b.value, a.value)
    np.testing.assert_allclose(a.low, [0.5, 0.25])
    np.testing.assert_allclose(a.frequency, [0.25, 0.5])


def test_the_constant_part_is_not_drawn():
    rows = spectrum("a", [(-1, 5.0), (0, 0.25)], measure="spectrum.power")
    assert Spectra.prepare(result([row("a", NAN)], curves=rows)).series[0].frequency.tolist() == [1 / 8]


def test_of_many_layers_some_are_taken_from_the_first_to_the_last_and_others_can_be_named():
    whole = sample_result(maps=True)
    plot = Spectra.prepare(whole)
    assert [s.name for s in plot.series][::5] == ["conv1", "log_softmax"]
    assert len(plot.series) == 6
    assert [s.name for s in Spectra.prepare(whole, layers=["pool1"]).series] == ["pool1"]
    with pytest.raises(ValueError, match=r"no layer matches \['pool9'\]; the layers are conv1, "):
        Spectra.prepare(whole, layers=["pool9"])


def test_spectra_are_neither_curves_over_elements_nor_maps_of_units():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
    measured = iv.measure(
        model, torch.rand(16, 1, 9, 9), iv.QuarterTurns(), measures=["spectrum"], progress=False
    )
    assert ElementCurve.views([measured]) == []
    assert {view.plot.measure for view in UnitHeatmap.views([measured])} == {
        "spectrum.mean_frequency", "spectrum.dc"
    }  # fmt: skip
    assert [view.label for view in Spectra.views([measured])] == ["Share", "Power"]


def test_without_spectra_or_neurons_there_is_no_plot_of_them():
    plain = sample_result()
    assert Spectra.views([plain]) == NeuronStability.views([plain]) == []
    with pytest.raises(ValueError, match="has no spectrum to show"):
        Spectra.prepare(plain)
    with pytest.raises(ValueError, match="has no neuron stability to show"):
        NeuronStability.prepare(plain)


def test_neurons_have_a_line_for_each_deformation_and_the_middle_half_of_each_layer():
    rows = [
        row(layer, value, measure=f"neuron_stability.{kind}", ci_low=value - 0.1, ci_high=value + 0.1)
        for kind, value in (("rotation", 0.3), ("shear", 0.5))
        for layer in ("a", "b")
    ]
    maps = {("neuron_stability.shear", "b"): [0.0, 1.0, 2.0, 3.0, np.nan, 4.0]}
    plot = NeuronStability.prepare(result(rows, maps=maps))
    assert [series.name for series in plot.series] == ["rotation", "shear"]
    assert plot.layers == ("a", "b")
    np.testing.assert_allclose(plot.series[1].quartiles, [[NAN, NAN], [1.0, 3.0]])
    np.testing.assert_allclose(plot.series[0].low, [0.2, 0.2])
    assert plot.top > 3.0


def test_a_real_measurement_of_neurons_is_drawn(tmp_path):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 4, 3))
    measured = iv.neuron_stability(model, ["0", "2"], torch.rand(64, 1, 12, 12))
    plot = NeuronStability.prepare(measured)
    np.testing.assert_allclose(plot.series[0].value, measured.table["value"][:2])
    assert np.isfinite(plot.series[3].quartiles).all()
    plot.save(tmp_path / "neurons.svg")


def test_the_axis_of_layers_says_what_its_labels_leave_out():
    rows = [row(f"features.{k}", 0.5, measure="neuron_stability.shear") for k in (2, 6)]
    axes = NeuronStability.prepare(result(rows)).draw().axes[0]
    assert [text.get_text() for text in axes.get_xticklabels()] == ["2", "6"]
    assert axes.get_xlabel() == "layer of features"
    assert NeuronStability.prepare(result(rows[:1])).draw().axes[0].get_xlabel() == "layer"
