"""The log: whole lines only, no paths, costs by machine."""

from __future__ import annotations

import json
import math

from invariscope.lab import recipes
from invariscope.lab.agenda import planned_jobs, read_steps
from invariscope.lab.costs import Costs
from invariscope.lab.log import Log, alike, failure_of
from invariscope.lab.recipes import Archive
from invariscope.lab.recipes.machine import machine


def test_a_line_that_was_cut_short_is_skipped_and_spoils_no_other(tmp_path):
    log = Log(tmp_path / "log.jsonl")
    assert log.lines() == []
    log.add({"key": "a", "seconds": 1})
    with log.path.open("a") as stream:
        stream.write('{"key": "b", "seco')
    log.add({"key": "c", "failed": "why"})
    log.add({"key": "d"})
    assert [line["key"] for line in log.lines()] == ["a", "c", "d"]
    assert set(log.finished()) == {"a", "d"}


def test_reasons_hold_no_folders(steps, tmp_path):
    jobs = planned_jobs(read_steps(steps()), tmp_path / "work", None, Archive(tmp_path))
    home = next(iter(jobs.values())).homes[0]
    reason = "no file /home/someone/data/mnist.gz and /tmp/x; see https://example.org/a/b, 3/4"
    line = failure_of(home.store, home.cell, reason)
    assert line["failed"] == "no file …/mnist.gz and …/x; see https://example.org/a/b, 3/4"
    assert str(tmp_path) not in json.dumps(line)


def test_cells_that_differ_in_seeds_and_names_are_alike(steps, tmp_path):
    seeds = ('name = "net"', 'name = "net/{seed}"\nfor = { seed = [0, 1] }')
    options = ("epochs = 3", 'epochs = 3\nseed = "{seed}"')
    model = ('model = "net"', 'model = "net/1"')
    plain, seeded = (
        recipes.Store(tmp_path, recipes.load(str(steps(*changes).with_name("tiny.toml"))))
        for changes in ([], [seeds, options, model])
    )
    kinds = {name: alike(store, store.plan[name]) for store, name in (
        (plain, "net"), (seeded, "net/0"), (seeded, "net/1"))}  # fmt: skip
    assert len(set(kinds.values())) == 1
    assert alike(plain, plain.plan["nv/32"]) == alike(seeded, seeded.plan["nv/32"])
    assert alike(plain, plain.plan["nv/32"]) != alike(plain, plain.plan["nv/48"])


def test_the_cost_is_that_of_the_last_alike_cell_on_such_a_machine(steps, tmp_path, monkeypatch):
    jobs = planned_jobs(read_steps(steps()), tmp_path / "work", None, Archive(tmp_path))
    log = Log(tmp_path / "log.jsonl")
    costs = Costs(log, tmp_path / "costs.json", 1, "cpu", lambda text: None)
    net = next(job for job in jobs.values() if job.cell.name == "net")
    assert costs.known([net]) == {net.key: math.inf}
    line = {"key": "x", "alike": alike(net.homes[0].store, net.cell), "threads": 1, "device": "cpu"}
    log.add({**line, "machine": {"cpu": "another"}, "seconds": 50})
    assert costs.known([net]) == {net.key: 50}  # preferred to an estimate
    for seconds, more in ((10, {}), (20, {}), (30, {"threads": 2}), (40, {"machine": {"cpu": "another"}})):
        log.add({**line, "machine": machine(), "seconds": seconds, **more})
    assert costs.known([net]) == {net.key: 20}
    timed: list[str] = []

    def estimated(store, cells, **_):
        timed.extend(cell.name for cell in cells)
        return dict.fromkeys(timed, 7.0)

    monkeypatch.setattr(recipes, "estimated", estimated)
    for _ in range(2):
        found = costs(jobs.values())
    assert sorted(found.values()) == [7, 7, 20]
    assert sorted(timed) == ["nv/32", "nv/48"]


def test_an_estimate_that_fails_is_not_repeated(steps, tmp_path, monkeypatch):
    jobs = planned_jobs(read_steps(steps()), tmp_path / "work", None, Archive(tmp_path))
    costs = Costs(Log(tmp_path / "log.jsonl"), tmp_path / "costs.json", 1, "cpu", lambda text: None)
    timed: list[str] = []

    def estimated(store, cells, **_):
        timed.extend(cell.name for cell in cells)
        return {cell.name: math.nan for cell in cells}

    monkeypatch.setattr(recipes, "estimated", estimated)
    for _ in range(2):
        assert set(costs(jobs.values()).values()) == {math.inf}
    assert sorted(timed) == ["net", "nv/32", "nv/48"]
