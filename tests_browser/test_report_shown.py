import math

import pytest
from sample_results import sample_result

from invariscope.cli.tables import difference_tables, result_tables
from invariscope.plots.unit_heatmap import UnitHeatmap
from invariscope.report import write_report
from invariscope.results.compare import compare

IMAGE = '<img src=x onerror="window.pwned=1">'
SCRIPT = "</script><script>window.pwned=2</script>"
FORMULA = "$$\\href{x}{y}$$"
LAYERS = {IMAGE: (4, 6, 6), SCRIPT: (8,), FORMULA: (6, 4, 4), "@{model}{safe}": (10,)}

TOOLTIPS = """[...document.querySelectorAll('.bk-Tooltip')].map(t => ({
    text: t.shadowRoot.textContent, images: t.shadowRoot.querySelectorAll('img').length}))"""
# Left, right, top and bottom of the picture inside the chart, on the screen.
FRAME = """(() => {
    const e = document.querySelector('#unit_heatmap-0');
    e.scrollIntoView({block: 'center', behavior: 'instant'});
    const views = Object.values(Bokeh.index.roots ?? Bokeh.index), place = e.getBoundingClientRect();
    const {left, right, top, bottom} = views.find(v => e.contains(v.el)).frame.bbox;
    return [place.x + left, place.x + right, place.y + top, place.y + bottom];
})()"""


def hostile():
    return [sample_result(IMAGE, layers=LAYERS), sample_result(SCRIPT, level=0.6, seed=1, layers=LAYERS)]


@pytest.fixture(scope="module")
def seen(tmp_path_factory, opened):
    """What a browser saw of a page full of hostile names, at phone width and in the dark."""
    folder = tmp_path_factory.mktemp("browser")
    page = write_report(hostile(), folder / "report.html", title=f"{SCRIPT}{IMAGE}")
    with opened(page, width=375, scheme="dark") as tab:
        return _look(tab)


def _look(tab):
    found = {
        "pwned": tab.run("window.pwned ?? null"),
        "title": tab.run("document.title"),
        "scripts": tab.run("document.scripts.length"),
        "handlers": tab.run("document.querySelectorAll('[onerror]').length"),
        "sources": tab.run("[...document.images].map(i => i.src.slice(0, 5))"),
        "width": tab.run("document.documentElement.scrollWidth"),
        "canvases": tab.run(
            "[...document.querySelectorAll('.picture:not([hidden]) .chart')].map(c => c.children.length)"
        ),
        "cells": tab.run("[...document.querySelectorAll('[data-table=rows] td')].map(c => c.textContent)"),
        "dark": _axis_colour(tab),
        "menus": tab.run("document.querySelectorAll('select').length"),
    }
    found["tooltips"] = _tooltips(tab)
    tab.run("document.getElementById('theme').click()")
    found["light"] = _axis_colour(tab)
    found["sorted"] = _sorted_values(tab)
    found["filtered"] = _filtered(tab)
    _open_every_view(tab)
    found |= {
        "errors": tab.errors,
        "requests": tab.requests,
        "still": tab.run("window.pwned ?? null"),
    }
    return found


def _axis_colour(tab):
    return tab.run("""[...Bokeh.documents[0].all_models].find(m => m.type == 'LinearAxis')
        .major_label_text_color""")


def _tooltips(tab):
    """The tooltips of the four columns of the heat map."""
    left, right, top, bottom = tab.run(FRAME)
    texts = []
    for column in range(4):
        tab.point_at(left + (column + 0.5) / 4 * (right - left), top + 0.05 * (bottom - top))
        texts += tab.run(TOOLTIPS)
    return texts


def _sorted_values(tab):
    return tab.run("""(() => {
        const table = () => document.querySelector('[data-table=rows] table');
        const place = [...table().rows[0].cells].findIndex(c => c.textContent == 'Value');
        table().rows[0].cells[place].firstChild.click();
        return [...table().rows].slice(1).map(r => r.cells[place].textContent);
    })()""")


def _filtered(tab):
    return tab.run("""(() => {
        const box = document.querySelector('[data-table=rows]'), input = box.querySelector('input');
        input.value = 'HREF'; input.dispatchEvent(new Event('input'));
        return [box.querySelectorAll('tbody tr').length, box.querySelector('.count').textContent];
    })()""")


def _open_every_view(tab):
    tab.run("""(async () => {
        for (const menu of document.querySelectorAll('select[data-menu]'))
            for (let i = 0; i < menu.options.length; i++) {
                menu.selectedIndex = i; menu.dispatchEvent(new Event('change'));
                await new Promise(r => setTimeout(r, 30));
            }
        const charts = () => [...document.querySelectorAll('.chart')];
        while (charts().some(c => !c.children.length)) {
            for (const p of document.querySelectorAll('.picture')) p.hidden = false;
            const menu = document.querySelector('select[data-menu]');
            menu.dispatchEvent(new Event('change')); await new Promise(r => setTimeout(r, 50));
            for (const p of document.querySelectorAll('.picture')) p.hidden = false;
        }
    })()""")


