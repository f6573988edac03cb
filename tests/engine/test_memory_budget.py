"""Each layer keeps its intervals as long as its own sums fit the memory budget."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.engine import walk
from invariscope.engine.budget import Size, choose_buckets
from invariscope.engine.plan import Strata
from invariscope.statistics.moments.orbit_moments import OrbitMoments

SAMPLES, CLASSES = 640, 4
KEYS = ["measure", "layer", "call", "stratum"]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    parts = nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 64, 5), nn.Linear(5, 4)
    return nn.Sequential(*parts).double().eval()


@pytest.fixture(scope="module")
def data():
    generator = torch.Generator().manual_seed(1)
    images = torch.rand(SAMPLES, 1, 8, 8, generator=generator, dtype=torch.float64)
    return images, torch.arange(SAMPLES) % CLASSES


def table_of(model, data, **options):
    options = {"precision": "float64", "progress": False, "batch_size": 32} | options
    return iv.measure(model, data, iv.QuarterTurns(), **options)


def of_layers(result, stratum):
    table = result.table
    return table[table.stratum == stratum].set_index("layer")


# Sums of a layer with 512 units and four elements: 512 · 8 · (4 + 3) bytes per bucket. Three layers are as
# large. Of the budget, 32 inputs and the responses of two layers to them are subtracted.
ONE, FORWARD = 512 * 8 * 7, 4 * 32 * (2 * 512 + 64)


def budget(buckets):
    """Return a budget with room for this many buckets of a large layer, in GiB."""
    return (buckets * ONE + FORWARD) / 2**30


def test_large_layers_lose_their_intervals_and_the_others_keep_the_same_numbers(model, data):
    plenty = table_of(model, data)
    tight = table_of(model, data, memory_gb=budget(20))
    of_large, of_small = ["0", "1"], ["3", "4"]
    found, expected = of_layers(tight, "all"), of_layers(plenty, "all")
    assert expected.ci_low.notna().all()
    lost = found.index[found.ci_low.isna()].tolist()
    assert lost
    assert set(lost) <= set(of_large) | {"2"}
    for layer in of_small:
        for column in ("value", "ci_low", "ci_high", "corrected", "value_ratio", "null"):
            np.testing.assert_allclose(found[column][layer], expected[column][layer], rtol=1e-12)
    np.testing.assert_allclose(found.value, expected.value, rtol=1e-12)
    assert found.note[lost].str.contains("would need .* raise memory_gb").all()
    notes = [note for note in tight.provenance["notes"] if note.startswith("no intervals for")]
    assert notes
    assert all(layer in notes[0] for layer in lost)


def test_a_report_and_the_terminal_say_which_layers_have_no_intervals(model, data, tmp_path):
    from invariscope.cli.tables import remarks

    tight = table_of(model, data, memory_gb=budget(20))
    page = tight.report(tmp_path / "report.html").read_text(encoding="utf-8")
    assert "no intervals for" in page
    assert any("no intervals for" in line for line in remarks(tight))


def test_the_intervals_of_classes_are_given_up_before_those_of_all_samples(model, data):
    options = {"by_class": True, "clusters": np.arange(SAMPLES)}  # with clusters, classes are walked together
    plenty = table_of(model, data, **options)
    tight = table_of(model, data, memory_gb=budget(50), **options)
    assert of_layers(plenty, "2").ci_low.notna().all()
    whole, own = of_layers(tight, "all"), of_layers(tight, "2")
    assert own.ci_low["0"] != own.ci_low["0"]
    assert np.isfinite(whole.ci_low["0"])
    assert np.isfinite([own.ci_low["3"], own.ci_low["4"]]).all()
    pd.testing.assert_series_equal(
        tight.table.set_index(KEYS).value, plenty.table.set_index(KEYS).value, rtol=1e-12
    )
    assert any(note.startswith("no intervals of classes for") for note in tight.provenance["notes"])


def test_scalars_keep_their_intervals_if_sums_do_not_fit(model, data):
    measures = ["normalized_variance", "consistency", "prediction"]
    tight = table_of(model, data, measures=measures, memory_gb=budget(6))
    table = tight.table
    moved = table[table.measure.str.startswith(("consistency", "prediction.acc"))]
    assert len(moved)
    assert moved.ci_low.notna().all()
    assert table[(table.measure == "normalized_variance") & (table.layer == "0")].ci_low.isna().all()


def test_clusters_are_counted_in_layers_with_other_buckets(model, data):
    clusters = np.arange(SAMPLES) // 2
    plenty = table_of(model, data, by_class=False, clusters=clusters)
    tight = table_of(model, data, by_class=False, clusters=clusters, memory_gb=budget(20))
    found, expected = of_layers(tight, "all"), of_layers(plenty, "all")
    assert found.ci_low.isna()["0"]
    np.testing.assert_allclose(found.ci_low["4"], expected.ci_low["4"], rtol=1e-12)


def test_an_interrupted_run_keeps_the_buckets_of_each_layer(model, data, tmp_path, monkeypatch):
    from invariscope.engine import checkpoint

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    options = {"by_class": True, "memory_gb": budget(40)}
    expected = table_of(model, data, checkpoint=tmp_path / "other", **options)

    def stop(done, total):
        if done > 300:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table_of(model, data, checkpoint=tmp_path / "sums", **options | {"progress": stop})
    found = table_of(model, data, checkpoint=tmp_path / "sums", by_class=True)
    pd.testing.assert_frame_equal(found.table, expected.table, rtol=1e-9)


def nbytes(state, seen=None):
    """Return the bytes of all distinct arrays and tensors of a state."""
    seen = {} if seen is None else seen
    if isinstance(state, np.ndarray):
        base = state if state.base is None else state.base
        seen[id(base)] = getattr(base, "nbytes", state.nbytes)
    elif isinstance(state, torch.Tensor):
        seen[state.untyped_storage().data_ptr()] = state.untyped_storage().nbytes()
    elif isinstance(state, dict):
        for part in state.values():
            nbytes(part, seen)
    elif dataclasses.is_dataclass(state):
        for part in vars(state).values():
            nbytes(part, seen)
    return sum(seen.values())


@pytest.fixture
def finished(monkeypatch):
    """Collect the plan and the run of each measurement."""
    found = []
    prepared, walked = walk.prepared, walk.walk

    def planned(*given):
        found.append(prepared(*given))
        return found[-1]

    def run(*given, **named):
        found.append(walked(*given, **named))
        return found[-1]

    monkeypatch.setattr(walk, "prepared", planned)
    monkeypatch.setattr("invariscope.engine.pipeline.walk", run)
    return found


@pytest.mark.parametrize(("elements", "classes"), [(4, 1), (16, 1), (4, 10)])
def test_the_sums_stay_within_the_budget(model, data, elements, classes, finished):
    labelled = data[0], torch.arange(SAMPLES) % classes
    options = {"by_class": classes > 1, "progress": False, "precision": "float64", "batch_size": 256}
    options |= {"clusters": np.arange(SAMPLES)}  # so that classes are walked together
    forward = 4 * 256 * (2 * 512 + 64)
    whole = None
    for share in (1.0, 0.7):
        gib = None if whole is None else (share * whole + forward) / 2**30
        iv.measure(model, labelled, iv.Rotation.circle(elements), memory_gb=gib, **options)
        plan, run = finished[-2:]
        planned = sum(size.of(run.strata_of(*key)) for key, size in plan.sizes.items() if key in run.states)
        used = sum(map(nbytes, run.states.values()))
        assert 0.85 * planned <= used <= 1.15 * planned
        assert whole is None or used <= 1.15 * share * whole
        assert bool(run.coarser) == (whole is not None)
        whole = planned


def test_the_largest_states_become_coarser_first_and_only_as_many_as_must():
    sums = OrbitMoments()
    sizes = {(("a", 0), sums): Size(100, 0), (("b", 0), sums): Size(40, 0)}
    for budget, coarse in ((1120, []), (1119, ["a"]), (420, ["a"]), (419, ["a", "b"])):
        found = choose_buckets(Strata(False), sizes, budget=budget)
        assert [key[0] for key, _ in found] == coarse
    with pytest.raises(ValueError, match="raise memory_gb"):
        choose_buckets(Strata(False), sizes, budget=139)
