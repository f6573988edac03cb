"""Every quantity of a sentence links to its definition, with the formula of the measure's docstring."""

import re

import pytest
from plot_rows import curve, result, row
from test_report_page import Page

from invariscope.measures.base import MEASURES
from invariscope.report import definitions, findings
from invariscope.report.comparison import compare_all
from invariscope.report.page import render

MEASURED = {
    "normalized_variance": {
        "summary": "How much the transformation changes a unit.",
        "reading": "0: invariant.",
    },
    "prediction": {"summary": "How predictions change.", "source": "Quiroga et al. 2019."},
}


def classifier():
    rows = [
        row("a", 0.5, null=0.5, ci_low=0.4, ci_high=0.6),
        row("b", 0.25, null=1.0, ci_low=0.2, ci_high=0.3),
        row("output", 0.5, measure="prediction.flips", ci_low=0.4, ci_high=0.6),
    ]
    curves = [curve(k, share, measure="prediction.flips") for k, share in enumerate((0.0, 0.5))]
    curves += [curve(k, share) for k, share in enumerate((0.9, 0.5))]
    return result(rows, curves=curves, measures=MEASURED, data={"shape": [1, 8, 8]})


@pytest.fixture(scope="module")
def page():
    return Page(render([classifier()]))


def test_each_quantity_of_the_headline_links_to_a_definition_on_the_page(page):
    links = [a["href"] for a in page.all("a") if a.get("class") == "define"]
    assert links[:3] == ["#define-prediction", "#define-interval", "#define-prediction"]
    ids = {a["id"] for _, a in page.elements if "id" in a}
    assert {link[1:] for link in links} <= ids
    assert {"#define-normalized-variance", "#define-null"} <= set(links)


def test_the_parts_of_a_sentence_join_to_the_sentence():
    shown = classifier()
    targets = definitions.phrases([shown])
    for text in findings.sentences([shown], compare_all([shown]).rows):
        parts = definitions.linked(text, targets)
        assert "".join(part for part, _ in parts) == text
        assert len({part for part, target in parts if target}) == sum(bool(target) for _, target in parts)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("accuracy5 ", [("accuracy5 ", "")]),
        ("Accuracy", [("Accuracy", "x")]),
        ("accuracy, accuracy", [("accuracy", "x"), (", accuracy", "")]),
        ("", []),
    ],
)
def test_only_the_first_occurrence_of_a_phrase_as_whole_words_is_a_link(text, parts):
    assert definitions.linked(text, {"accuracy": "x"}) == parts


def test_the_formula_of_the_docstring_is_drawn_and_its_source_is_the_alternative_text(page):
    images = [a for a in page.all("img") if "frac" in a["alt"]]
    assert images[0]["alt"].startswith("NV_u = \\frac{TV_u}{SV_u}")
    assert all(a["src"].startswith("data:image/png;base64,") for a in images)


def test_a_formula_that_cannot_be_drawn_is_shown_as_it_is_written():
    assert definitions.formula(r"\underbrace{x}_{y}").image is None
    assert definitions.formula("x = y").image is not None


def test_most_formulas_of_the_measures_can_be_drawn():
    latex = [f for name in MEASURES.classes() for f in definitions._formulas(definitions._docstring(name))]
    failed = [text for text in latex if definitions.formula(text).image is None]
    assert len(latex) > 40
    assert len(failed) <= 0.15 * len(latex), failed


def test_a_form_has_the_definition_of_its_measure_and_an_unknown_measure_only_its_summary():
    about = {"stability.petrini2021": {"summary": "One."}, "mine": {"summary": "Two."}}
    form, own = definitions.definitions([result([row("a", 0.5)], measures=about)])
    assert form.anchor == "define-stability-petrini2021"
    assert form.formulas
    assert (own.anchor, own.summary, own.formulas, own.further) == ("define-mine", "Two.", (), ())


def test_conventions_of_one_measure_have_its_formula_and_speak_of_multiples_of_a_change_of_sample():
    named = [f"normalized_variance{suffix}" for suffix in (".quiroga2019", ".pool=after")]
    about = dict.fromkeys(named, MEASURED["normalized_variance"])
    rows = [row(layer, value, measure=name) for name in named for layer, value in (("a", 0.5), ("b", 0.25))]
    shown = result(rows, measures=about, data={"shape": [1, 8, 8]})
    (plain,) = definitions.definitions(
        [result([row("a", 0.5)], measures={"normalized_variance": about[named[0]]})]
    )
    found = definitions.definitions([shown])
    assert [entry.title for entry in found] == [
        "Normalized variance (Quiroga 2019)",
        "Normalized variance: pool=after",
    ]
    assert all(entry.formulas == plain.formulas != () for entry in found)
    assert definitions.phrases([shown])["times as much"] == found[0].anchor
    first, *_ = findings.sentences([shown], None)
    assert "0.25 times (in b) and 0.5 times (in a) as much as replacing the image does" in first


def test_names_that_give_the_same_anchor_get_different_ones():
    about = {name: {"summary": "One."} for name in ("a b", "a-b")}
    found = definitions.definitions([result([row("a", 0.5)], measures=about)])
    assert [entry.anchor for entry in found] == ["define-a-b", "define-a-b-2"]


def test_paragraphs_leave_out_what_concerns_callers_and_markup():
    text = "One.\n\n.. math:: a\n\nSee :class:`Other`.\n\nCaveats: *none*.\n\nRaises:\n    Never.\n\n>>> 1"
    assert list(definitions._paragraphs(text)) == [("", "See Other."), ("Caveats", "none.")]


def test_definitions_need_no_script(page):
    section = next(a for a in page.all("section") if a.get("id") == "reading")
    assert section["aria-labelledby"] == "title-reading"
    assert not any("onclick" in a for _, a in page.elements)
    assert re.fullmatch("define-[a-z-]+", page.all("a")[1]["href"][1:])
