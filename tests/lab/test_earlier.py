"""The verdicts of an earlier run beside those of today."""

from __future__ import annotations

from collections import Counter

import pytest
from verdict_pages import case, page, verdict

from invariscope.lab import recipes
from invariscope.lab.earlier import (
    CELLS,
    DROPPED,
    FLOOR,
    NEW,
    RESULTS,
    RULE,
    SAME,
    TEST,
    EarlierClaim,
    by_earlier_rule,
    causes_table,
    changes,
    changes_by_page,
    counts_table,
    read_earlier,
)

EARLIER = read_earlier()


def test_the_earlier_run_has_91_claims():
    counts = Counter(claim.verdict for claims in EARLIER.values() for claim in claims)
    assert counts == {"confirmed": 41, "refuted": 22, "undecided": 23, "not tested": 5}


@pytest.mark.parametrize("name", EARLIER)
def test_every_successor_is_a_claim_of_today(name):
    today = {claim.text for claim in recipes.read(name).claims}
    assert {text for claim in EARLIER[name] for text in claim.successors} <= today


@pytest.mark.parametrize("name", EARLIER)
def test_the_earlier_verdicts_follow_from_their_cases(name):
    for claim in EARLIER[name]:
        if not claim.cases:
            assert claim.verdict == "not tested"
            continue
        for_, against, _, _ = claim.cases
        rule = "refuted" if against else "confirmed" if for_ == sum(claim.cases) else "undecided"
        assert claim.verdict == rule, claim.text


def before(word: str, **options) -> EarlierClaim:
    return EarlierClaim(text="It holds.", verdict=word, **{"holds": "< 0", **options})


FOR, AGAINST, OPEN, MISSING = case("confirmed"), case("refuted"), case("undecided"), case("", value=None)
LOW = case("not tested", accuracy=0.5)


@pytest.mark.parametrize(
    ("earlier", "cases", "cause", "why"),
    [
        ([], [FOR], NEW, ""),
        ([], [MISSING], NEW, "No case has a value yet."),
        ([before("confirmed")], [FOR, FOR], SAME, ""),
        ([before("confirmed")], [MISSING, MISSING, FOR], CELLS, "2 of 3 cases have no value yet."),
        ([before("confirmed")], [LOW, LOW, FOR], FLOOR, "In 2 of 3 cases, a network is below its floor."),
        (
            [before("refuted")],
            [FOR, AGAINST],
            RULE,
            "By the earlier rule, today's cases would still give *refuted*.",
        ),
        (
            [before("confirmed")],
            [FOR, OPEN],
            RESULTS,
            "By the earlier rule, today's cases would give *undecided*, too.",
        ),
        (
            [before("confirmed", holds="!= 0")],
            [OPEN],
            TEST,
            "By the earlier rule, today's cases would give *undecided*, too. Bound `≠ 0` became `< 0`.",
        ),
        ([before("confirmed", note="Other networks.")], [FOR], SAME, "Other networks."),
        ([before("confirmed", now=["It holds.", "And so on."])], [FOR], SAME, "One claim became two."),
        ([before("confirmed"), before("confirmed")], [FOR], SAME, "Two claims became one."),
    ],
)
def test_the_reason_for_a_verdict_follows_from_the_cases(earlier, cases, cause, why):
    change = changes(page([verdict(*cases)]), earlier)[0]
    assert change.cause == cause
    assert change.why == why


def test_one_case_against_refuted_by_the_earlier_rule():
    assert by_earlier_rule(verdict(FOR, FOR, AGAINST)) == "refuted"
    assert by_earlier_rule(verdict(FOR, FOR)) == "confirmed"
    assert by_earlier_rule(verdict(FOR, OPEN)) == "undecided"
    assert by_earlier_rule(verdict(MISSING)) == "not tested"


def test_the_tables_count_and_list_every_claim():
    earlier = {"one": [before("refuted", cases=[2, 1, 0, 0]), before("confirmed", now=[], note="Gone.")]}
    pages = {"one": page([verdict(FOR, FOR)]), "two": page([verdict(MISSING), verdict(FOR)])}
    header, _, one, two, total = counts_table(pages, earlier).splitlines()
    assert header == "| page | claims | confirmed | refuted | mixed | undecided | not tested |"
    assert one == "| [one](one.md) | 2 → 1 | 1 → 1 | 1 → 0 | 0 → 0 | 0 → 0 | 0 → 0 |"
    assert two == "| [two](two.md) | 0 → 2 | 0 → 1 | 0 → 0 | 0 → 0 | 0 → 0 | 0 → 1 |"
    assert total == "| all | 2 → 3 | 1 → 2 | 1 → 0 | 0 → 0 | 0 → 0 | 0 → 1 |"
    reasons = [line.split(" | ")[-1] for line in causes_table(pages, earlier).splitlines()[2:]]
    assert reasons == ["1 |", "1 |"]  # other results, and dropped
    listed = changes_by_page(pages, earlier)
    assert "| It holds. | *refuted*: 2 of 3 for, 1 against | *confirmed*: 2 of 2 for |" in listed
    assert f"| It holds. | *confirmed* | {DROPPED} | Gone. |" in listed
    assert listed.count("\n### ") == 1
