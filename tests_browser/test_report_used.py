"""What a reader does with a report: zooms, picks layers, saves figures, with the mouse or the keys alone."""

import csv
import io
import json
from itertools import pairwise
from urllib.parse import quote

import pytest
from deep_result import deep_layers, deep_result
from plot_rows import result, row
from sample_results import LAYERS, sample_result

from invariscope.report import write_report

PROFILE, PANEL = "#layer_profile .picture:not([hidden])", "aside.layer"
PLOT = """(() => {
    const host = document.querySelector('%s .chart:not([hidden])');
    const view = Object.values(Bokeh.index.roots ?? Bokeh.index).find(v => host.contains(v.el));
    const box = view.el.getBoundingClientRect(), frame = view.frame.bbox, range = view.model.x_range;
    return {left: box.x + frame.left, right: box.x + frame.right, top: box.y + frame.top,
        bottom: box.y + frame.bottom, start: range.start, end: range.end, width: host.scrollWidth};
})()"""
MARKED = """[...Bokeh.documents].flatMap(d => [...d.all_models])
    .filter(m => m.name == 'picked' && m.type == 'BoxAnnotation' && m.visible).length"""
PIXELS = """[...document.querySelectorAll('.picture:not([hidden]) .chart')]
    .map(c => c.getBoundingClientRect().width)"""
FITS = "[...document.querySelectorAll('.chart')].every(c => c.scrollWidth <= c.parentElement.clientWidth)"
# Left and right ends of the names that each visible chart of layers draws, by axis.
NAMES = """Object.fromEntries(
[...document.querySelectorAll('#layer_profile .picture:not([hidden]) .chart:not([hidden])')]
.flatMap(host => {
    const view = Object.values(Bokeh.index.roots ?? Bokeh.index).find(v => host.contains(v.el));
    const svg = view.export('svg', false).canvas;
    document.body.append(svg);
    const once = new Map([...svg.querySelectorAll('text')].map(t => [t.textContent, t]));
    const found = [...once.values()].filter(t => /layer|conv/.test(t.textContent))
        .map(t => { const b = t.getBoundingClientRect(); return [b.left, b.right, b.top]; });
    svg.remove();
    const top = Math.min(...found.map(b => b[2])) + 12;
    return [['blocks', found.filter(b => b[2] < top)], ['layers', found.filter(b => b[2] >= top)]]
        .map(([name, boxes]) => [name, boxes.map(b => b.slice(0, 2))]);
}))"""


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two networks of thirteen layers with classes, curves and feature maps along an orbit."""
    results = [sample_result(), sample_result("rotated", level=0.6, seed=1)]
    return write_report(results, tmp_path_factory.mktemp("used") / "report.html")


@pytest.fixture(scope="module")
def deep(tmp_path_factory):
    """Two hundred layers without classes."""
    return write_report(deep_result(classes=0), tmp_path_factory.mktemp("deep") / "report.html")


def plot_of(tab, picture=PROFILE):
    tab.run(
        f"document.querySelector('{picture} .chart').scrollIntoView({{block: 'center', behavior: 'instant'}})"
    )
    tab.wait(0.05)
    return tab.run(PLOT % picture)


def at_layer(plot, number):
    """The position of a layer's column on the screen."""
    share = (number - plot["start"]) / (plot["end"] - plot["start"])
    return plot["left"] + share * (plot["right"] - plot["left"])


def test_a_click_on_a_column_picks_its_layer_everywhere(report, open_page):
    tab = open_page(report)
    plot = plot_of(tab)
    tab.page.mouse.click(at_layer(plot, 3), (plot["top"] + plot["bottom"]) / 2)
    layer = list(LAYERS)[3]
    assert tab.page.locator(f"{PANEL} h2").text_content() == layer
    assert tab.run(MARKED) >= 4
    assert tab.page.locator(f"[data-table=rows] tr.picked[data-layer={layer}]").count() == 2
    assert tab.run("location.hash") == f"#layer={layer}"
    tab.page.wait_for_selector(f"{PANEL} svg.units")
    assert tab.page.locator(f"{PANEL} svg.units").first.locator("rect").count() == LAYERS[layer][0]
    assert tab.page.locator(f"{PANEL} svg.histogram").count() >= 1
    tab.press("Escape")
    assert tab.page.locator(PANEL).is_hidden()
    assert (tab.run(MARKED), tab.run("location.hash")) == (0, "")
    assert tab.errors == []


