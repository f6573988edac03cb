"""What a campaign runs next, with made-up costs."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from invariscope.lab.agenda import Job, order, read_steps
from invariscope.lab.campaign import STEPS
from invariscope.lab.recipes import RecipeError, names


def job(key: str, worth: float, *needs: str, network: bool = False) -> Job:
    cell: Any = SimpleNamespace(options=SimpleNamespace(gives="network" if network else "result"))
    home: Any = SimpleNamespace(cell=cell)
    return Job(key, 0, (home,), worth, needs)


def keys(jobs: list[Job], seconds: dict[str, float], **options: Any) -> list[str]:
    table = {job.key: job for job in jobs}
    return [turn.key for turn in order(table, options.pop("unfinished", table), seconds, **options)]


def test_the_greatest_worth_per_cost_comes_first():
    jobs = [job("a", 1), job("b", 1), job("c", 9)]
    assert keys(jobs, {"a": 100, "b": 50, "c": 600}) == ["b", "c", "a"]


def test_equal_cells_keep_the_order_of_the_recipe():
    assert keys([job(key, 1) for key in "cab"], dict.fromkeys("abc", 60)) == ["c", "a", "b"]


def test_the_rate_is_worth_per_hour():
    table = {"a": job("a", 3)}
    assert [turn.rate for turn in order(table, table, {"a": 1800.0})] == [6.0]


def test_a_training_counts_for_what_it_alone_holds_up_and_is_followed_by_it():
    # net: (0 + 2 + 2) / 100 s beats other: 3 / 100 s; without what is measured of it, it would be worth 0.
    jobs = [job("net", 0, network=True), job("m1", 2, "net"), job("m2", 2, "net"), job("other", 3)]
    seconds = {"net": 100, "m1": 400, "m2": 300, "other": 100}
    assert keys(jobs, seconds) == ["net", "m2", "m1", "other"]


def test_what_two_trainings_hold_up_counts_for_neither_alone():
    jobs = [job("a", 0, network=True), job("b", 0, network=True), job("both", 4, "a", "b"), job("c", 1)]
    seconds = {"a": 100, "b": 100, "both": 100, "c": 200}
    # both: 4 / 300 s is the best; its needs are run first, and then it comes before c: 1 / 200 s.
    assert keys(jobs, seconds) == ["a", "b", "both", "c"]
    assert keys([*jobs[:2], job("both", 1, "a", "b"), jobs[3]], seconds) == ["c", "a", "b", "both"]


def test_a_chain_is_run_from_its_start():
    jobs = [job("a", 0, network=True), job("b", 0, "a", network=True), job("m", 5, "b"), job("x", 1)]
    assert keys(jobs, dict.fromkeys("abmx", 100)) == ["a", "b", "m", "x"]


def test_measurements_of_a_network_that_could_be_lost_come_before_all():
    jobs = [job("net", 0, network=True), job("m", 1, "net"), job("x", 9)]
    seconds = dict.fromkeys(("net", "m", "x"), 100)
    assert keys(jobs, seconds, unfinished={"m", "x"}) == ["x", "m"]
    assert keys(jobs, seconds, unfinished={"m", "x"}, at_risk={"net"}) == ["m", "x"]


def test_what_does_not_fit_into_the_time_is_left_out_with_what_it_needs():
    jobs = [job("net", 0, network=True), job("m", 9, "net"), job("x", 1), job("y", 1)]
    seconds = {"net": 500, "m": 600, "x": 300, "y": 400}
    assert keys(jobs, seconds, limit_s=800) == ["net", "x"]
    assert keys(jobs, seconds, limit_s=400) == ["x"]
    assert keys(jobs, seconds, limit_s=0) == []
    assert keys(jobs, {**seconds, "x": math.inf}, limit_s=1e9)[-1] == "y"


def test_the_campaign_names_recipes_that_exist():
    assert {step.recipe for step in read_steps(STEPS)} <= set(names())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a campaign must consist of \[\[steps\]\]"),
        ('[[steps]]\nrecipe = "tomasini2022"\n', "worth"),
        ('[[steps]]\nrecipe = "tomasini2022"\nworth = -1\n', "line 3: worth must be at least 0, got -1"),
        ('[[steps]]\nrecipe = "tomasini2022"\nworth = 1\nwroth = 2\n', "line 4: .*wroth"),
    ],
)
def test_mistakes_in_the_file_are_named_with_their_line(tmp_path: Path, text, message):
    (tmp_path / "steps.toml").write_text(text)
    with pytest.raises(RecipeError, match=message):
        read_steps(tmp_path / "steps.toml")
