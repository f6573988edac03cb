"""Cells that read weights, on networks whose weights were made to have the answer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from invariscope import weights, zoo
from invariscope.intervals import jackknife
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.weights import Weights
from invariscope.lab.recipes.quantities import evaluate
from invariscope.results import storage

OPTIONS = {"filters": 16, "kernel_size": 5}
CARD = zoo.Card(network="min_cnn", input_shape=(1, 28, 28), classes=tuple("0123456789"), options=OPTIONS)


class Shelf:
    """One result, whatever it is asked for."""

    def __init__(self, result) -> None:
        self._result = result

    def result(self, name):
        return self._result

    def matching(self, patterns):
        return list(patterns)


@pytest.fixture
def trained(tmp_path) -> Path:
    """A training cell: the constant part of each filter has grown by its channel's own factor."""
    model = CARD.build()
    zoo.save_network(tmp_path / "train" / "network@0", model, CARD)
    with torch.no_grad():
        weight = model.conv.weight
        means = weight.mean((2, 3), keepdim=True)
        weight += means * torch.linspace(1, 3, 16)[:, None, None, None]
    zoo.save_network(tmp_path / "train" / "network", model, CARD)
    return tmp_path


def looked(folder: Path, **options):
    cell = Weights(model="train", **options)
    cell.check()
    (folder / "out").mkdir(exist_ok=True)
    cell.run(CellContext(folder / "out", folder / "kept", {"train": folder / "train"}))
    return storage.load(folder / "out" / "result")


def test_filter_spectra_are_those_of_the_library_at_every_stage(trained):
    result = looked(trained, analysis="filter_spectrum", epochs=[0])
    start, end = (zoo.load_network(trained / "train" / name)[0] for name in ("network@0", "network"))
    expected = weights.filter_spectrum(end, "conv", start=start)
    for stratum, values in (("epoch 0", expected.start), ("all", expected.power)):
        power = result.curves.query("measure == 'filter_spectrum.power'")
        found = power[power["stratum"] == stratum]
        np.testing.assert_allclose(found["value"], values)
        np.testing.assert_allclose(found["x"], expected.eigenvalues)
    ratio = result.curves.query("measure == 'filter_spectrum.ratio' and stratum == 'all'")["value"]
    np.testing.assert_allclose(ratio, expected.ratio)
    np.testing.assert_allclose(ratio.iloc[1:], 1, rtol=1e-5)  # only the constant part has changed
    rows = {row["measure"]: row for row in result.rows if row["stratum"] == "all"}
    assert rows["filter_spectrum.mean_frequency"]["value"] == pytest.approx(expected.mean_frequency)
    assert rows["filter_spectrum.pooling"]["value"] == pytest.approx(expected.ratio[0], rel=1e-5)
    assert rows["filter_spectrum.pooling"]["ci_low"] > 1


def test_the_interval_of_a_ratio_leaves_out_every_eighth_channel(trained):
    estimate = evaluate(
        Shelf(looked(trained, analysis="filter_spectrum", epochs=[0])),
        {
            "quantity": "element_value",
            "cell": "x",
            "measure": "filter_spectrum.ratio",
            "layer": "conv",
            "x": 0.0,
        },
    )
    start, end = (
        zoo.load_network(trained / "train" / name)[0].conv.weight.double().detach().numpy()
        for name in ("network@0", "network")
    )
    first, last = (weight.sum((1, 2, 3)) ** 2 for weight in (start, end))  # the constant mode, up to 1/25
    left = [np.arange(16) % 8 != group for group in range(8)]
    omitted = [float(last[kept].sum() / first[kept].sum()) for kept in left]
    expected = jackknife(float(last.sum() / first.sum()), omitted, [2] * 8)
    assert (estimate.interval.low, estimate.interval.high) == pytest.approx((expected.low, expected.high))
    assert estimate.interval.low < estimate.value < estimate.interval.high


