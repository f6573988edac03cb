"""The page that helps to choose a measure covers all of them, with one recommendation per question."""

from __future__ import annotations

import re

from marked_pages import ROOT

from invariscope.measures.base import MEASURES

PAGE = (ROOT / "docs" / "which_measure.md").read_text()
QUESTIONS = re.findall(r"^## (\d+)\. [^\n]*\?\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S)


def test_every_measure_answers_a_question():
    answers = "".join(text for _, text in QUESTIONS)
    assert set(re.findall(r"\]\(measures/(\w+)\.md\)", answers)) == set(MEASURES.names())


def test_every_question_has_one_recommended_measure():
    for number, text in QUESTIONS:
        assert len(re.findall(r"^- \*\*\[`", text, re.M)) == 1, number


def test_the_tree_leads_to_every_question():
    tree = re.search(r"```text\n(.*?)```", PAGE, re.S)
    assert tree is not None
    leaves = re.findall(r"(\d+)$", tree[1], re.M)
    assert leaves == [number for number, _ in QUESTIONS] != []
