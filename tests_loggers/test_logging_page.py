"""The blocks of the page on loggers run as they stand, and write what it says."""

from __future__ import annotations

import random
import re

import pandas as pd
import pytest

import invariscope as iv
from project.marked_pages import ROOT, script_of

PAGE = ROOT / "docs" / "logging.md"
PACKAGES = ("mlflow", "pandas", "pytorch_lightning", "wandb")
pytestmark = pytest.mark.filterwarnings("ignore")  # of the libraries, on themselves


def test_the_page_runs_and_gives_back_the_result(tmp_path, monkeypatch):
    for package in PACKAGES:
        pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    random.seed(0)  # MLflow draws names of runs
    page: dict = {"__name__": "__main__"}
    exec(compile(script_of(PAGE, "loggers"), str(PAGE), "exec"), page)
    pd.testing.assert_frame_equal(iv.load(page["folder"]).table, page["result"].table, check_exact=True)
    pd.testing.assert_frame_equal(pd.read_parquet("table.parquet"), page["result"].table, check_exact=True)
    assert len(list(tmp_path.glob("wandb/offline-run-*/run-*.wandb"))) == 1


def test_the_blocks_that_run_here_are_on_this_page_and_use_every_package():
    marked = [page for page in (ROOT / "docs").rglob("*.md") if "<!-- run: loggers -->" in page.read_text()]
    assert marked == [PAGE]
    script = script_of(PAGE, "loggers")
    assert all(re.search(rf"^(?:import|from) {package}\b", script, re.M) for package in PACKAGES)
