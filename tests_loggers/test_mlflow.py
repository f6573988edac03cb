"""What MLflow reads back from its stores is what the result's table and curves hold, to the last bit."""

from __future__ import annotations

import random
import sys

import pandas as pd
import pytest

import invariscope as iv
from invariscope.loggers import MLflowWriter, scalars
from invariscope.loggers.mlflow import metric_name

mlflow = pytest.importorskip("mlflow")
pytestmark = pytest.mark.filterwarnings("ignore")  # of MLflow, on its own stores


@pytest.fixture(scope="module", params=["sqlite", "file"])
def logged(request, results, tmp_path_factory):
    """A client and a run with two results, in each kind of local store."""
    random.seed(0)  # MLflow draws names of runs
    folder = tmp_path_factory.mktemp(request.param)
    uri = f"sqlite:///{folder / 'mlflow.db'}" if request.param == "sqlite" else (folder / "runs").as_uri()
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("digits", artifact_location=(folder / "artifacts").as_uri())
    run = client.create_run(experiment)
    with MLflowWriter(run, client=client, images=True) as writer:
        for step, result in enumerate(results):
            writer(step, result)
    return client, run.info.run_id, folder


def test_every_finite_number_is_read_back_exactly_at_its_step(logged, results):
    client, run, _ = logged
    found = {
        (name, entry.step): entry.value
        for name in client.get_run(run).data.metrics
        for entry in client.get_metric_history(run, name)
    }
    wanted = {
        (metric_name(name), step): value
        for step, result in enumerate(results)
        for name, value in scalars(result)
    }
    assert found == wanted
    names = {name for name, _ in found}
    assert {
        "normalized_variance/conv1",
        "normalized_variance/relu call 1",
        "normalized_variance/add - 3",
    } <= names
    assert {"normalized_variance.null/conv1", "curve/prediction.accuracy/output - 2"} <= names


def test_the_artifacts_hold_the_whole_result_and_its_table(logged, results, tmp_path):
    client, run, _ = logged
    for step, result in enumerate(results):
        folder = client.download_artifacts(run, f"invariscope/step-{step}", str(tmp_path))
        again = iv.load(folder)
        pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
        pd.testing.assert_frame_equal(again.curves, result.curves, check_exact=True)
        table = pd.read_csv(f"{folder}/table.csv", float_precision="round_trip")
        assert table["value"].equals(result.table["value"])
    names = {one.path for one in client.list_artifacts(run, "invariscope/step-0/normalized_variance")}
    assert names == {"invariscope/step-0/normalized_variance/units.png"}


def test_tags_say_what_was_measured(logged):
    client, run, _ = logged
    tags = client.get_run(run).data.tags
    assert tags["invariscope.transform"] == "rotation"
    assert tags["invariscope.data"] == "mnist_subset"
    assert tags["invariscope.version"] == iv.__version__


def test_the_active_run_is_the_default_and_without_one_the_error_says_what_to_do(results, tmp_path):
    with pytest.raises(ValueError, match=r"no active run: use `with mlflow\.start_run"):
        MLflowWriter()
    random.seed(0)  # MLflow draws names of runs
    mlflow.set_tracking_uri(f"sqlite:///{tmp_path / 'mlflow.db'}")
    mlflow.create_experiment("digits", artifact_location=(tmp_path / "artifacts").as_uri())
    mlflow.set_experiment("digits")
    with mlflow.start_run() as run:
        MLflowWriter(columns=["value"], curves=False, artifacts=False)(3, results[1])
    found = mlflow.get_run(run.info.run_id).data.metrics
    values = scalars(results[1], columns=["value"], curves=False)
    assert found == {metric_name(name): value for name, value in values}


@pytest.mark.parametrize(
    "name", ["nv/a/b", "nv/a, call 2", "nv/ü", "nv/../x", "nv//x", "nv/" + "x" * 400, "/nv", "nv/."]
)
def test_names_are_accepted_and_different_ones_stay_different(name, logged):
    client, run, _ = logged
    others = [name + "°", name + "é", name + "/3"]
    safe = [metric_name(one) for one in (name, *others)]
    assert len(set(safe)) == len(safe)
    for one in safe:
        client.log_metric(run, f"names/{one}", 1.0)


def test_without_mlflow_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[mlflow\]'"):
        MLflowWriter()
