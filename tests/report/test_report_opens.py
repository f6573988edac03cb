"""A report opens in a browser; `make test-browser` checks everything else that a page does."""

import re
import shutil
import subprocess

import pytest
from sample_results import sample_result

from invariscope.report import write_report

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_report_draws_its_charts_and_rows_when_it_is_opened(tmp_path):
    page = write_report(sample_result(classes=False), tmp_path / "report.html")
    until = ("--timeout=8000", "--virtual-time-budget=5000", f"--user-data-dir={tmp_path / 'profile'}")
    command = [CHROMIUM, *QUIET, *until, "--dump-dom", page.as_uri()]
    dom = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert re.search(r'<html[^>]* data-drawn="yes"', dom)
    assert len(re.findall(r'<tr role="row"[^>]* data-layer="', dom)) == 13
    assert 'role="alert"' not in dom
