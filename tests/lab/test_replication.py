"""Cases from fresh training runs beside the first ones."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from verdict_pages import case, page, verdict

from invariscope.lab.agenda import AgendaStep, planned_jobs, read_steps
from invariscope.lab.campaign import STEPS
from invariscope.lab.pages import fresh_verdicts
from invariscope.lab.recipes import Archive, names
from invariscope.lab.recipes.cases import cells_of_claims
from invariscope.lab.replication import replication_tables, replications

_ROOT = Path(__file__).resolve().parents[2]


def on(name: str, word: str, cells: str, value: float | None = 1.0):
    return replace(case(word, value=value), axes={"network": name}, cells=(cells,))


def test_a_case_that_was_tested_twice_is_a_row():
    first = [verdict(on("a", "confirmed", "a/0"), on("b", "confirmed", "b/0"), on("c", "refuted", "c/0"))]
    again = on("a", "confirmed", "a/100", 1.2), on("b", "undecided", "b/100"), on("c", "", "c/100", None)
    counts, title, table = replication_tables({"one": page(first)}, {"one": [verdict(*again)]}).split("\n\n")
    assert counts == "Cases tested on both: 2. Same verdict: 1. Opposite verdict: 0."
    assert title == "### A page, fresh seeds"
    row = "| It holds. | a | 1.000 (0.9000 to 1.100) | *confirmed* | 1.200 (1.100 to 1.300) | *confirmed* |"
    assert table.splitlines()[2] == row
    assert table.splitlines()[3].endswith("| *undecided* |")


def test_a_case_that_is_against_the_claim_after_one_for_it_contradicts():
    first, fresh = ([verdict(on("a", word, cell))] for word, cell in (("confirmed", "0"), ("refuted", "100")))
    (found,) = replications(first, fresh)
    assert found.contradicts
    assert not found.agrees


def test_networks_below_their_floor_are_not_counted_as_agreement():
    first, fresh = ([verdict(on("a", "not tested", cell))] for cell in ("a/0", "a/100"))
    assert replications(first, fresh) == []


def test_cases_that_depend_on_no_training_run_are_left_out():
    same = [verdict(on("a", "confirmed", "fields/28"))]
    assert replications(same, same) == []
    assert replication_tables({"one": page(same)}, {"one": same}).startswith("No case has been tested")


def test_the_campaign_repeats_whole_cases_of_every_recipe_with_fresh_seeds():
    steps = [step for step in read_steps(STEPS) if step.seeds]
    assert {step.recipe for step in steps} == set(names())
    for step in steps:
        own = {cell.name for cell in step.plan.matching(step.cells)}
        cases = [case for claim in cells_of_claims(step.plan) for case in claim]
        assert any(set(case) <= own and any("100" in name for name in case) for case in cases), step.title


def test_a_step_with_seeds_plans_other_cells_than_one_without(tmp_path):
    cells = ["stability/mnist/fully_connected/*"]
    own, fresh = (
        AgendaStep(recipe="petrini2021", worth=1, cells=cells, seeds=seeds) for seeds in ([], [100, 101, 102])
    )
    archive = Archive(_ROOT / "reproductions")
    jobs = [planned_jobs([step], tmp_path, tmp_path / "no data", archive) for step in (own, fresh)]
    assert [len(found) for found in jobs] == [6, 6]  # a training run and a measurement per seed
    assert not set(jobs[0]) & set(jobs[1])
    assert {job.cell.name.rpartition("/")[2] for job in jobs[1].values()} == {"100", "101", "102"}
    assert len(planned_jobs([own, fresh], tmp_path, tmp_path / "no data", archive)) == 12


def test_fresh_verdicts_are_those_of_the_steps_with_seeds(monkeypatch, tmp_path):
    monkeypatch.setenv("INVARISCOPE_DATA", str(tmp_path / "nothing"))
    steps = [
        AgendaStep(recipe="other_measures", worth=1),
        AgendaStep(recipe="quiroga2020", worth=1, seeds=[100, 101, 102]),
    ]
    found = fresh_verdicts(steps, _ROOT / "reproductions")
    assert list(found) == ["quiroga2020"]
    cells = {name for one in found["quiroga2020"] for case in one.cases for name in case.cells}
    assert "subset/0/100" in cells
    assert "subset/0/0" not in cells


def test_seeds_of_a_recipe_without_such_a_list_are_refused(steps, tmp_path):
    path = steps().parent / "tiny.toml"
    step = AgendaStep(recipe=str(path), worth=1, seeds=[100])
    with pytest.raises(ValueError, match="has no list 'seeds'"):
        planned_jobs([step], tmp_path, None, Archive(tmp_path))
