"""What the page on Hugging Face shows runs as it stands, if the package datasets is installed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "hugging_face.md"


def test_blocks_of_the_page_run_in_order(tmp_path, monkeypatch):
    pytest.importorskip("datasets").disable_progress_bars()
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    known: dict = {"__name__": "__main__"}
    exec(compile("\n".join(blocks), str(PAGE), "exec"), known)
    assert known["again"].provenance["data"]["samples"] == len(known["colours"]) == 24
    assert known["colours"].classes == ("red", "blue")
