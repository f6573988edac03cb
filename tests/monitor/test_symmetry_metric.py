"""The metric of torchmetrics: exactly what `iv.measure` gives on the same samples."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
import warnings

import metric_processes
import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.data.order import pair_numbers
from invariscope.loggers import SymmetryMetric, scalars
from invariscope.loggers.batches import BatchSource

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what its own dependencies deprecate is not ours to fix
    import pytorch_lightning as lightning
    from torchmetrics import MetricCollection

TURNS = iv.QuarterTurns()
DIGITS = zoo.load("mnist_subset", samples=240)
X, Y = DIGITS.images, DIGITS.labels
MEASURES = ["normalized_variance", "consistency", "prediction", "same_equivariance", "cka"]
RANDOM_NET = iv.NormalizedVariance(norm="random_net")
CUTS = [50, 51, 70, 119, 239]  # batches of 50, 1, 19, 49, 120 and 1 samples


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(2304, 10)).eval()


NET = network()


def batches(cuts=CUTS):
    return list(zip(np.split(X, cuts), np.split(Y, cuts), strict=True))


def updated(metric, parts=None, model=NET):
    for x, y in batches() if parts is None else parts:
        metric.update(model, x, y)
    return metric


@pytest.fixture(scope="module")
def whole():
    return iv.measure(NET, (X, Y), TURNS, measures=MEASURES, progress=False)


@pytest.fixture(scope="module")
def metric():
    return updated(SymmetryMetric(TURNS, MEASURES))


def close_to(wanted: dict):
    """The same up to the rounding of float32 forwards, which depends on the size of batches."""
    return pytest.approx(wanted, rel=1e-6)


def values_of(result) -> dict:
    return dict(scalars(result, columns=["value"], curves=False))


def test_the_values_are_those_of_one_measurement_of_all_samples(metric, whole):
    found = {name: float(value) for name, value in metric.compute().items()}
    assert found == close_to(values_of(whole))
    assert len(found) > 12
    assert {value.dtype for value in metric.compute().values()} == {torch.float64}


def test_the_result_has_the_curves_maps_and_counts_of_one_measurement(metric, whole):
    result = metric.result()
    near = {"rtol": 1e-5, "atol": 1e-9}
    np.testing.assert_allclose(result.curves["value"], whole.curves["value"], **near)
    for key, values in whole.maps.items():
        np.testing.assert_allclose(result.maps[key], values, **near)
    counts = ["measure", "layer", "samples", "elements", "units", "dead_units"]
    assert result.table[counts].equals(whole.table[counts])
    assert result.provenance["data"]["samples"] == 240
    assert result.provenance["model"] == whole.provenance["model"]
    assert "shards" not in result.provenance


def test_every_measure_is_accumulated_exactly_unless_partners_or_a_first_pass_decide_its_value():
    apart = {
        "goodfellow",  # refused: thresholds come from all samples
        "information",  # refused: bins come from all samples
        "equivariance_deviation",  # compares each sample with its partner
        "equivariance_psnr",  # needs outputs that are images
    }
    names = sorted(set(iv.list_measures()) - apart)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(192, 4))
    x, y = torch.rand(48, 1, 8, 8), torch.randint(4, (48,))
    one = iv.measure(model, (x, y), TURNS, measures=names, progress=False)
    parts = [(x[:17], y[:17]), (x[17:38], y[17:38]), (x[38:], y[38:])]
    found = updated(SymmetryMetric(TURNS, names), parts, model).result().table
    assert found[["measure", "layer"]].equals(one.table[["measure", "layer"]])
    np.testing.assert_allclose(found["value"], one.table["value"], rtol=1e-9)
    assert found["measure"].nunique() > 40


def test_intervals_and_nulls_differ_only_by_chance(metric, whole):
    table, other = metric.result().table, whole.table
    known = np.isfinite(other["ci_low"]) & (other["measure"] == "normalized_variance")
    assert known.sum() >= 3
    wide = (table["ci_high"] - table["ci_low"]) / (other["ci_high"] - other["ci_low"])
    assert wide[known].between(0.4, 2.5).all()
    assert table["null"][known].to_numpy() == pytest.approx(other["null"][known].to_numpy(), rel=0.2)


def test_other_batches_in_another_order_give_the_same_values(metric):
    parts = [(X[i::3], Y[i::3]) for i in (2, 0, 1)]
    again = updated(SymmetryMetric(TURNS, MEASURES), parts)
    for name, value in metric.compute().items():
        assert float(again.compute()[name]) == pytest.approx(float(value), rel=1e-6), name


def test_random_elements_are_drawn_for_a_sample_and_not_for_its_batch():
    noise = iv.Noise(3, norm=0.3)
    one = iv.measure(NET, X, noise, measures="normalized_variance", progress=False)
    parts = [
        (part, None) for part in np.split(X[::-1].copy() if isinstance(X, np.ndarray) else X.flip(0), CUTS)
    ]
    found = updated(SymmetryMetric(noise), parts).compute()
    assert {name: float(value) for name, value in found.items()} == close_to(values_of(one))


def test_forward_gives_the_value_of_the_batch_and_adds_it(metric, whole):
    own = SymmetryMetric(TURNS, MEASURES)
    (x, y), *rest = [(X[:170], Y[:170]), (X[170:], Y[170:])]
    first = own(NET, x, labels=y)
    alone = iv.measure(NET, (x, y), TURNS, measures=MEASURES, progress=False)
    assert {k: float(v) for k, v in first.items()} == close_to(values_of(alone))
    own(NET, *rest[0])
    assert {k: float(v) for k, v in own.compute().items()} == close_to(values_of(whole))


def test_reset_clone_copies_and_saved_states(metric):
    wanted = metric.compute()
    other = metric.clone()
    other.reset()
    with (
        pytest.raises(ValueError, match="no samples; call update"),
        pytest.warns(UserWarning, match="before"),
    ):
        other.compute()
    other.persistent(True)
    kept = copy.deepcopy(metric)
    kept.persistent(True)
    other.load_state_dict(kept.state_dict())
    other._update_count = 1  # as Lightning sets it on restoring a checkpoint
    assert other.compute() == wanted
    kept.set_dtype(torch.float64)  # converts every state, bytes too
    kept._computed = None
    assert kept.compute() == wanted


def test_a_collection_keeps_the_metrics_apart():
    flips = SymmetryMetric(iv.Flip(), "consistency")
    both = MetricCollection({"turns": SymmetryMetric(TURNS, "consistency"), "flips": flips}, prefix="val/")
    for x, y in batches([60]):
        both.update(model=NET, inputs=x, labels=y)
    found = both.compute()
    # torchmetrics adds names only if two metrics have the same ones.
    assert len(found) == 2 * len(flips.compute())
    for name, transform in (("turns", TURNS), ("flips", iv.Flip())):
        one = values_of(iv.measure(NET, X, transform, measures="consistency", progress=False))
        own = {k: float(v) for k, v in both[name].compute().items()}
        assert own == close_to(one)
        assert {float(v) for k, v in found.items() if name in k} == set(own.values())


def test_plot_shows_the_values():
    metric = updated(SymmetryMetric(TURNS, "consistency"), batches([60]))
    figure, _ = metric.plot()
    assert figure.axes
    import matplotlib.pyplot as plt

    plt.close(figure)


def test_single_samples_in_single_batches(whole):
    few = iv.measure(NET, (X[:6], Y[:6]), TURNS, measures="prediction", progress=False)
    metric = SymmetryMetric(TURNS, "prediction")
    metric.update(NET, X[:1], Y[:1])
    with pytest.raises(ValueError, match="got 1 sample"):
        metric.compute()
    updated(metric, [(X[i : i + 1], Y[i : i + 1]) for i in range(1, 6)])
    assert {k: float(v) for k, v in metric.compute().items()} == close_to(values_of(few))


def test_sorted_batches_have_no_null_and_say_why():
    order = torch.argsort(torch.as_tensor(Y), stable=True)
    x, y = torch.as_tensor(X)[order], torch.as_tensor(Y)[order]
    parts = zip(x.split(24), y.split(24), strict=True)
    metrics = [updated(SymmetryMetric(TURNS, "stability", layers="1"), own) for own in (parts, None)]
    tables = [own.result().table.query("measure != 'stability.R'") for own in metrics]
    assert tables[0]["null"].isna().all()
    assert tables[0]["note"].str.contains("labels of this stream are sorted").all()
    assert tables[1]["null"].notna().all()


def test_groups_are_drawn_anew_in_every_batch():
    groups = [next(BatchSource.of(x, seed=0).windows()).groups for x in np.split(X[:128], 8)]
    assert not np.array_equal(groups[0], groups[1])
    assert len(np.unique(np.concatenate(groups))) == 8
    for own in groups:  # pairs stay whole
        assert [len(np.unique(own[pair_numbers(16) == k])) for k in range(8)] == [1] * 8


@pytest.mark.parametrize(
    ("build", "error", "says"),
    [
        (lambda: SymmetryMetric(TURNS, "goodfellow"), ValueError, "thresholds or bins from all samples"),
        (lambda: SymmetryMetric(TURNS, RANDOM_NET), ValueError, "random network"),
        (lambda: SymmetryMetric(TURNS, precision="bf16"), ValueError, "compared with float32"),
        (lambda: SymmetryMetric(TURNS, by_class=True), TypeError, "by_class= needs all samples"),
        (lambda: SymmetryMetric(TURNS, shards=3), TypeError, "Unexpected keyword arguments: `shards`"),
        (lambda: SymmetryMetric(TURNS, "nothing"), ValueError, "nothing"),
    ],
)  # fmt: skip
def test_what_a_metric_cannot_do_is_refused_when_it_is_made(build, error, says):
    with pytest.raises(error, match=says):
        build()


def test_bad_batches_leave_the_sums_as_they_were(metric):
    own = copy.deepcopy(metric)
    for batch, error in ((X[:0], ValueError), (X[:4] * float("nan"), ValueError), ([X, X], TypeError)):
        with pytest.raises(error):
            own.update(NET, batch)
    with pytest.raises(ValueError, match="2 labels"):
        own.update(NET, X[:4], Y[:2])
    assert own.compute() == metric.compute()


def test_a_state_of_another_metric_is_refused(metric):
    other = SymmetryMetric(iv.Flip(), MEASURES)
    other.sums = list(metric.sums)
    with pytest.raises(ValueError, match="sums of another measurement"):
        other.update(NET, X[:4], Y[:4])


class Validated(lightning.LightningModule):
    """A module that validates in inference mode, as Lightning does."""

    def __init__(self):
        super().__init__()
        self.net, self.metric = network(), SymmetryMetric(TURNS, MEASURES)

    def validation_step(self, batch, _):
        assert torch.is_inference_mode_enabled()
        self.metric.update(self.net, *batch)

    def on_validation_epoch_end(self):
        self.log_dict(self.metric.compute())
        self.metric.reset()


@pytest.mark.filterwarnings("ignore")  # Lightning's advice on workers and devices
def test_in_the_validation_of_lightning(metric, tmp_path):
    data = torch.utils.data.TensorDataset(torch.as_tensor(X), torch.as_tensor(Y))
    trainer = lightning.Trainer(
        accelerator="cpu", devices=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        default_root_dir=tmp_path,
    )  # fmt: skip
    found = trainer.validate(Validated(), torch.utils.data.DataLoader(data, batch_size=40), verbose=False)[0]
    assert found == pytest.approx({k: float(v) for k, v in metric.compute().items()}, rel=1e-6)


def test_synchronised_sums_are_those_of_all_processes_and_one_may_have_none():
    measures = ["normalized_variance", "prediction"]
    wanted = iv.measure(NET, (X, Y), TURNS, measures=measures, progress=False)
    others = [updated(SymmetryMetric(TURNS, measures), [(X[k::3], Y[k::3])]) for k in (0, 2)]

    def gather(state, group=None):
        return [others[0].sums[0], state.to(torch.uint8), *(own.sums[0] for own in others[1:])]

    own = SymmetryMetric(TURNS, measures, dist_sync_fn=gather, distributed_available_fn=lambda: True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torchmetrics warns of a metric without samples
        without = own.compute()["prediction.flips/output"]
    updated(own, [(X[1::3], Y[1::3])])
    assert {k: float(v) for k, v in own.compute().items()} == close_to(values_of(wanted))
    assert own.result().provenance["data"]["samples"] == 240
    assert len(own.sums) == 1  # the sums of this process alone
    assert float(without) != float(own.compute()["prediction.flips/output"])


@pytest.mark.slow
def test_processes_are_synchronised_exactly_and_one_may_have_no_samples(tmp_path):
    wanted = iv.measure(
        metric_processes.network(), metric_processes.samples(), TURNS,
        measures=["normalized_variance", "prediction"], progress=False,
    )  # fmt: skip
    workers = [
        subprocess.Popen([sys.executable, metric_processes.__file__, str(rank), str(tmp_path)])
        for rank in range(metric_processes.PROCESSES)
    ]
    assert [worker.wait(timeout=240) for worker in workers] == [0, 0, 0]
    for rank in range(metric_processes.PROCESSES):
        found = json.loads((tmp_path / f"{rank}.json").read_text())
        assert found["values"] == close_to(values_of(wanted))
        assert found["blobs"] == (rank < 2)  # afterwards, each has its own sums again


def test_without_torchmetrics_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torchmetrics", None)
    monkeypatch.delitem(sys.modules, "invariscope.loggers.metric")
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[torchmetrics\]'"):
        _ = iv.loggers.SymmetryMetric
