import base64
import hashlib
import json
import os
import re
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from sample_results import CLASSES, sample_result
from unpacking import unpacked

from invariscope.plots.shared.theme import DARK, LIGHT
from invariscope.report import assets, write_report
from invariscope.results.result import Result

IMAGE = "<img src=x onerror=alert(1)>"
SCRIPT = "</script><script>alert(1)</script>"
SMALL = {"conv1": (4, 6, 6), "fc": (8,), "out": (10,)}


class Page(HTMLParser):
    """The elements of a page with their attributes, and the text that each begins with."""

    def __init__(self, text):
        super().__init__()
        self.elements, self.texts, self.inside = [], [], False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self.texts.append((tag, ""))
        self.inside = True

    def handle_endtag(self, tag):
        self.inside = False

    def handle_data(self, data):
        if self.inside:
            tag, text = self.texts[-1]
            self.texts[-1] = (tag, text + data)

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]

    def text(self, tag):
        return [text for name, text in self.texts if name == tag]

    @property
    def payload(self):
        scripts = zip(self.all("script"), self.text("script"), strict=True)
        return unpacked(
            json.loads(next(text for attributes, text in scripts if attributes.get("id") == "payload"))
        )


def written(results, tmp_path, **options):
    return write_report(results, tmp_path / "report.html", **options).read_text(encoding="utf-8")


def plain(**options):
    return sample_result(**{"layers": SMALL, "classes": False, "curves": False, "examples": False, **options})


