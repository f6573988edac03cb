"""Options shortened in all rows are listed once, others beside their rows."""

import pytest

from invariscope.lab.recipes.markdown import factored

BOTH = ["epochs 3 (5)", "samples 64 (all)"]


def test_what_all_rows_share_leaves_the_rows():
    sentence, rest = factored([BOTH, BOTH[::-1]])
    assert sentence == "Shortened in every row (published in brackets): epochs 3 (5); samples 64 (all)."
    assert rest == ["", ""]


def test_what_only_some_rows_have_stays_beside_them():
    assert factored([BOTH, BOTH[:1]]) == (
        "Shortened in every row (published in brackets): epochs 3 (5).",
        ["samples 64 (all)", ""],
    )


@pytest.mark.parametrize("rows", [[], [BOTH], [BOTH, []], [["a 1 (2)"], ["a 1 (3)"]]])
def test_nothing_is_said_of_all_rows_where_they_differ_or_there_are_fewer_than_two(rows):
    assert factored(rows) == ("", ["; ".join(row) for row in rows])