def test_no_name_becomes_markup_or_script(seen):
    assert (seen["pwned"], seen["still"]) == (None, None)
    assert seen["title"] == f"{SCRIPT}{IMAGE}"
    assert (seen["scripts"], seen["handlers"]) == (3, 0)
    assert set(seen["sources"]) == {"data:"}


def test_names_are_shown_as_they_are(seen):
    assert {IMAGE, SCRIPT, FORMULA} <= set(seen["cells"])


def test_tooltips_show_names_as_text(seen):
    texts = [tooltip["text"] for tooltip in seen["tooltips"]]
    for name in LAYERS:
        assert any(name in text for text in texts), (name, texts)
    assert not any(tooltip["images"] for tooltip in seen["tooltips"])


def test_the_page_is_drawn_without_an_error_or_a_request(seen):
    assert seen["errors"] == []
    assert {url.split(":")[0] for url in seen["requests"]} <= {"file", "data", "blob"}
    assert sum(url.startswith("file") for url in seen["requests"]) == 1


def test_every_visible_chart_is_drawn(seen):
    assert len(seen["canvases"]) == 7
    assert all(seen["canvases"])


def test_a_phone_does_not_scroll_sideways(seen):
    assert seen["width"] <= 375


def test_charts_follow_the_theme(seen):
    assert (seen["dark"], seen["light"]) == ("#a2abb9", "#5b6370")


def test_a_click_on_a_heading_sorts_the_rows(seen):
    values = [float(text) for text in seen["sorted"]]
    assert values == sorted(values)
    assert len(set(values)) > 4


def test_the_filter_finds_rows_by_name_whatever_the_case(seen):
    rows, count = seen["filtered"]
    assert rows == 2
    assert count.startswith("2 of ")


def test_the_cell_under_the_pointer_is_the_cell_in_the_tooltip(tmp_path, open_page):
    result = sample_result(
        layers={"conv": (5, 2, 2), "fc": (10,)}, classes=False, curves=False, examples=False
    )
    page = write_report(result, tmp_path / "report.html")
    texts = _walk_column(open_page(page))
    (_, column) = UnitHeatmap.prepare(result).columns
    for number, text in enumerate(texts):
        assert "layer: fc" in text
        assert f"cell: unit {number}" in text
        assert math.isclose(float(text.split("value: ")[1]), column.values[number], abs_tol=6e-4)


def _walk_column(tab):
    """The tooltips at the middles of ten cells of the second column, from the top down."""
    left, right, top, bottom = tab.run(FRAME)
    texts = []
    for number in range(10):
        tab.point_at(left + 0.75 * (right - left), top + (number + 0.5) / 10 * (bottom - top))
        texts += [tooltip["text"] for tooltip in tab.run(TOOLTIPS)]
    return texts


PHONE, TABLET, DESK = 390, 600, 1280
EDGES = """[...document.querySelectorAll('[data-table=rows] tbody td')].map(c =>
    c.getBoundingClientRect().right)"""
LABELS = """[...document.querySelectorAll('[data-table=rows] tbody td')].map(c =>
    getComputedStyle(c, '::before').content)"""
CUT = """[...document.querySelectorAll('.frames span')].filter(s => s.offsetParent
    && s.scrollWidth > s.clientWidth).map(s => s.textContent)"""
CHARTS = """[...document.querySelectorAll('.picture:not([hidden]) .chart')].map(c => c.parentElement)
    .map(box => [box.closest('section').id, box.scrollWidth - box.clientWidth])"""
NAMES = """[...document.querySelectorAll('#class_heatmap .chart')].slice(0, 1).flatMap(c =>
    Object.values(Bokeh.index.roots ?? Bokeh.index).filter(v => c.contains(v.el))
    .flatMap(v => [...v.model.document.all_models]).filter(m => m.type == 'LinearAxis')
    .map(m => m.major_label_orientation).filter(angle => typeof angle == 'number'))"""
CELLS = """[...document.querySelectorAll('[data-table={}] tbody tr')].map(row =>
    [...row.cells].map(cell => cell.textContent))"""
