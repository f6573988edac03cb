"""Figures show the mean over training runs, with intervals that nest samples within runs."""

from __future__ import annotations

import numpy as np
import pytest

from invariscope.lab.recipes.figures.averaging import over_trainings
from invariscope.lab.recipes.quantities import Estimate, nested
from invariscope.results.result import Result

SIZES = [10] * 8


def run_of(seed: int, *, layers: tuple[str, ...] = ("a", "b"), pairing: str = "same") -> Result:
    draws = np.random.default_rng(seed)
    rows = []
    for layer in layers:
        omitted = 1 + 0.1 * draws.normal(size=8)
        rows.append(
            {"measure": "m", "layer": layer, "value": float(omitted.mean()), "null": 2.0 + seed,
             "ci_low": 0.9, "ci_high": 1.1, "replicates": omitted.tolist(), "group_sizes": SIZES}
        )  # fmt: skip
    rows.append({**rows[0], "stratum": "class 1"})
    curve = [
        {"measure": "c", "layer": "a", "element": k, "parameter": "radius", "x": k + 0.1 * seed,
         "value": 1.0 + seed, "ci_low": 0.8 + seed, "ci_high": 1.2 + seed}
        for k in range(3)
    ]  # fmt: skip
    facts = {
        "model": {"label": f"net, trained, seed {seed}"},
        "data": {"fingerprint": pairing},
        "transform": {"fingerprint": "turns"},
    }
    maps = {("m", "a", "all", 0): np.full((2, 3), float(seed))}
    return Result(tuple(rows), tuple(curve), maps, facts)


def test_a_row_is_the_nested_mean_of_the_rows_of_the_runs():
    runs = [run_of(seed) for seed in range(3)]
    found = over_trainings(runs)
    estimates = [Estimate.of(run.rows[0].value, run.rows[0].replicates, SIZES, "same/turns") for run in runs]
    wanted = nested(estimates)
    assert found.rows[0].value == pytest.approx(wanted.value)
    assert (found.rows[0].ci_low, found.rows[0].ci_high) == pytest.approx(
        (wanted.interval.low, wanted.interval.high)
    )
    assert found.rows[0].null == pytest.approx(3.0)


def test_points_are_matched_by_element_although_their_positions_differ():
    found = over_trainings([run_of(0), run_of(1), run_of(2)])
    assert [point.x for point in found.curve_rows] == pytest.approx([0.1, 1.1, 2.1])
    assert [point.value for point in found.curve_rows] == pytest.approx([2.0] * 3)
    # The runs differ by 1, so the interval over them is far wider than those over samples.
    assert found.curve_rows[0].ci_high - found.curve_rows[0].ci_low > 2


def test_only_layers_of_all_runs_and_only_all_samples_are_averaged():
    found = over_trainings([run_of(0), run_of(1, layers=("a",))])
    assert [(row.layer, row.stratum) for row in found.rows] == [("a", "all")]
    assert over_trainings([run_of(0), run_of(1)], measures=["c"]).rows == ()


def test_maps_are_joined_since_units_of_different_runs_do_not_correspond():
    found = over_trainings([run_of(0), run_of(1)])
    assert sorted(found.maps["m", "a"].tolist()) == [0.0] * 6 + [1.0] * 6


def test_the_label_lacks_the_seed_and_tells_of_missing_runs():
    runs = [run_of(seed) for seed in range(3)]
    assert over_trainings(runs, planned=3).name == "net, trained"
    assert over_trainings(runs[:2], planned=3).name == "net, trained (2 runs)"
    single = over_trainings(runs[:1], planned=3)
    assert single.rows == runs[0].rows
    assert single.name == "net, trained (1 run)"