def test_a_layer_with_feature_maps_shows_its_orbit(report, open_page):
    tab = open_page(report)
    row = tab.page.locator("#feature_orbits tr[data-layer]").first
    layer = row.get_attribute("data-layer")
    tab.page.locator("[data-table=rows] tbody td").get_by_text(layer, exact=True).first.click()
    images = tab.page.locator(f"{PANEL} figure img")
    assert images.count() >= 2
    assert images.nth(1).get_attribute("src") == row.locator("img").get_attribute("src")


def test_the_address_opens_the_page_at_a_layer(report, open_page):
    tab = open_page(report, fragment="#layer=" + quote("fc1"))
    assert tab.page.locator(f"{PANEL} h2").text_content() == "fc1"
    tab.run("location.hash = '#layer=conv2'")
    tab.until("document.querySelector('aside.layer h2').textContent == 'conv2'")
    tab.run("location.hash = '#layer=nothing'")
    tab.wait()
    assert tab.page.locator(f"{PANEL} h2").text_content() == "conv2"


def test_keys_alone_reach_a_chart_a_layer_and_the_way_back(report, open_page):
    tab = open_page(report)
    tab.run("document.querySelector('#layer_profile .chart').focus()")
    tab.press("ArrowRight", "ArrowRight", "ArrowRight")
    assert tab.page.locator(f"{PROFILE} .readout").text_content().startswith("pool1 · ")
    tab.press("Enter")
    assert tab.page.locator(f"{PANEL} h2").text_content() == "pool1"
    assert tab.run("document.activeElement.className") == "layer"
    tab.press("Escape")
    assert tab.run("document.activeElement.id") == "layer_profile-0"
    before = tab.run(PLOT % PROFILE)
    tab.press("+", "+")
    near = tab.run(PLOT % PROFILE)
    assert near["end"] - near["start"] < 0.5 * (before["end"] - before["start"])
    tab.press("Shift+ArrowRight")
    assert tab.run(PLOT % PROFILE)["start"] > near["start"]
    tab.press("0")
    after = tab.run(PLOT % PROFILE)
    assert (after["start"], after["end"]) == (before["start"], before["end"])


def test_the_view_of_a_zoomed_chart_follows_the_keys(report, open_page):
    tab = open_page(report)
    tab.run("document.querySelector('#layer_profile .chart').focus()")
    tab.press("+", "+", "+")
    before = tab.run(PLOT % PROFILE)
    for key in ("Home", "End"):
        tab.press(key)
        after = tab.run(PLOT % PROFILE)
        at = 0 if key == "Home" else len(LAYERS) - 1
        assert after["start"] <= at - 0.4 < at + 0.4 <= after["end"]
        assert after["end"] - after["start"] == pytest.approx(before["end"] - before["start"])
    tab.press(*["ArrowLeft"] * 6)
    after = tab.run(PLOT % PROFILE)
    assert after["start"] <= len(LAYERS) - 7 <= after["end"]


def test_the_panel_counts_each_call_of_a_shared_module_as_a_layer(tmp_path, open_page):
    calls = [("conv", 0), ("relu", 0), ("relu", 1), ("fc", 0)]
    rows = [row(layer, 0.5, call=call) for layer, call in calls]
    rows.append(row("output", 0.5, measure="prediction.accuracy"))
    path = write_report(result(rows), tmp_path / "report.html")
    for label, said in (
        ("relu, call 1", "Layer 3 of 4"),
        ("fc", "Layer 4 of 4"),
        ("output", "Output of the network"),
    ):
        tab = open_page(path, fragment=f"#layer={quote(label)}")
        assert tab.page.locator(f"{PANEL} .caption").first.text_content() == said


def test_every_button_and_chart_is_a_stop_of_the_tab_key(report, open_page):
    tab = open_page(report)
    missing = tab.run("""[...document.querySelectorAll('.picture:not([hidden]) :is(button, .chart)')]
        .filter(e => e.offsetParent && e.tabIndex < 0).length""")
    assert missing == 0
    assert tab.run("document.querySelectorAll('[data-table=rows] tbody tr[tabindex=\"0\"]').length") == 1


