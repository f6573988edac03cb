"""A page whose every name tries to become script, markup or other text."""

import pytest
from hostile_results import LAYERS, NAMES, SCRIPT, renamed
from sample_results import sample_result

from invariscope.report import write_report
from invariscope.results.readable import shown_name

ACTIVE = """[document.querySelectorAll('[onerror],[onload],svg[onload]').length, document.scripts.length,
    [...document.images].filter(i => !i.src.startsWith('data:')).length]"""


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """A report on two results in which every name is hostile."""
    folder = tmp_path_factory.mktemp("hostile")
    results = [renamed(sample_result(seed=k, layers=LAYERS), k) for k in range(2)]
    return write_report(results, folder / "report.html", title=" ".join(NAMES.values()))


def test_a_browser_runs_nothing_asks_nothing_and_loads_nothing(page, open_page):
    seen = _look(open_page(page))
    assert seen["active"] == [0, 3, 0]
    assert seen["dialogs"] == []
    assert seen["errors"] == []
    assert sum(url.startswith("file") for url in seen["requests"]) == 1
    assert {url.split(":")[0] for url in seen["requests"]} <= {"file", "data", "blob"}
    assert any(SCRIPT in cell for cell in seen["cells"])


def _look(tab):
    """What a browser does with the page once its views were opened and a layer was picked."""
    cells = tab.run("[...document.querySelectorAll('[data-table=rows] td')].map(c => c.textContent)")
    tab.run("""(async () => {
        for (const menu of document.querySelectorAll('select'))
            for (let i = 0; i < Math.min(menu.options.length, 6); i++) {
                menu.selectedIndex = i; menu.dispatchEvent(new Event('change'));
                await new Promise(r => setTimeout(r, 20));
            }
        document.querySelector('[data-table=rows] tbody tr')?.click();
        await new Promise(r => setTimeout(r, 200));
    })()""")
    active = tab.run(ACTIVE)
    return {
        "active": active,
        "cells": cells,
        **{name: getattr(tab, name) for name in ("dialogs", "errors", "requests")},
    }


def test_every_hostile_layer_can_be_picked_and_is_named_as_text(page, open_page):
    tab = open_page(page)
    for name in ("script", "quotes", "template", "null", "javascript"):
        shown = shown_name(NAMES[name])
        tab.page.locator("[data-table=rows] tbody td").get_by_text(shown, exact=True).first.click()
        assert tab.page.locator("aside.layer h2").text_content() == shown
    assert tab.run(ACTIVE)[:2] == [0, 3]
    assert tab.errors == []


def test_the_browser_test_sees_a_script_that_runs(tmp_path, open_page):
    bad = tmp_path / "bad.html"
    bad.write_text("<html data-drawn=1><img src=x onerror='console.error(1)'></html>")
    seen = _look(open_page(bad))
    assert seen["active"][0] == 1
    assert seen["errors"]
