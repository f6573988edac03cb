"""The findings of all pages at a glance."""

from __future__ import annotations

from verdict_pages import case, page, verdict

from invariscope.lab.overview import accuracies, findings, verdict_table

FOR, AGAINST, OPEN, MISSING = case("confirmed"), case("refuted"), case("undecided"), case("", value=None)


def test_a_claim_with_values_is_a_row_and_the_others_are_counted():
    waiting = verdict(MISSING, text="Not yet.")
    shown = findings({"one": page([verdict(FOR, AGAINST, OPEN, MISSING), waiting])})
    heading, _, table, note = shown.split("\n\n")[0], *shown.split("\n\n")
    assert heading == "### [A page](one.md)"
    names, _, row = table.splitlines()
    assert names == "| claim | verdict | for | against | undecided | not tested | accuracies |"
    assert row == "| It holds. | *mixed* | 1 | 1 | 1 | 1 | 0.950 |"
    assert note == "1 more claim has no value yet."


def test_a_page_without_values_says_so():
    shown = findings({"one": page([verdict(MISSING), verdict(MISSING)])})
    assert shown == "### [A page](one.md)\n\n2 claims have no value yet."


def test_accuracies_are_those_of_the_networks_behind_the_values():
    low, high = case("confirmed", accuracy=0.91), case("confirmed", accuracy=0.99)
    assert accuracies(verdict(low, high, MISSING)) == "0.910 to 0.990"
    assert accuracies(verdict(MISSING)) == "–"


def test_a_case_whose_network_has_not_learned_is_not_tested_and_shows_its_accuracy():
    shown = findings({"one": page([verdict(case("not tested", accuracy=0.4))])})
    assert "| It holds. | *not tested* | 0 | 0 | 0 | 1 | 0.400 |" in shown


def test_the_verdicts_are_counted_by_page():
    heading, _, row = verdict_table({"one": page([verdict(FOR, FOR), verdict(MISSING)])}).splitlines()
    assert heading.startswith("| page | finished cells | claims | confirmed |")
    assert row == "| [one](one.md) | 1 of 2 | 2 | 1 | 0 | 0 | 0 | 1 |"
