"""What an offline run of W&B wrote is what the result's table and curves hold, to the last bit."""

from __future__ import annotations

import json
import math
import shutil
import struct
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import invariscope as iv
from invariscope.loggers import WandbWriter, scalars

wandb = pytest.importorskip("wandb")
pytestmark = pytest.mark.filterwarnings("ignore")  # of W&B, on its own libraries


BLOCK, FULL, LAST = 1 << 15, 1, 4  # of LevelDB's log


@pytest.fixture(scope="module")
def logged(results, tmp_path_factory):
    """The folder and the records of an offline run with two results, between other metrics."""
    folder = tmp_path_factory.mktemp("wandb")
    settings = wandb.Settings(x_disable_stats=True)
    with wandb.init(project="digits", mode="offline", dir=str(folder), settings=settings) as run:
        run.log({"loss": 0.5}, step=100)
        with WandbWriter(run, images=True) as writer:
            for step, result in enumerate(results):
                writer(step, result)
        place = Path(run.settings.sync_file)
    for _ in range(600):  # another process writes the file, and need not have ended
        records = list(records_of(place.read_bytes()))
        if any(record.WhichOneof("record_type") == "exit" for record in records):
            return place.parent, records
        time.sleep(0.1)
    raise AssertionError(f"{place} has no record of the end of the run")


def records_of(content: bytes) -> Iterator[Any]:
    """Records of a .wandb file: a header of 7 bytes, and the blocks of LevelDB's log format."""
    from wandb.proto.wandb_internal_pb2 import Record

    place, waiting = 7, b""
    while place + 7 <= len(content):
        left = BLOCK - place % BLOCK
        if left < 7:
            place += left
            continue
        size, kind = struct.unpack_from("<HB", content, place + 4)
        waiting += content[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(waiting)
            yield record
            waiting = b""


def history(records) -> list[dict]:
    """The rows of the history; values of several parts, such as images, are mappings."""
    rows = []
    for record in records:
        if record.WhichOneof("record_type") == "history":
            rows.append({})
            for one in record.history.item:
                name, *parts = one.nested_key or [one.key]
                value = json.loads(one.value_json)
                if parts:
                    rows[-1].setdefault(name, {})[parts[0]] = value
                else:
                    rows[-1][name] = value
    return rows


def test_every_finite_number_is_read_back_exactly_at_its_step(logged, results):
    found = [row for row in history(logged[1]) if "invariscope/step" in row]
    assert [row["invariscope/step"] for row in found] == [0, 1]
    for row, result in zip(found, results, strict=True):
        wanted = dict(scalars(result))
        assert {name: row[name] for name in row if name in wanted} == wanted
        assert all(math.isfinite(value) for value in wanted.values())
    names = set(found[0])
    assert {"normalized_variance/relu, call 1", "curve/prediction.accuracy/output/2"} <= names
    assert found[0]["normalized_variance/units"]["_type"] == "image-file"


def test_the_step_is_the_axis_of_every_number(logged, results):
    metrics = [r.metric for r in logged[1] if r.WhichOneof("record_type") == "metric"]
    axes = {one.name: one.step_metric for one in metrics}
    assert set(dict(scalars(results[0]))) <= set(axes)
    assert {axis for name, axis in axes.items() if name != "invariscope/step"} == {"invariscope/step"}


def test_the_table_is_read_back_with_its_undefined_numbers(logged, results):
    folder, records = logged
    tables = [row["invariscope/table"] for row in history(records) if "invariscope/table" in row]
    for about, result in zip(tables, results, strict=True):
        document = json.loads((folder / "files" / about["path"]).read_text())
        found = pd.DataFrame(document["data"], columns=document["columns"])
        assert list(found) == list(result.table)
        for name, column in result.table.items():
            if column.dtype.kind == "f":
                pd.testing.assert_series_equal(found[name].astype(float), column, check_exact=True)
            else:
                assert found[name].tolist() == column.tolist()


def test_the_artifacts_hold_the_files_of_every_step(logged, results, tmp_path):
    found = [r.artifact for r in logged[1] if r.WhichOneof("record_type") == "artifact"]
    own = [one for one in found if one.type == "invariscope-result"]
    assert [{*one.aliases} for one in own] == [{"latest", "step-0"}, {"latest", "step-1"}]
    for step, (artifact, result) in enumerate(zip(own, results, strict=True)):
        folder = tmp_path / str(step)
        folder.mkdir()
        for entry in artifact.manifest.contents:
            shutil.copy(entry.local_path, folder / entry.path)
        again = iv.load(folder)
        pd.testing.assert_frame_equal(again.table, result.table, check_exact=True)
        pd.testing.assert_frame_equal(again.curves, result.curves, check_exact=True)


def test_without_wandb_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[wandb\]'"):
        WandbWriter()


def test_without_a_run_the_error_says_what_to_do():
    with pytest.raises(ValueError, match=r"no current run: call `wandb\.init\(\)`"):
        WandbWriter()
