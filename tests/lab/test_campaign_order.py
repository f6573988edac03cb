"""What a campaign runs next, with made-up costs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from invariscope.lab.agenda import ALONE, Goal, Job, order, planned_goals, planned_jobs, read_steps
from invariscope.lab.campaign import STEPS
from invariscope.lab.recipes import Archive, RecipeError, names


def job(key: str, *needs: str, network: bool = False) -> Job:
    cell: Any = SimpleNamespace(options=SimpleNamespace(gives="network" if network else "result"))
    home: Any = SimpleNamespace(cell=cell)
    return Job(key, 0, (home,), needs)


def keys(
    jobs: list[Job], goals: Mapping[str, float], seconds: Mapping[Any, float], **options: Any
) -> list[str]:
    """Return the order of the jobs; a goal is written as the keys of its cells."""
    table = {job.key: job for job in jobs}
    wanted = [Goal(frozenset(cells.split()), worth) for cells, worth in goals.items()]
    return [turn.key for turn in order(table, wanted, options.pop("unfinished", table), seconds, **options)]


def test_the_greatest_worth_per_cost_comes_first():
    jobs = [job("a"), job("b"), job("c")]
    assert keys(jobs, {"a": 1, "b": 1, "c": 9}, {"a": 100, "b": 50, "c": 600}) == ["b", "c", "a"]


def test_equal_cells_keep_the_order_of_the_recipe():
    assert keys([job(key) for key in "cab"], dict.fromkeys("cab", 1), dict.fromkeys("abc", 60)) == [*"cab"]


def test_the_rate_is_worth_per_hour():
    table = {"a": job("a")}
    assert [turn.rate for turn in order(table, [Goal(frozenset("a"), 3)], table, {"a": 1800.0})] == [6.0]


def test_the_cells_of_a_claim_are_run_together():
    jobs = [job(key) for key in "abcd"]
    goals = dict.fromkeys("abcd", 0.01) | {"b d": 1, "a c": 0.9}
    assert keys(jobs, goals, dict.fromkeys("abcd", 60)) == [*"bdac"]


def test_a_claim_that_another_one_includes_counts_for_both():
    # a b c: (4 + 3) / 300 s beats d: 6 / 300 s, which beats each of the two alone.
    jobs = [job(key) for key in "abcd"]
    seconds = {"a": 100, "b": 100, "c": 100, "d": 300}
    assert keys(jobs, {"d": 6, "a b c": 4, "b c": 3}, seconds) == [*"abcd"]
    assert keys(jobs, {"d": 6, "a b c": 4}, seconds) == [*"dabc"]


def test_finished_cells_cost_nothing():
    jobs = [job(key) for key in "abc"]
    seconds = dict.fromkeys("abc", 60)
    assert keys(jobs, {"b": 1.5, "a c": 2}, seconds) == [*"bac"]
    assert keys(jobs, {"b": 1.5, "a c": 2}, seconds, unfinished={"b", "c"}) == [*"cb"]


def test_a_training_is_followed_by_what_is_measured_of_it():
    jobs = [job("net", network=True), job("m1", "net"), job("m2", "net"), job("other")]
    seconds = {"net": 100, "m1": 40, "m2": 30, "other": 100}
    assert keys(jobs, {"m1 m2": 4, "other": 2}, seconds) == ["net", "m1", "m2", "other"]


def test_each_training_of_a_claim_is_measured_before_the_next():
    jobs = [job("a", network=True), job("b", network=True), job("m a", "a"), job("m b", "b")]
    goals = [Goal(frozenset(["m a", "m b"]), 1)]
    table = {each.key: each for each in jobs}
    turns = order(table, goals, table, dict.fromkeys(table, 60))
    assert [turn.key for turn in turns] == ["a", "m a", "b", "m b"]


def test_a_training_that_two_claims_need_counts_once():
    # m1 alone: 1 / 110 s; both together: 2 / 120 s. x: 1.5 / 110 s comes between them.
    jobs = [job("net", network=True), job("m1", "net"), job("m2", "net"), job("x")]
    seconds = {"net": 100, "m1": 10, "m2": 10, "x": 110}
    assert keys(jobs, {"m1": 1, "m2": 1, "m1 m2": 0, "x": 1.5}, seconds) == ["net", "m1", "m2", "x"]
    assert keys(jobs, {"m1": 1, "m2": 1, "x": 1.5}, seconds) == ["x", "net", "m1", "m2"]


def test_a_chain_is_run_from_its_start():
    jobs = [job("a", network=True), job("b", "a", network=True), job("m", "b"), job("x")]
    assert keys(jobs, {"m": 5, "x": 1}, dict.fromkeys("abmx", 100)) == ["a", "b", "m", "x"]


def test_measurements_of_a_network_that_could_be_lost_come_before_all():
    jobs = [job("net", network=True), job("m", "net"), job("x")]
    seconds = dict.fromkeys(("net", "m", "x"), 100)
    goals = {"m": 1, "x": 9}
    assert keys(jobs, goals, seconds, unfinished={"m", "x"}) == ["x", "m"]
    assert keys(jobs, goals, seconds, unfinished={"m", "x"}, at_risk={"net"}) == ["m", "x"]


def test_what_does_not_fit_into_the_time_is_left_out_with_what_it_needs():
    jobs = [job("net", network=True), job("m", "net"), job("x"), job("y")]
    seconds = {"net": 500, "m": 600, "x": 300, "y": 400}
    goals = {"m": 9, "x": 1, "y": 1, "x y": 5}
    assert keys(jobs, goals, seconds, limit_s=1100) == ["x", "y"]
    assert keys(jobs, goals, seconds, limit_s=400) == ["x"]
    assert keys(jobs, goals, seconds, limit_s=0) == []
    assert keys(jobs, goals, {**seconds, "x": math.inf}, limit_s=1e9) == ["net", "m", "y"]


def test_cells_of_no_goal_are_not_run():
    assert keys([job("a"), job("b")], {"b": 1}, {"a": 1, "b": 1}) == ["b"]
    assert keys([job("a")], {}, {"a": 1}) == []


CLAIM = """
[[claims]]
text = "Some units are invariant."
for = { samples = [32, 48] }
value = { quantity = "layer_mean", cell = "nv/{samples}" }
holds = "< 1"
"""


def test_the_cases_of_a_claim_share_its_worth(steps, tmp_path):
    planned = read_steps(steps(("maps = []\n", "maps = []\n" + CLAIM)))
    jobs = planned_jobs(planned, tmp_path, None, Archive(tmp_path))
    goals = [([jobs[key].cell.name for key in g.cells], g.worth) for g in planned_goals(planned, jobs)]
    assert goals == [(["nv/32"], 2 * ALONE), (["nv/48"], 2 * ALONE), (["nv/32"], 1.0), (["nv/48"], 1.0)]


def test_claims_beyond_the_listed_cells_are_not_worked_at(steps, tmp_path):
    planned = read_steps(steps(("maps = []\n", "maps = []\n" + CLAIM), cells='["nv/48", "net"]'))
    jobs = planned_jobs(planned, tmp_path, None, Archive(tmp_path))
    goals = [([jobs[key].cell.name for key in g.cells], g.worth) for g in planned_goals(planned, jobs)]
    assert goals == [(["net"], 2 * ALONE), (["nv/48"], 2 * ALONE), (["nv/48"], 1.0)]


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
