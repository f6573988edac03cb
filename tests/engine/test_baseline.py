"""The baseline measures networks with random weights exactly as the model itself is measured."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import invariscope as iv
from invariscope.engine.extras.baseline import draw_seed
from invariscope.report import tables
from invariscope.variants.randomized import randomized

TURNS = iv.QuarterTurns()
KEY = ["measure", "layer", "call", "stratum"]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3), nn.LogSoftmax(1)
    ).eval()


@pytest.fixture(scope="module")
def digits():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(96, 1, 8, 8, generator=generator), torch.arange(96) % 3


def quick(model, data, **options):
    options = {"progress": False, "baseline": "random"} | options
    draws = {} if options["baseline"] is None else {"draws": 4}
    return iv.measure(model, data, TURNS, **(draws | options))


def by_hand(net, data, *, draws=4, seed=0, **options):
    """Values of each draw, measured one at a time by the public call: (draw, row)."""
    tables = [
        iv.measure(
            randomized(net, seed=draw_seed(seed, draw)), data, TURNS, progress=False, seed=seed, **options
        ).table
        for draw in range(draws)
    ]
    return np.stack([table["value"] for table in tables]), tables[0][KEY]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"by_class": True, "measures": ["normalized_variance", "prediction"]},
        {"measures": [iv.TransformationVariance()], "layers": ["0", "4"], "samples": 50},
        {"precision": "float64"},
    ],
    ids=["plain", "classes and accuracy", "some layers of a subset", "double"],
)
def test_the_band_is_that_of_the_draws_measured_one_by_one(net, digits, options):
    baseline = quick(net, digits, **options).baseline
    values, keys = by_hand(net, digits, **options)
    assert baseline[KEY].values.tolist() == keys.values.tolist()
    np.testing.assert_allclose(baseline["mean"], values.mean(axis=0), rtol=1e-6)
    low, high = np.quantile(values, [0.025, 0.975], axis=0)
    np.testing.assert_allclose(baseline["low"], low, rtol=1e-6)
    np.testing.assert_allclose(baseline["high"], high, rtol=1e-6)
    assert (baseline["draws"] == 4).all()


def test_a_network_with_random_weights_lies_inside_its_band_and_a_trained_one_may_lie_below(digits):
    torch.manual_seed(5)
    net = nn.Sequential(nn.Conv2d(1, 4, 3)).eval()
    random = quick(net, digits, draws=30)
    assert random.baseline["low"][0] < random.table["value"][0] < random.baseline["high"][0]
    with torch.no_grad():
        net[0].weight[:] = net[0].weight + net[0].weight.rot90(1, (2, 3))
        net[0].weight[:] = net[0].weight + net[0].weight.rot90(2, (2, 3))  # now invariant to quarter turns
    pooled = nn.Sequential(*net, nn.AdaptiveAvgPool2d(1)).eval()
    symmetric = quick(pooled, digits, draws=30)
    assert symmetric.table["value"][1] < 1e-6 < symmetric.baseline["low"][1]


def test_a_longer_baseline_begins_with_the_draws_of_a_shorter_one(net, digits):
    values, _ = by_hand(net, digits, draws=3)
    assert quick(net, digits, draws=2).baseline["mean"].to_numpy() == pytest.approx(values[:2].mean(axis=0))
    assert quick(net, digits, draws=3).baseline["mean"].to_numpy() == pytest.approx(values.mean(axis=0))


def test_another_seed_draws_other_networks(net, digits):
    one, other = (quick(net, digits, seed=seed).baseline["mean"].to_numpy() for seed in (0, 1))
    assert not np.allclose(one, other)


def test_the_model_its_values_and_the_generators_are_left_as_they_were(net, digits):
    before = {name: value.clone() for name, value in net.state_dict().items()}
    state = torch.get_rng_state()
    with_band, without = quick(net, digits), quick(net, digits, baseline=None)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, before[name]) for name, value in net.state_dict().items())
    assert with_band.table.equals(without.table)
    assert with_band.maps.keys() == without.maps.keys()
    assert len(without.baseline) == 0
    assert list(without.baseline.columns) == list(with_band.baseline.columns)


def test_draws_in_which_a_layer_has_no_value_are_left_out_and_counted(digits):
    class Gate(nn.Module):
        """Passes its input, or nothing at all, as its one weight's sign says."""

        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def reset_parameters(self):
            with torch.no_grad():
                self.weight.uniform_(-1, 1)

        def forward(self, x):
            return x * (self.weight > 0)

    open_gates = [bool(randomized(Gate(), seed=draw_seed(0, draw)).weight > 0) for draw in range(12)]
    assert 2 <= sum(open_gates) < 12
    band = quick(Gate(), digits, draws=12).baseline.iloc[0]
    assert band["draws"] == sum(open_gates)
    assert np.isfinite([band["mean"], band["low"], band["high"]]).all()


