"""The pages for users of other packages show numbers that Invariscope still gives."""

from __future__ import annotations

import importlib
import re

import pytest
from benchmarks.coming_from import comparison
from benchmarks.coming_from.__main__ import NAMES
from marked_pages import ROOT, script_of

PAGES = ROOT / "docs" / "coming_from"
# The row of each page's own code.
SHOWN = {
    "tmeasures": ("tmeasures", "preset"),
    "lie_deriv": ("lie_deriv", "default"),
    "escnn_e3nn": ("e3nn", "default"),
    "torchlens": ("torchlens", "3/add"),
    "torchmetrics": ("torchmetrics", "accuracy"),
}


def rows_of(name: str) -> dict[str, dict]:
    return {row["key"]: row for rows in comparison.read(name)["tables"].values() for row in rows}


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_numbers_are_still_ours(name):
    stored = rows_of(name)
    found = importlib.import_module(f"benchmarks.coming_from.{name}").ours()
    assert set(found) == {key for key, row in stored.items() if key not in ("time", "memory")}
    for key, value in found.items():
        expected = stored[key]["ours"]
        assert value == (pytest.approx(expected, rel=1e-4) if isinstance(value, float) else expected), key


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_rows_are_those_of_the_script(name):
    tables = importlib.import_module(f"benchmarks.coming_from.{name}").TABLES
    written = {row.key: (row.text, row.agree) for rows in tables.values() for row in rows}
    assert written == {key: (row["text"], row.get("agree")) for key, row in rows_of(name).items()}


@pytest.mark.parametrize("name", NAMES)
def test_numbers_that_should_be_equal_are(name):
    claimed = [row for row in rows_of(name).values() if "agree" in row]
    assert claimed
    for row in claimed:
        assert comparison.difference(row["theirs"], row["ours"]) <= row["agree"] <= 1e-4, row["key"]


def test_numbers_that_should_be_equal_and_are_not_are_an_error():
    class Wrong:
        TITLE, PACKAGES = "wrong", ()
        TABLES = {"all": [comparison.Row("one", "", agree=1e-6)]}  # noqa: RUF012
        ours = staticmethod(lambda: {"one": 1.0})
        theirs = staticmethod(lambda: {"one": 1.00001})

    with pytest.raises(ValueError, match=r"one: 1.00001 and 1.0 differ by more than 1e-06"):
        comparison.record(Wrong)


@pytest.mark.parametrize("page", SHOWN)
def test_the_code_of_a_page_gives_the_number_in_its_table(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found: dict = {"__name__": "__main__"}
    exec(compile(script_of(PAGES / f"{page}.md"), page, "exec"), found)
    name, key = SHOWN[page]
    assert float(found["value"]) == pytest.approx(rows_of(name)[key]["ours"], rel=1e-4)


def test_every_table_is_on_a_page_and_every_mark_has_a_table():
    text = "\n".join(path.read_text() for path in PAGES.glob("*.md"))
    marks = re.findall(r"<!-- numbers: (\w+) (\w+) -->", text)
    assert sorted(marks) == sorted(
        (name, table) for name in NAMES for table in comparison.read(name)["tables"]
    )
