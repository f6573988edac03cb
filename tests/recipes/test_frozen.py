"""Frozen recipes: hashes, dates, and what was changed or seen before."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from invariscope.lab import recipes
from invariscope.lab.recipes.freezing import freeze
from invariscope.lab.recipes.frozen import (
    Freeze,
    FreezeHistory,
    claim_hashes,
    history,
    read_frozen,
    recipe_hash,
)

FIRST, SECOND = (datetime(2026, 12, day, 9, 30, tzinfo=UTC) for day in (1, 3))
HOUR = timedelta(hours=1)


@pytest.mark.parametrize("name", recipes.names())
def test_the_freezes_agree_with_the_recipes_of_the_package(name):
    found = history(name, recipes.read(name))
    if not found.freezes:
        assert found.words.startswith("not frozen")
    else:
        assert found.freezes[-1].recipe == found.recipe, (
            f"{name} differs from its last freeze: undo that, or record it with "
            f"`python -m invariscope.lab.recipes.freezing {name}`"
        )


def test_the_file_of_freezes_names_only_recipes_of_the_package():
    assert set(read_frozen()) <= set(recipes.names())


def test_prose_does_not_change_a_hash_and_all_else_does(recipe):
    before = recipes.read(str(recipe()))
    prose = recipes.read(str(recipe(("Small enough", "Tiny enough"), ("a little less", "less"))))
    assert recipe_hash(prose) == recipe_hash(before)
    for change in (
        ("epochs = 3", "epochs = 4"),
        ("[0, 1, 2]", "[0, 1, 3]"),
        ("least = 0.001", "least = 0.01"),
    ):
        assert recipe_hash(recipes.read(str(recipe(change)))) != recipe_hash(before)


def test_a_claim_changes_with_its_margin_its_reason_and_its_lists(recipe):
    def changed(*changes: tuple[str, str]) -> set[str]:
        after = claim_hashes(recipes.read(str(recipe(*changes))))
        return {text for text, digest in before.items() if after[text] != digest}

    before = claim_hashes(recipes.read(str(recipe())))
    assert changed(("not 0 ± 0.0001", "not 0 ± 0.0002")) == {"The two networks differ."}
    assert changed(("seeds = [0, 1, 2]", "seeds = [0, 1, 2, 3]")) == {"It varies.", "It does not vary."}
    assert changed(("epochs = 3", "epochs = 4")) == set()
    assert changed(('untested = "nobody', 'about = "x"\nuntested = "nobody')) == set()


def test_a_claim_that_changed_is_marked_with_the_date():
    one, other = (
        Freeze(date, digest, {"a": "1", "b": digest}) for date, digest in ((FIRST, "x"), (SECOND, "y"))
    )
    found = FreezeHistory("y", {"a": "1", "b": "y"}, (one, other))
    assert (found.changed("a"), found.changed("b")) == ("", "changed 2026-12-03")
    assert (found.since("a"), found.since("b")) == (FIRST, SECOND)
    assert found.words == (
        "frozen 2026-12-01 09:30 UTC, hash x; changed, and frozen again 2026-12-03 09:30 UTC, hash y"
    )
    later = replace(found, recipe="z", claims={"a": "2", "b": "y", "c": "3"})
    assert later.changed("a") == "changed since the last freeze"
    assert later.changed("c") == "added since the last freeze"
    assert later.words.endswith("; changed since, not frozen (hash z)")
    new = FreezeHistory("y", {"d": "4"}, (one, replace(other, claims={"d": "4"})))
    assert new.changed("d") == "added 2026-12-03"
    # Changed and changed back: frozen as it is only since the last freeze.
    back = FreezeHistory("x", {"b": "x"}, (one, other, replace(one, date=SECOND + HOUR)))
    assert back.since("b") == SECOND + HOUR


def test_results_that_were_finished_before_the_claim_was_frozen_are_marked():
    one = Freeze(FIRST, "x", {"a": "1"})
    found = FreezeHistory("x", {"a": "1", "new": "2"}, (one,))
    assert found.seen_before("a", FIRST - HOUR)
    assert not found.seen_before("a", FIRST + HOUR)
    assert not found.seen_before("a", None)
    # Not frozen in its present form: whatever is finished was there before.
    assert found.seen_before("new", FIRST + HOUR)
    assert not replace(found, freezes=()).seen_before("a", FIRST - HOUR)


def test_freezing_adds_an_entry_only_where_something_changed(tmp_path, recipe, monkeypatch):
    path = tmp_path / "frozen.json"
    path.write_text("{}\n")
    monkeypatch.setattr("invariscope.lab.recipes.recipe.FOLDER", recipe().parent)
    assert list(freeze(["tiny"], path=path, now=FIRST)) == ["tiny"]
    assert freeze(["tiny"], path=path, now=SECOND) == {}
    recipe(('holds = "> 0"', 'holds = "< 0"'))
    assert list(freeze(["tiny"], path=path, now=SECOND)) == ["tiny"]
    entries = json.loads(path.read_text())["tiny"]
    assert [entry["date"] for entry in entries] == ["2026-12-01T09:30:00+00:00", "2026-12-03T09:30:00+00:00"]
    found = history("tiny", recipes.read("tiny"), path)
    assert found.changed("It varies.") == "changed 2026-12-03"
    assert found.changed("It does not vary.") == ""
    with pytest.raises(ValueError, match=r"unknown recipe 'tinny'\. Closest: 'tiny'"):
        freeze(["tinny"], path=path)
