"""Names that try to become script, markup, terminal commands or other text, in every place they have."""

import asyncio
import json
from dataclasses import replace

import numpy as np
import pytest
from browser import CHROMIUM, opened
from sample_results import sample_result

from invariscope.report import write_report
from invariscope.results.readable import LONGEST, readable, shown_name

SCRIPT = "</script><img src=x onerror=alert(1)>"
NAMES = {
    "script": SCRIPT,
    "quotes": "\"'`><svg onload=alert(1)>",
    "template": "{{ 7*7 }}{% raw %}@{value}${alert(1)}$x$",
    "null": "nul\0l\x07\x08",
    "ansi": "\x1b[2J\x1b]0;title\x07red\x1b[31m",
    "rtl": "abc\u202egpj.exe\u2066\u200f",
    "surrogate": "half\ud83d",
    "lines": "one\r\ntwo\u2028three",
    "javascript": "javascript:alert(1)//-->]]>",
    "long": "x" * 10_000,
}
LAYERS = {name: (4, 6, 6) if k % 2 else (8,) for k, name in enumerate(NAMES.values())}
ACTIVE = """[document.querySelectorAll('[onerror],[onload],svg[onload]').length, document.scripts.length,
    [...document.images].filter(i => !i.src.startsWith('data:')).length]"""


def renamed(result, number):
    """The result with hostile names for its model, data, classes, elements, notes and skipped layers."""
    names = list(NAMES.values())
    # Texts are shown whole; names are shortened in them, so only the others stand here.
    short = [name for name in names if len(name) < LONGEST]
    strata = {f"{digit}": name for digit, name in enumerate(names)}

    def moved(row):
        note = " ".join(short) if hasattr(row, "note") else None
        changes = {"stratum": strata.get(row.stratum, row.stratum)} | ({"note": note} if note else {})
        if hasattr(row, "label") and row.label:
            changes["label"] = f"{row.label} {short[number]}"
        return replace(row, **changes)

    record = dict(result.provenance)
    record["model"] = {**record.get("model", {}), "label": names[number], "weights": " ".join(short)}
    record["data"] = {**record.get("data", {}), "name": names[number + 1], "classes": names}
    labels = record.get("transform", {}).get("labels") or names
    record["transform"] = {
        **record.get("transform", {}),
        "family": names[number + 2],
        "labels": [f"{label} {short[k % len(short)]}" for k, label in enumerate(labels)],
    }
    record["skipped"] = [{"layer": name, "call": 0, "reason": name} for name in names]
    record["unused"], record["notes"] = names, short
    record["measures"] = {
        **record.get("measures", {}),
        SCRIPT: {"summary": " ".join(short), "reading": " ".join(short), "options": {SCRIPT: short}},
    }
    return replace(
        result,
        provenance=record,
        rows=tuple(map(moved, result.rows)),
        curve_rows=tuple(map(moved, result.curve_rows)),
        arrays={(m, layer, strata.get(s, s), c): a for (m, layer, s, c), a in result.arrays.items()},
    )


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on two results in which every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    results = [renamed(sample_result(seed=k, layers=LAYERS), k) for k in range(2)]
    return write_report(results, folder / "report.html", title=" ".join(NAMES.values()))


def test_no_character_that_is_obeyed_stands_raw_in_the_file(page):
    text = page.read_text(encoding="utf-8")
    body = text[: text.index("<script")] + text[text.rindex("</script>") :]
    for character in ("\0", "\x07", "\x1b", "\u202e", "\u2066", "\u200f", "\u2028", "\ud83d"):
        assert character not in body, hex(ord(character))
    assert "half\\ud83d" in body
    assert "\\x1b[2J" in body


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_browser_runs_nothing_asks_nothing_and_loads_nothing(page):
    seen = asyncio.run(_look(page))
    assert seen["active"] == [0, 3, 0]
    assert seen["dialogs"] == []
    assert seen["errors"] == []
    assert sum(url.startswith("file") for url in seen["requests"]) == 1
    assert {url.split(":")[0] for url in seen["requests"]} <= {"file", "data", "blob"}
    assert seen["drawn"]
    assert any(SCRIPT in cell for cell in seen["cells"])


async def _look(page):
    """What a browser does with the page once every view of it was opened."""
    async with opened(page, page.parent / "profile") as tab:
        dialogs, note = [], tab.note

        def noticing(event):
            if event.get("method") == "Page.javascriptDialogOpening":
                dialogs.append(event)
            note(event)

        tab.note = noticing
        cells = await tab.run(
            "[...document.querySelectorAll('[data-table=rows] td')].map(c => c.textContent)"
        )
        await tab.run("""(async () => {
            for (const menu of document.querySelectorAll('select'))
                for (let i = 0; i < Math.min(menu.options.length, 6); i++) {
                    menu.selectedIndex = i; menu.dispatchEvent(new Event('change'));
                    await new Promise(r => setTimeout(r, 20));
                }
        })()""")
        return {
            "active": await tab.run(ACTIVE),
            "cells": cells,
            "drawn": await tab.run("document.documentElement.dataset.drawn"),
            "dialogs": dialogs,
            "errors": tab.errors,
            "requests": tab.requests,
        }


def test_the_browser_test_sees_a_script_that_runs(tmp_path):
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    bad = tmp_path / "bad.html"
    bad.write_text("<html data-drawn=1><img src=x onerror='console.error(1)'></html>")
    seen = asyncio.run(_look(bad))
    assert seen["active"][0] == 1
    assert seen["errors"]


def test_rows_maps_and_classes_keep_the_same_names_when_shown():
    shown = readable(renamed(sample_result(layers=LAYERS), 0))
    assert {row.layer for row in shown.rows} == set(map(shown_name, LAYERS))
    assert {key[1] for key in shown.arrays} <= {row.layer for row in shown.rows}
    classes = shown.provenance["data"]["classes"]
    assert len(set(classes)) == len(NAMES)
    assert {row.stratum for row in shown.rows} <= {"all", "mean", *classes}


def test_long_names_stay_different_when_shortened():
    one, two = "x" * 5_000 + "a" + "x" * 5_000, "x" * 5_000 + "b" + "x" * 5_000
    assert shown_name(one) != shown_name(two)
    assert max(map(len, map(shown_name, (one, two)))) <= LONGEST


def test_ordinary_names_and_values_are_unchanged():
    result = sample_result()
    shown = readable(result)
    assert shown.rows == result.rows
    assert json.dumps(shown.provenance) == json.dumps(result.provenance)
    assert all(np.array_equal(shown.arrays[key], result.arrays[key], equal_nan=True) for key in result.arrays)