def test_rows_are_walked_with_the_arrow_keys_and_picked_with_enter(report, open_page):
    tab = open_page(report)
    tab.run("document.querySelector('[data-table=rows] tbody tr').focus()")
    tab.press("ArrowDown", "ArrowDown", "ArrowUp", "Enter")
    assert tab.page.locator(f"{PANEL} h2").text_content() == list(LAYERS)[1]


def test_dragging_zooms_the_wheel_zooms_shift_pans_and_reset_shows_everything(report, open_page):
    tab = open_page(report)
    plot = plot_of(tab)
    middle = (plot["top"] + plot["bottom"]) / 2
    mouse = tab.page.mouse
    mouse.move(at_layer(plot, 2), middle)
    mouse.down()
    mouse.move(at_layer(plot, 5), middle + 20, steps=4)
    mouse.up()
    zoomed = tab.run(PLOT % PROFILE)
    assert zoomed["start"] == pytest.approx(2, abs=0.1)
    assert zoomed["end"] == pytest.approx(5, abs=0.1)
    assert tab.page.locator(PANEL).is_hidden()
    tab.page.keyboard.down("Control")
    mouse.wheel(0, -200)
    tab.page.keyboard.up("Control")
    tab.wait(0.1)
    wheeled = tab.run(PLOT % PROFILE)
    assert wheeled["end"] - wheeled["start"] < zoomed["end"] - zoomed["start"]
    tab.page.keyboard.down("Shift")
    mouse.move(plot["left"] + 100, middle)
    mouse.down()
    mouse.move(plot["left"] + 200, middle, steps=4)
    mouse.up()
    tab.page.keyboard.up("Shift")
    panned = tab.run(PLOT % PROFILE)
    assert panned["start"] < wheeled["start"]
    assert panned["end"] - panned["start"] == pytest.approx(wheeled["end"] - wheeled["start"])
    tab.page.locator(f"{PROFILE} .tools").get_by_label("Reset the zoom").click()
    whole = tab.run(PLOT % PROFILE)
    assert (whole["start"], whole["end"]) == (plot["start"], plot["end"])


def test_a_wheel_without_the_key_scrolls_the_page(report, open_page):
    tab = open_page(report)
    plot = plot_of(tab)
    before = tab.run("scrollY")
    tab.page.mouse.move((plot["left"] + plot["right"]) / 2, (plot["top"] + plot["bottom"]) / 2)
    tab.page.mouse.wheel(0, 120)
    tab.wait(0.3)
    assert tab.run("scrollY") > before
    assert tab.run(PLOT % PROFILE)["start"] == plot["start"]


def test_figures_are_saved_as_png_svg_and_csv(report, open_page):
    tab = open_page(report)
    tools = tab.page.locator(f"{PROFILE} .tools")
    name, png = tab.saved(tools.get_by_text("PNG", exact=True))
    assert name == "layer-by-layer-normalized-variance-mean-over-units.png"
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    assert int.from_bytes(png[16:20], "big") > 1200
    name, svg = tab.saved(tools.get_by_text("SVG", exact=True))
    assert name.endswith(".svg")
    text = svg.decode()
    assert "Layer by layer" in text
    assert text.count(">conv1</text>") == 1
    assert "rotated" in text
    name, table = tab.saved(tools.get_by_text("CSV", exact=True))
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [row["layer"] for row in rows] == [*LAYERS, *LAYERS]
    expected = sample_result().table.query("measure == 'normalized_variance' and stratum == 'all'")
    assert [float(row["value"]) for row in rows[:13]] == pytest.approx(list(expected["value"]), rel=1e-6)
    assert tab.errors == []
    assert {url.split(":")[0] for url in tab.requests} <= {"file", "blob", "data"}


@pytest.mark.parametrize(
    "section",
    ["unit_heatmap", "class_heatmap", "predictions", "model_graph", "feature_orbits", "orbit_strip"],
)
def test_every_kind_of_figure_can_be_saved(report, open_page, section):
    tab = open_page(report)
    tools = tab.page.locator(f"#{section} .picture:not([hidden]) .tools")
    assert tab.saved(tools.get_by_text("PNG", exact=True))[1][:4] == b"\x89PNG"
    svg = tab.saved(tools.get_by_text("SVG", exact=True))[1].decode()
    assert svg.startswith("<svg")
    if section not in ("feature_orbits", "orbit_strip"):
        lines = tab.saved(tools.get_by_text("CSV", exact=True))[1].decode().splitlines()
        assert len(lines) > 10
    assert tab.errors == []


