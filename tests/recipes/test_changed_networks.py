"""Cells that look at a network with its channels shuffled, or at the mean over its channels."""

from __future__ import annotations

import pytest

import invariscope as iv
from invariscope import zoo
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.measure import MeasureCell
from invariscope.results import storage

OPTIONS = {
    "network": "simple_conv",
    "network_options": {"filters": 4, "batch_norm": True},
    "data": "mnist_subset",
    "samples": 32,
    "standardize": "none",
    "transform": "Diffeomorphism(2)",
    "measures": ["stability"],
    "layers": ["conv*"],
}


def measured(tmp_path, **options) -> dict[tuple[str, str], float]:
    cell = MeasureCell(**OPTIONS, **options)
    cell.check()
    folder = tmp_path / "_".join(map(str, options.values()))
    folder.mkdir()
    cell.run(CellContext(folder, folder))
    rows = storage.load(folder / "result").rows
    return {(row["measure"], row["layer"]): row["value"] for row in rows}


def expected(model, layers="conv*") -> dict[tuple[str, str], float]:
    data = zoo.load("mnist_subset", samples=32)
    found = iv.measure(model, data, iv.Diffeomorphism(2), measures="stability", layers=layers, progress=False)
    return {(row["measure"], row["layer"]): row["value"] for row in found.rows}


@pytest.fixture
def model():
    return zoo.build("simple_conv", filters=4, batch_norm=True).eval()


def test_shuffled_channels_are_those_of_the_library_under_the_seed(tmp_path, model):
    found = measured(tmp_path, shuffled=3)
    assert found == pytest.approx(expected(iv.weights.shuffled_channels(model, seed=3)))
    # The first layer reads one channel; the next ones read others than before.
    plain = expected(model)
    assert found["stability.D", "conv1"] == pytest.approx(plain["stability.D", "conv1"])
    assert found["stability.D", "conv3"] != pytest.approx(plain["stability.D", "conv3"], rel=1e-3)


def test_the_calibration_is_that_of_the_shuffled_network(tmp_path, model):
    data = zoo.load("mnist_subset", samples=32)
    shuffled = iv.weights.shuffled_channels(model, seed=3)
    found = measured(tmp_path, shuffled=3, normalization="calibrated")
    assert found == pytest.approx(expected(iv.calibrated(shuffled, data)))


def test_channel_means_are_those_of_the_reader(tmp_path, model):
    found = measured(tmp_path, channels="mean")
    assert found == pytest.approx(expected(iv.readers.ChannelMean(model, layers="conv*"), None))
    assert found != pytest.approx(expected(model), rel=1e-3)