def test_gabor_fits_of_waves_are_perfect_and_of_noise_are_not(tmp_path):
    model = CARD.build()
    zoo.save_network(tmp_path / "train" / "network@0", model, CARD)
    y, x = np.mgrid[-2:3, -2:3]
    phases = np.linspace(0, np.pi, 16, endpoint=False)
    waves = [np.exp(-(x**2 + y**2) / 3) * np.cos(2 * np.pi * 0.2 * x + p) for p in phases]
    with torch.no_grad():
        model.conv.weight.copy_(torch.tensor(np.array(waves))[:, None])
    zoo.save_network(tmp_path / "train" / "network", model, CARD)
    result = looked(tmp_path, analysis="gabor", epochs=[0], settings={"limit": 16})
    r2 = {row["stratum"]: row for row in result.rows if row["measure"] == "gabor.r2"}
    assert r2["all"]["value"] > 0.999
    assert r2["epoch 0"]["ci_high"] < 0.99
    assert (
        result.maps["gabor.filters", "conv"].shape == result.maps["gabor.fitted", "conv"].shape == (16, 5, 5)
    )
    np.testing.assert_allclose(result.maps["gabor.filters", "conv"], waves, rtol=1e-6, atol=1e-7)


def test_surrogates_are_as_smooth_as_the_filters_and_fitted_in_the_same_groups(trained):
    result = looked(trained, analysis="gabor", settings={"limit": 16, "surrogates": 2, "seed": 3})
    rows = {row["measure"]: row for row in result.rows}
    filters = result.maps["gabor.filters", "conv"]
    copies = [weights.phase_randomised(filters, seed=seed)[:, None] for seed in (3, 4)]
    expected = np.mean([weights.fit_gabor(copy, limit=16).r2 for copy in copies], axis=0)
    found = rows["gabor.surrogate_r2"]
    np.testing.assert_allclose(result.maps["gabor.surrogate_r2", "conv"], expected)
    assert found["value"] == pytest.approx(expected.mean())
    assert found["replicates"][2] == pytest.approx(expected[np.arange(16) % 8 != 2].mean())
    assert found["group_sizes"] == rows["gabor.r2"]["group_sizes"] == [2] * 8


def test_a_planted_coupling_is_found_beyond_chance(tmp_path):
    cell = Weights(analysis="rotation_coupling", network="orbit_pooling", settings={"permutations": 99})
    cell.check()
    cell.run(CellContext(tmp_path, tmp_path))
    rows = {row["measure"].partition(".")[2]: row for row in storage.load(tmp_path / "result").rows}
    own = weights.rotation_coupling(zoo.build("orbit_pooling"), permutations=99)
    assert rows["correlation"]["value"] == pytest.approx(own.correlation)
    assert rows["correlation"]["ci_low"] > 0.5 > rows["correlation"]["null"] + 0.3
    assert rows["z"]["value"] == pytest.approx(own.z)
    assert rows["p_value"]["value"] == pytest.approx(0.02)


def test_the_heads_correlation_is_that_of_the_library(trained):
    result = looked(trained, analysis="head_correlation", settings={"permutations": 19})
    model = zoo.load_network(trained / "train" / "network")[0]
    own = weights.head_frequency_correlation(model, permutations=19)
    (row,) = [row for row in result.rows if row["measure"] == "head_correlation.correlation"]
    assert row["value"] == pytest.approx(own.correlation)
    assert row["ci_low"] < row["value"] < row["ci_high"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"analysis": "filter_spectra", "model": "a"}, "Closest: 'filter_spectrum'"),
        ({"analysis": "gabor", "model": "a", "settings": {"limits": 3}}, "Closest: 'limit'"),
        ({"analysis": "gabor"}, "not both; got model=None"),
        ({"analysis": "gabor", "network": "min_cnn", "epochs": [0]}, "has no epochs"),
        ({"analysis": "gabor", "network": "min_cnm"}, "unknown network 'min_cnm'"),
    ],
)
def test_a_wrong_cell_is_refused_with_what_is_right(options, said):
    with pytest.raises(ValueError, match=said):
        Weights(**options).check()


def test_an_epoch_that_was_not_kept_is_named(trained):
    with pytest.raises(ValueError, match="after epoch 3: add it to keep_epochs"):
        looked(trained, analysis="filter_spectrum", epochs=[3])
