"""Parquet, netCDF and model cards, read back by the libraries that own the formats."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from invariscope.results import exports


@pytest.mark.parametrize("part", ["table", "curves", "baseline"])
def test_parquet_gives_back_values_types_and_the_provenance(results, part, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    for result in results:
        path = result.to_parquet(tmp_path / "new" / "run.parquet", part=part)
        found, wanted = pd.read_parquet(path), getattr(result, part)
        pd.testing.assert_frame_equal(found, wanted, check_exact=True, check_dtype=len(wanted) > 0)
        assert found.attrs["invariscope"]["transform"] == result.provenance["transform"]
        assert b"PANDAS_ATTRS" in parquet.read_schema(path).metadata


def test_a_parquet_file_is_replaced_as_a_whole_or_not_at_all(results, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    path = results[0].to_parquet(tmp_path / "run.parquet")
    before = path.read_bytes()

    def half(self, path, **_):
        path.write_bytes(b"PAR1")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pd.DataFrame, "to_parquet", half)
    with pytest.raises(OSError, match=r"cannot write to .*: No space left on device"):
        results[1].to_parquet(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["run.parquet"]


@pytest.mark.parametrize("engine", ["scipy", "netcdf4"])
@pytest.mark.parametrize("part", ["table", "curves", "maps"])
def test_xarray_datasets_survive_netcdf(results, part, engine, tmp_path):
    xarray = pytest.importorskip("xarray")
    pytest.importorskip("netCDF4")
    dataset = exports.to_xarray(results[0], part)
    dataset.to_netcdf(tmp_path / "run.nc", engine=engine)
    with xarray.open_dataset(tmp_path / "run.nc", engine=engine) as found:
        assert set(found) == set(dataset)
        for name, values in dataset.items():
            np.testing.assert_array_equal(found[name].astype(values.dtype), values)


def test_hugging_face_reads_the_model_card(results):
    hub = pytest.importorskip("huggingface_hub")
    result = results[1]
    # Names that would end a table, a string or the metadata.
    hostile = replace(result.labelled('a"b: {x}\n---\n| c'), rows=result.rows)
    for one in (result, hostile):
        written = one.model_card(task="image-classification", dataset="ylecun/mnist")
        card = hub.ModelCard(str(written))
        found = card.data.eval_results
        values = {(row.measure, row.layer, row.call): row for row in result.rows if row.stratum == "all"}
        assert len(found) > 5
        for entry in found:
            row = values[entry.metric_type, entry.metric_args["layer"], entry.metric_args["call"]]
            assert entry.metric_value == row.value
            assert entry.metric_args.get("ci_low", np.nan) == pytest.approx(row.ci_low, abs=0, nan_ok=True)
            assert (entry.dataset_type, entry.task_type) == ("ylecun/mnist", "image-classification")
        assert card.text.strip() == written.text.strip()
        again = hub.ModelCard(str(card))
        assert [e.metric_value for e in again.data.eval_results] == [e.metric_value for e in found]


def test_a_model_card_is_not_written_over_another_file(results, tmp_path):
    card = results[1].model_card()
    path = card.save(tmp_path / "README.md")
    assert path.read_text(encoding="utf-8") == str(card)
    with pytest.raises(FileExistsError, match=r"README\.md exists\. Add `card\.text`"):
        card.save(path)