def test_progress_counts_the_samples_of_all_draws_and_then_those_of_the_model(net, digits):
    seen = []
    quick(net, digits, progress=lambda done, total: seen.append((done, total)))
    first = seen.index((4 * 96, 4 * 96))
    assert [done for done, _ in seen[: first + 1]] == sorted(done for done, _ in seen[: first + 1])
    assert seen[-1] == (96, 96)


def test_a_checkpoint_is_neither_read_nor_left_by_the_draws(net, digits, tmp_path):
    result = quick(net, digits, checkpoint=tmp_path / "sums")
    assert result.baseline.equals(quick(net, digits).baseline)
    assert list(tmp_path.iterdir()) == []


def test_data_that_can_be_walked_again_will_do(net, digits):
    loader = DataLoader(TensorDataset(*digits), batch_size=40)
    found, expected = quick(net, loader).baseline, quick(net, digits).baseline
    np.testing.assert_allclose(found["mean"], expected["mean"], rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"draws": 1}, ValueError, r"draws must be an integer, at least 2; got 1"),
        ({"draws": 2.5}, ValueError, r"draws must be an integer, at least 2; got 2\.5"),
        ({"baseline": "randm"}, ValueError, r"unknown baseline 'randm'. Closest: 'random'"),
    ],
)
def test_an_impossible_baseline_is_refused(net, digits, options, error, message):
    with pytest.raises(error, match=message):
        quick(net, digits, **options)


def test_a_callable_has_no_weights_to_draw(digits):
    with pytest.raises(TypeError, match=r"baseline='random' needs an nn\.Module.*got function"):
        quick(lambda x: {"double": 2 * x}, digits)


def test_data_that_can_be_walked_once_only_are_refused(net, digits):
    with pytest.raises(ValueError, match=r"baseline='random' reads the data more than once: pass an array"):
        quick(net, iter([digits[0]]))
    assert len(quick(net, iter([digits[0]]), samples=64).baseline)  # a subset is kept in memory


def test_a_module_that_cannot_draw_its_weights_is_named(digits):
    class Scale(nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = nn.Parameter(torch.ones(1))

        def forward(self, x):
            return self.factor * x

    with pytest.raises(ValueError, match=r"have no initialiser for '0\.factor'"):
        quick(nn.Sequential(Scale()), digits)


def test_the_baseline_is_saved_and_loaded_with_the_result(net, digits, tmp_path):
    result = quick(net, digits)
    again = iv.load(result.save(tmp_path / "run"))
    assert again.baseline.equals(result.baseline)
    assert again.provenance["options"]["draws"] == 4


def test_results_saved_without_a_baseline_are_still_read(net, digits, tmp_path):
    path = quick(net, digits, baseline=None).save(tmp_path / "run") / "result.json"
    document = json.loads(path.read_text())
    del document["baseline"], document["sha256"], document["files"]
    document["schema"] = 1
    path.write_text(json.dumps(document))
    assert len(iv.load(path.parent).baseline) == 0
    path.write_text(json.dumps(document | {"baseline": {"mean": 1}}))
    with pytest.raises(ValueError, match="baseline must be a list of rows"):
        iv.load(path.parent)


def test_the_reports_table_has_a_column_of_random_networks_where_there_are_any(net, digits):
    result = quick(net, digits)
    table = tables.row_table([result])
    at = [column.label for column in table.columns].index("Random nets")
    for row, band in zip(table.rows, result.baseline.to_dict("records"), strict=True):
        assert row[at] == pytest.approx([band["low"], band["high"]], rel=1e-5)
    plain = tables.row_table([quick(net, digits, baseline=None)])
    assert "Random nets" not in [column.label for column in plain.columns]


def test_the_page_explains_the_random_networks_where_there_are_any(net, digits, tmp_path):
    with_band, without = quick(net, digits), quick(net, digits, baseline=None)
    texts = [result.report(tmp_path / "page.html").read_text() for result in (with_band, without)]
    assert ["<dt>random nets</dt>" in text for text in texts] == [True, False]
