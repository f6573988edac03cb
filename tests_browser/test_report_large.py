"""A report of 200 layers and 1,000 classes is small, and opens quickly."""

import pytest
from deep_result import deep_layers, deep_result

from invariscope.report import write_report

MOST_BYTES, MOST_SECONDS = 10_000_000, 3.0


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    return write_report(deep_result(), tmp_path_factory.mktemp("large") / "report.html")


def test_it_is_at_most_ten_megabytes(large):
    assert large.stat().st_size <= MOST_BYTES


def test_it_opens_within_three_seconds_of_work(large, browser):
    """Seconds that the page's thread is busy, which do not depend on what else the machine does."""
    context = browser.new_context()
    page = context.new_page()
    devtools = context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(large.as_uri())
    page.wait_for_selector("html[data-drawn]", state="attached")
    metrics = {one["name"]: one["value"] for one in devtools.send("Performance.getMetrics")["metrics"]}
    context.close()
    assert 0 < metrics["TaskDuration"] <= MOST_SECONDS


def test_rows_of_classes_are_drawn_only_when_they_are_asked_for(large, open_page):
    tab = open_page(large)
    box = tab.page.locator("[data-table=rows]")
    assert box.locator(".count").text_content() == "200 of 200,400 rows"
    assert box.locator("tbody tr").count() == 60
    box.get_by_label("Samples of").select_option(label="any samples of")
    assert box.locator(".count").text_content() == "200,400 of 200,400 rows"
    assert box.locator("tbody tr").count() == 60
    box.get_by_text("Show 1,000 more of 200,400 rows").click()
    assert box.locator("tbody tr").count() == 1060


def test_a_layer_leads_to_its_classes(large, open_page):
    tab = open_page(large)
    layer = deep_layers(200)[0]
    tab.page.locator("[data-table=rows] tbody td").get_by_text(layer, exact=True).first.click()
    tab.page.get_by_text("Show its 1,001 rows by class in the table").click()
    shown = tab.page.locator("[data-table=rows] .count").text_content()
    assert shown.endswith("of 200,400 rows")
    assert "class 0000" in tab.page.locator("[data-table=rows] tbody").text_content()