@pytest.fixture(scope="module")
def demo_text(tmp_path_factory):
    """Two networks of 13 layers on 10 classes, as the demonstration measures them."""
    both = [sample_result("plain"), sample_result("rotated", level=0.7, seed=1)]
    return written(both, tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def demo(demo_text):
    return Page(demo_text)


@pytest.fixture(scope="module")
def single(tmp_path_factory):
    """The path of a page on one small result, below folders that were not there."""
    path = tmp_path_factory.mktemp("single") / "new" / "folder" / "report.html"
    assert write_report(plain(), str(path), title="My networks") == path
    return path


@pytest.fixture(scope="module")
def single_page(single):
    return Page(single.read_text(encoding="utf-8"))


def test_the_page_of_the_demonstration_is_smaller_than_four_megabytes(demo_text):
    assert len(demo_text.encode()) < 4e6


def test_nothing_on_the_page_is_loaded_from_elsewhere(demo, demo_text):
    addresses = [a[name] for _, a in demo.elements for name in ("src", "href", "srcset", "data") if name in a]
    assert addresses
    assert all(address.startswith(("data:image/png;base64,", "#")) for address in addresses)
    assert not {"link", "base", "iframe", "object", "embed", "form"} & {tag for tag, _ in demo.elements}
    assert not re.search(r"@import|url\(", demo.text("style")[0])
    script = assets.script().replace('"http://www.w3.org/2000/svg"', "")  # a name, not an address
    assert not re.search(r"\bfetch\(|XMLHttpRequest|https?://", script)
    assert demo_text.count("<script") == 3


def test_only_the_pages_own_scripts_may_run(demo):
    policy = next(a["content"] for a in demo.all("meta") if a.get("http-equiv") == "Content-Security-Policy")
    scripts = [
        text
        for attributes, text in zip(demo.all("script"), demo.text("script"), strict=True)
        if "type" not in attributes
    ]
    digests = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    assert f"script-src 'sha256-{digests[0]}' 'sha256-{digests[1]}';" in policy
    assert "default-src 'none'" in policy
    assert "unsafe-eval" not in policy


def test_every_layer_and_value_is_on_the_page(demo):
    table = demo.payload["tables"]["rows"]
    keys = [column["key"] for column in table["columns"]]
    found = {
        (
            row[keys.index("model")],
            row[keys.index("measure")],
            row[keys.index("label")],
            row[keys.index("stratum")],
        ): row[keys.index("value")]
        for row in table["rows"]
    }
    result = sample_result("plain")
    for row in result.rows:
        value = found["plain", row["measure"], row["layer"], row["stratum"]]
        assert value == pytest.approx(row["value"], rel=1e-5)
    assert len(found) == 2 * len(result.rows)


def test_the_sections_stand_in_the_order_a_reader_wants(demo):
    sections = [attributes["id"] for attributes in demo.all("section")]
    assert sections == [
        *("predictions", "findings", "facts", "layer_profile", "differences", "rows"),
        *(
            "model_graph",
            "unit_heatmap",
            "unit_distribution",
            "class_heatmap",
            "orbit_strip",
            "feature_orbits",
        ),
        *("reading", "provenance", "cite"),
    ]
    links = {a["href"] for a in demo.all("a")}
    assert links <= {f"#{a['id']}" for _, a in demo.elements if "id" in a}
    assert {"#main", "#layer_profile", "#provenance"} <= links


def test_the_first_screen_has_the_sentence_and_its_chart_before_any_fact(demo):
    places = [a.get("id") or a.get("class") for _, a in demo.elements]
    order = ["skip", "main", "lead", "predictions", "element_curve-2", "findings", "facts"]
    assert [place for place in dict.fromkeys(places) if place in order] == order
    assert demo.text("option")[:2] == ["Images that change class (flips)", "Accuracy"]


def test_the_text_below_the_first_chart_is_about_that_chart(demo_text):
    section = demo_text.partition('<section id="predictions"')[2].partition("</section>")[0]
    first, second = section.split('<div class="picture"')[1:3]
    assert "0 means that none changes" in first
    assert "accuracy" not in first.lower()
    assert "A flat curve: the transformation does not change the accuracy." in second
    assert "accuracy" not in section.rpartition('<p class="reading">')[2]


def test_sections_and_charts_have_names_for_those_who_cannot_see_them(demo):
    ids = {a["id"] for _, a in demo.elements if "id" in a}
    for section in demo.all("section"):
        assert section.get("aria-label") or section["aria-labelledby"] in ids
    figures = [a for a in demo.all("div") if a.get("class") == "picture"]
    assert all(a["role"] == "figure" for a in figures)
    assert figures[0]["aria-label"].startswith(
        "Element by element: Predictions that change class. Values of 16 points of 2 networks"
    )
    assert all(a["alt"] for a in demo.all("img"))


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_texts_and_links_have_the_contrast_of_level_aa(theme):
    for colour in (theme.text, theme.muted, theme.series[0]):
        for behind in (theme.page, theme.surface):
            low, high = sorted(map(luminance, (colour, behind)))
            assert (high + 0.05) / (low + 0.05) >= 4.5, (colour, behind)


def luminance(colour):
    """Relative luminance as WCAG defines it."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot(linear, [0.2126, 0.7152, 0.0722]))


def test_every_chart_has_its_place_and_every_place_its_chart(demo):
    places = {a["id"] for a in demo.all("div") if a.get("class") == "chart"}
    assert places == set(demo.payload["charts"])
    assert {
        "layer_profile-0",
        "unit_heatmap-1",
        "class_heatmap-0",
        "element_curve-0",
        "difference-0",
    } <= places


def test_the_orbit_is_shown_with_its_labels(demo_text):
    for angle in ("0°", "22.5°", "337.5°"):
        assert f"<span>{angle}</span>" in demo_text


def test_the_page_says_how_to_read_it_and_where_it_came_from(demo_text):
    for text in (
        "How far the transformation moves a unit, relative to a change of sample.",
        "0: invariant. About 1",
        "no axis follows the batch",
        "auxiliary.head",
        "the forward was repeated and gave the same output",
        "m-rotated",
        "torch 2.13.0",
        "@software{invariscope",
        "8,192 (512 samples × 16 elements)",
        "mnist_subset, 512 samples of 1 × 28 × 28 in 10 classes",
    ):
        assert text in demo_text


def test_one_result_has_no_differences(single_page):
    assert "differences" not in [a["id"] for a in single_page.all("section")]
    assert single_page.payload["tables"]["differences"] is None
    (record,) = (a for a in single_page.all("details") if a.get("class") == "card")
    assert "open" in record


def test_what_was_not_measured_has_no_section(single_page):
    sections = [a["id"] for a in single_page.all("section")]
    assert sections == [
        "layer_profile",
        "findings",
        "facts",
        "rows",
        "model_graph",
        "unit_heatmap",
        "unit_distribution",
        "reading",
        "provenance",
        "cite",
    ]


def test_three_results_are_each_compared_with_the_first(tmp_path):
    results = [plain(name="a"), plain(name="b", seed=1), plain(name="c", seed=2)]
    page = Page(written(results, tmp_path))
    table = page.payload["tables"]["differences"]
    place = [column["key"] for column in table["columns"]].index("b")
    assert {row[place] for row in table["rows"]} == {"b", "c"}
    assert {"Normalized variance · b", "Normalized variance · c"} <= set(page.text("option"))


def test_results_of_different_depth_are_shown_together(tmp_path):
    page = Page(
        written([plain(name="a"), plain(name="b", layers={"conv1": (4, 6, 6), "out": (10,)})], tmp_path)
    )
    axis = json.dumps(page.payload["charts"]["layer_profile-0"])
    assert "relative depth" in axis


def test_results_that_cannot_be_paired_say_why(tmp_path):
    other = plain(name="other")
    other.provenance["data"]["fingerprint"] = "elsewhere"
    text = written([plain(), other], tmp_path)
    assert "No paired comparison: plain and other were measured with different data" in text


def test_a_result_without_a_single_value_still_has_a_page(tmp_path):
    rows = tuple({**row, "value": float("nan"), "note": "all dead"} for row in plain().rows)
    empty = Result(rows, arrays={("normalized_variance", "fc", "all", 0): np.full(4, np.nan)})
    text = written(empty, tmp_path)
    assert "No layer has a value" in text
    assert "all dead (6 rows: conv1, fc, out)" in text


def test_names_are_text_everywhere(tmp_path):
    layers = {IMAGE: (4, 6, 6), SCRIPT: (8,)}
    results = [sample_result(name, layers=layers, seed=i) for i, name in enumerate((IMAGE, SCRIPT))]
    for result in results:
        result.provenance["notes"].append(SCRIPT)
        result.provenance["skipped"].append({"layer": IMAGE, "reason": SCRIPT})
        result.provenance["unused"].append(IMAGE)
        result.provenance["data"]["name"] = SCRIPT
        result.provenance["transform"]["labels"][0] = IMAGE
        result.provenance["transform"]["family"] = IMAGE
        result.provenance["versions"]["invariscope"] = SCRIPT
        result.provenance["created"] = IMAGE
        result.provenance["measures"][SCRIPT] = {
            "summary": IMAGE,
            "reading": SCRIPT,
            "options": {IMAGE: SCRIPT},
        }
    text = written([_hostile_strata(result) for result in results], tmp_path, title=f"{IMAGE}{SCRIPT}")
    page = Page(text)
    assert IMAGE not in text
    assert SCRIPT not in text
    assert len(page.all("script")) == 3
    assert all(a["src"].startswith("data:") for a in page.all("img"))
    assert page.text("title") == [f"{IMAGE}{SCRIPT}"]
    rows = json.dumps(page.payload["tables"]["rows"])
    assert IMAGE in rows
    assert SCRIPT in rows


def _hostile_strata(result):
    """The same result with the first class and a curve's label named by an attacker."""
    rows = tuple(
        {**row, "stratum": IMAGE if row["stratum"] == CLASSES[0] else row["stratum"]} for row in result.rows
    )
    curves = tuple({**row, "label": SCRIPT, "parameter": IMAGE} for row in result.curve_rows)
    arrays = {
        (m, layer, IMAGE if s == CLASSES[0] else s, call): array
        for (m, layer, s, call), array in result.arrays.items()
    }
    return replace(result, rows=rows, curve_rows=curves, arrays=arrays)


def test_the_title_can_be_chosen(single_page):
    assert single_page.text("h1") == ["My networks"]


def test_missing_folders_are_made_and_hold_the_page_alone(single):
    assert [entry.name for entry in single.parent.iterdir()] == ["report.html"]


def test_a_failure_leaves_the_older_report_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "report.html"
    path.write_text("older")

    def broken(*_):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", broken)
    with pytest.raises(OSError, match="disk full"):
        write_report(plain(), path)
    assert path.read_text() == "older"
    assert [entry.name for entry in tmp_path.iterdir()] == ["report.html"]


def test_a_folder_is_not_a_place_for_a_page(tmp_path):
    with pytest.raises(IsADirectoryError, match=r"is a folder; give a file, such as .*report\.html"):
        write_report(plain(), tmp_path)


def test_no_results_and_empty_results_are_refused(tmp_path):
    with pytest.raises(ValueError, match="no results: give one"):
        write_report([], tmp_path / "report.html")
    with pytest.raises(ValueError, match="the result of 'model' has no rows"):
        write_report(Result(rows=()), tmp_path / "report.html")
    assert not list(tmp_path.iterdir())