# Of each bar: the value, its share of the room, where its text ends, where it begins, whether one sees it.
BARS = """[...document.querySelectorAll('[data-table=rows] td.bar')].map(cell => {
    const text = document.createRange(), own = getComputedStyle(cell);
    const bar = getComputedStyle(cell, '::after');
    text.selectNodeContents(cell);
    const inner = cell.clientWidth - parseFloat(own.paddingLeft) - parseFloat(own.paddingRight);
    const bottom = cell.getBoundingClientRect().bottom - parseFloat(own.borderBottomWidth);
    return [parseFloat(cell.textContent), parseFloat(bar.width) / inner, text.getBoundingClientRect().bottom,
        bottom - parseFloat(own.paddingBottom) - parseFloat(bar.height),
        own.backgroundImage == 'none' && parseFloat(bar.height) >= 2 && !/, 0\\)$/.test(bar.backgroundColor)];
})"""
FADED = "document.querySelector('[data-table=rows] .scroll').classList.contains('more-right')"


@pytest.fixture(scope="module")
def demo_page(tmp_path_factory):
    """Two networks of thirteen layers, and the report on them."""
    results = [sample_result(), sample_result("rotated", level=0.6, seed=1)]
    return results, write_report(results, tmp_path_factory.mktemp("fit") / "report.html")


@pytest.fixture(scope="module")
def at_width(demo_page, opened):
    found = {}
    for width in (PHONE, TABLET, DESK):
        with opened(demo_page[1], width=width) as tab:
            found[width] = _fitted(tab)
    return found


def _fitted(tab):
    tab.wait(0.3)
    found = {"charts": tab.run(CHARTS), "angles": tab.run(NAMES)}
    found |= {"faded": tab.run(FADED), "edges": tab.run(EDGES)}
    found |= {"labels": tab.run(LABELS), "headings": tab.run(CUT)}
    tab.run("document.querySelector('[data-table=rows] .scroll').scrollLeft = 1e5")
    tab.wait(0.3)
    found["cells"], found["pairs"] = [tab.run(CELLS.format(name)) for name in ("rows", "differences")]
    return found | {"at_the_end": tab.run(FADED)}


def test_no_column_of_a_chart_is_cut_off(at_width):
    for width in (PHONE, DESK):
        assert len(at_width[width]["charts"]) > 4
        assert [chart for chart in at_width[width]["charts"] if chart[1] > 0] == []


def test_names_stand_upright_only_where_there_is_little_room(at_width):
    assert at_width[PHONE]["angles"] == [pytest.approx(math.pi / 2)]
    assert at_width[DESK]["angles"] == [0.75]


def test_a_table_that_goes_on_to_the_right_fades_out_there(at_width):
    assert (at_width[TABLET]["faded"], at_width[TABLET]["at_the_end"]) == (True, False)
    assert at_width[DESK]["faded"] is False


@pytest.mark.parametrize("width", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_digit_lies_on_a_bar_and_bars_are_as_long_as_the_values_are_large(
    width, scheme, tmp_path, open_page
):
    page = write_report(sample_result(), tmp_path / "report.html")
    bars = open_page(page, width=width, scheme=scheme).run(BARS)
    assert len(bars) == len(
        sample_result().table.query("measure == 'normalized_variance' and stratum == 'all'")
    )
    largest = max(value for value, *_ in bars)
    for value, share, text_ends, bar_begins, drawn in bars:
        assert drawn
        assert text_ends <= bar_begins + 1
        assert math.isclose(share, value / largest, abs_tol=0.02)


def test_a_phone_shows_every_number_of_a_row_with_its_name_and_fades_none(at_width):
    assert at_width[PHONE]["faded"] is False
    assert at_width[PHONE]["cells"] == at_width[DESK]["cells"]
    assert all(right <= PHONE for right in at_width[PHONE]["edges"])
    assert '"95 % interval\u00a0"' in at_width[PHONE]["labels"]
    assert set(at_width[DESK]["labels"]) == {"none"}
    assert at_width[PHONE]["headings"] == []


def test_headings_above_images_are_not_cut(tmp_path, open_page):
    tab = open_page(write_report(sample_result(), tmp_path / "report.html"))
    assert tab.run("document.querySelectorAll('.frames span').length") > 8
    assert tab.run(CUT) == []


def test_the_page_shows_the_digits_of_the_terminal(demo_page, at_width):
    terminal = [cells[:3] for result in demo_page[0] for cells in texts_of(next(result_tables(result)))]
    assert [cells[1:4] for cells in at_width[DESK]["cells"]] == terminal


def test_the_page_shows_differences_with_the_digits_of_the_terminal(demo_page, at_width):
    terminal = texts_of(next(difference_tables(compare(demo_page[0]))))
    unmarked = [[text.replace("+", "") for text in cells] for cells in terminal]
    assert at_width[DESK]["pairs"] == unmarked


def texts_of(table):
    """The rows of a terminal's table as texts."""
    return [list(map(str, cells)) for cells in zip(*(column.cells for column in table.columns), strict=True)]
