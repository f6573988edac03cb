"""Cases that were run again with fresh seeds, beside the first ones."""

from __future__ import annotations

from pathlib import Path

import pytest
from verdict_pages import case

from invariscope.lab import recipes
from invariscope.lab.agenda import AgendaStep, planned_goals, planned_jobs, read_steps
from invariscope.lab.campaign import STEPS
from invariscope.lab.recipes.cases import cells_of_claims
from invariscope.lab.replication import Replication, replication_summary, replications

RECIPE = """
title = "A tiny network, several times"
source = "nobody"

[scales]
campaign = "all of it"

[lists]
seeds = [0, 1, 2]

[[cells]]
kind = "measure"
name = "nv/{seed}"
for = { seed = "seeds" }

[cells.options]
network = "simple_conv"
network_options = { filters = 2 }
seed = "{seed}"
data = "mnist_subset"
samples = 64
transform = "Rotation.circle(4)"
measures = ["normalized_variance"]
maps = []

[[cells]]
kind = "measure"
name = "always"

[cells.options]
network = "simple_conv"
network_options = { filters = 2 }
seed = 7
data = "mnist_subset"
samples = 64
transform = "Rotation.circle(4)"
measures = ["normalized_variance"]
maps = []

[[claims]]
text = "Rotations change less than other digits."
value = { quantity = "overall", cell = "nv/{seed}" }
trainings = { seed = "seeds" }
holds = "< 1.5"
why = "a half more than for other digits"

[[claims]]
text = "The same in every run."
value = { quantity = "overall", cell = "always" }
holds = "> 0"
"""


@pytest.fixture
def recipe(tmp_path) -> str:
    (tmp_path / "several.toml").write_text(RECIPE)
    return str(tmp_path / "several.toml")


@pytest.fixture
def archive(tmp_path, recipe) -> Path:
    """Run the cells with the seeds of the recipe and with fresh ones, and archive them."""
    archive = recipes.Archive(tmp_path / "archive")
    for seeds in (None, (10, 11, 12)):
        store = recipes.Store(tmp_path / "work", recipes.load(recipe, seeds=seeds), archive=archive)
        for cell in store.plan.cells:
            if store.manifest(cell) is None:
                recipes.run_cell(store, cell, threads=1, log=lambda text: None)
            archive.add(store, cell)
    return archive.root


def test_only_cases_with_fresh_training_runs_are_compared(recipe, archive):
    steps = [AgendaStep(recipe=recipe, worth=1), AgendaStep(recipe=recipe, worth=1, seeds=[10, 11, 12])]
    (found,) = replications(steps, archive)
    assert found.claim == "Rotations change less than other digits."
    first, fresh = found.first.estimate, found.fresh.estimate
    assert first is not None
    assert fresh is not None
    assert first.value != fresh.value
    assert replications([AgendaStep(recipe=recipe, worth=1, seeds=[20, 21, 22])], archive) == []


def test_agreement_and_contradiction_are_counted():
    words = [("confirmed", "confirmed"), ("confirmed", "refuted"), ("undecided", "refuted")]
    found = [Replication("one", "It holds.", case(first), case(fresh)) for first, fresh in words]
    assert [one.agrees for one in found] == [True, False, False]
    assert [one.contradicts for one in found] == [False, True, False]
    counts, heading, table = replication_summary(found).split("\n\n")
    assert counts == "Cases run with fresh seeds: 3, of 1 claims. Same verdict: 1. Opposite verdict: 1."
    assert heading == "### [one](one.md)"
    assert table.splitlines()[2].startswith("| It holds. | – | 1.000 (0.9000 to 1.100) | *confirmed* |")


def test_without_fresh_runs_nothing_is_claimed():
    assert replication_summary([]) == "No case has been run with fresh seeds yet."


def test_the_campaign_repeats_whole_cases_of_every_recipe_with_fresh_seeds():
    steps = [step for step in read_steps(STEPS) if step.seeds]
    assert {step.recipe for step in steps} == set(recipes.names())
    for step in steps:
        names = {cell.name for cell in step.plan.matching(step.cells)}
        cases = [case for claim in cells_of_claims(step.plan) for case in claim]
        assert any(set(case) <= names and any("10" in name for name in case) for case in cases), step.title


def test_a_step_with_fresh_seeds_has_jobs_and_goals_of_its_own(recipe, tmp_path):
    steps = [AgendaStep(recipe=recipe, worth=1), AgendaStep(recipe=recipe, worth=4, seeds=[10, 11, 12])]
    jobs = planned_jobs(steps, tmp_path, None, recipes.Archive(tmp_path))
    names = [job.cell.name for job in jobs.values()]
    assert names == ["nv/0", "nv/1", "nv/2", "always", "nv/10", "nv/11", "nv/12"]
    several = [goal for goal in planned_goals(steps, jobs) if len(goal.cells) == 3]
    assert [(sorted(jobs[key].cell.name for key in goal.cells), goal.worth) for goal in several] == [
        (["nv/0", "nv/1", "nv/2"], 1),
        (["nv/10", "nv/11", "nv/12"], 4),
    ]