def test_the_rows_of_the_table_are_saved_as_they_are_filtered(report, open_page):
    tab = open_page(report)
    box = tab.page.locator("[data-table=rows]")
    box.locator("input").fill("fc1")
    _, table = tab.saved(box.get_by_text("Save as CSV"))
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert {row["label"] for row in rows} == {"fc1"}
    assert len(rows) == 2


@pytest.mark.parametrize("width", [390, 1280])
def test_charts_of_two_hundred_layers_fit_and_their_names_do_not_touch(deep, open_page, width):
    tab = open_page(deep, width=width)
    for click in (False, True):
        if click:
            tab.page.locator(f"{PROFILE} .tools").get_by_text("All 200 layers").click()
            tab.until("document.querySelector('#layer_profile-0-all').children.length > 1")
        tab.wait(0.3)
        assert tab.run("document.documentElement.scrollWidth") <= width
        assert all(0 <= size <= width for size in tab.run(PIXELS))
        assert tab.run(FITS)
        for name, boxes in tab.run(NAMES).items():
            assert len(boxes) > 3, name
            # Slanted names need 17 pixels, whatever their length.
            assert all(b[1] - a[1] >= min(17, b[1] - b[0]) for a, b in pairwise(sorted(boxes))), name


def test_the_switch_shows_all_layers_and_the_blocks_again(deep, open_page):
    tab = open_page(deep)
    tools = tab.page.locator(f"{PROFILE} .tools")
    tools.get_by_text("All 200 layers").click()
    tab.until("document.querySelector('#layer_profile-0-all').children.length > 1")
    assert tab.run(PLOT % PROFILE)["end"] == pytest.approx(199.6)
    _, table = tab.saved(tools.get_by_text("CSV", exact=True))
    rows = list(csv.DictReader(io.StringIO(table.decode())))
    assert [row["layer"] for row in rows] == deep_layers(200)
    tools.get_by_text("blocks").click()
    assert tab.page.locator("#layer_profile-0-all").is_hidden()
    assert tab.run(PLOT % PROFILE)["end"] < 40


def test_a_layer_that_the_blocks_leave_out_can_be_picked_from_the_table(deep, open_page):
    tab = open_page(deep)
    hidden = deep_layers(200)[1]
    tab.page.locator("[data-table=rows] tbody td").get_by_text(hidden, exact=True).click()
    assert tab.page.locator(f"{PANEL} h2").text_content() == hidden
    tab.page.get_by_label("Next layer").click()
    assert tab.page.locator(f"{PANEL} h2").text_content() == deep_layers(200)[2]


def test_a_phone_shows_the_panel_below_and_nothing_scrolls_sideways(report, open_page):
    tab = open_page(report, width=390, height=800, scheme="dark")
    tab.page.locator("[data-table=rows] tbody tr").nth(2).tap()
    box = tab.page.locator(PANEL).bounding_box()
    assert box["width"] == 390
    assert box["y"] > 250
    assert tab.run("document.documentElement.scrollWidth") <= 390


def test_print_leaves_out_the_tools_and_the_panel(report, open_page):
    tab = open_page(report, fragment="#layer=fc1")
    tab.page.emulate_media(media="print")
    assert tab.page.locator(PANEL).is_hidden()
    assert tab.page.locator(".tools:visible").count() == 0
    assert tab.page.locator("#layer_profile canvas:visible").count() >= 1


def test_every_picture_in_the_panel_has_a_name(report, open_page):
    tab = open_page(report, fragment="#layer=conv1")
    tab.page.wait_for_selector(f"{PANEL} svg.histogram")
    nameless = tab.run("""[...document.querySelectorAll('aside.layer svg[role=img]')]
        .filter(e => !e.getAttribute('aria-label')).length""")
    assert nameless == 0
    labels = tab.run(
        "[...document.querySelectorAll('.chart')].filter(c => c.tabIndex == 0).map(c => c.ariaLabel)"
    )
    assert json.dumps(labels).count("Arrow keys go through the layers") >= 4
