"""`iv.measure`: what it promises about data, strata, options and the model it is given."""

from __future__ import annotations

import copy
import math
import random

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import invariscope as iv

TURNS = iv.QuarterTurns()


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 3), nn.LogSoftmax(1)
    ).eval()


@pytest.fixture(scope="module")
def digits():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(200, 1, 8, 8, generator=generator), torch.arange(200) % 3


def quick(model, data, transform=TURNS, **options):
    return iv.measure(model, data, transform, **({"progress": False} | options))


def value(result, layer, stratum="all", measure="normalized_variance"):
    table = result.table
    row = table[(table.layer == layer) & (table.stratum == stratum) & (table.measure == measure)]
    return float(row["value"].iloc[0])


def brute_force(net, x, layers=1):
    """(sample, element, unit...) activations of the first `layers` modules, in float64."""
    part = nn.Sequential(*list(net)[:layers])
    with torch.no_grad():
        orbit = torch.stack([part(torch.rot90(x, k, (2, 3))) for k in range(4)], dim=1)
    return orbit.double().numpy()


def test_the_value_of_a_layer_is_the_mean_of_tv_over_sv(net, digits):
    activations = brute_force(net, digits[0])
    expected = (
        activations.var(axis=1, ddof=1).mean(axis=0) / activations.var(axis=0, ddof=1).mean(axis=0)
    ).mean()
    assert value(quick(net, digits[0]), "0") == pytest.approx(expected, rel=1e-6)


def test_each_class_alone_and_their_mean_come_from_the_same_pass(net, digits):
    x, y = digits
    result = quick(net, (x, y), by_class=True)
    alone = {label: value(quick(net, x[y == label]), "0") for label in range(3)}
    for label, expected in alone.items():
        assert value(result, "0", str(label)) == pytest.approx(expected, rel=1e-6)
    assert value(result, "0", "mean") == pytest.approx(np.mean(list(alone.values())), rel=1e-6)
    maps = np.stack([result.maps["normalized_variance", "0", str(label)] for label in range(3)])
    np.testing.assert_allclose(result.maps["normalized_variance", "0", "mean"], maps.mean(axis=0), rtol=1e-6)
    assert result.provenance["options"]["forwarded_inputs"] == 200 * 4


def test_classes_too_small_for_their_own_intervals_do_not_change_any_value(net, digits):
    x, y = digits[0], torch.arange(200) % 20  # ten samples a class: crossed buckets
    crossed, plain = quick(net, (x, y), by_class=True), quick(net, x)
    rows = crossed.table.set_index(["layer", "stratum"])
    assert math.isfinite(rows.loc[("0", "all"), "ci_low"])
    assert math.isnan(rows.loc[("0", "7"), "ci_low"])
    for column in ("value", "ci_low", "ci_high", "value_ratio", "null"):
        assert rows.loc[("0", "all"), column] == pytest.approx(plain.table[column][0], rel=1e-6)
    assert value(crossed, "0", "7") == pytest.approx(value(quick(net, x[y == 7]), "0"), rel=1e-6)
    note = crossed.notes.query("stratum == '7'")["note"].iloc[0]
    assert "no class has 8 samples in each group; 64 samples suffice" in note


def test_class_names_label_the_strata(net, digits):
    x, y = digits
    names = np.array(["cat", "dog", "eel"])[y.numpy()]
    assert {"cat", "dog", "eel", "mean", "all"} == set(quick(net, (x, names), by_class=True).table["stratum"])


@pytest.mark.parametrize(
    "wrap",
    [
        lambda x, y: (x.numpy(), y.tolist()),
        lambda x, y: TensorDataset(x, y),
        lambda x, y: DataLoader(TensorDataset(x, y), batch_size=17),
        lambda x, y: list(zip(x.split(23), y.split(23), strict=True)),
        lambda x, y: ((a, b) for a, b in zip(x.split(50), y.split(50), strict=True)),
    ],
)
def test_every_kind_of_data_gives_the_same_numbers(net, digits, wrap):
    expected, found = (quick(net, data, by_class=True) for data in (digits, wrap(*digits)))
    for key, array in expected.maps.items():
        np.testing.assert_allclose(found.maps[key], array, rtol=1e-5, atol=1e-12)


def test_a_stream_that_shows_a_new_class_late_is_still_counted_right(net, digits, monkeypatch):
    from invariscope.data import sources

    monkeypatch.setattr(sources, "WINDOW_SAMPLES", 40)
    x, y = digits
    order = torch.argsort(y)
    batches = list(zip(x[order].split(20), y[order].split(20), strict=True))
    found, expected = quick(net, batches, by_class=True), quick(net, (x[order], y[order]), by_class=True)
    for key, array in expected.maps.items():
        np.testing.assert_allclose(found.maps[key], array, rtol=1e-5, atol=1e-12)


def test_a_subset_is_seeded_stated_and_in_order(net, digits):
    first, again = (quick(net, digits, samples=64, seed=3) for _ in range(2))
    other = quick(net, digits, samples=64, seed=4)
    assert first.table.equals(again.table)
    assert first.provenance["data"]["fingerprint"] != other.provenance["data"]["fingerprint"]
    assert first.provenance["data"]["samples"] == 64
    streamed = quick(net, DataLoader(TensorDataset(*digits), batch_size=9), samples=64, seed=3)
    assert streamed.provenance["data"]["samples"] == 64


def test_per_sample_draws_do_not_depend_on_the_batch(net, digits):
    jitter = iv.Rotation.circle(4, jitter_deg=20)
    results = [quick(net, digits[0], jitter, batch_size=size, seed=5) for size in (1, 7, 64)]
    for other in results[1:]:
        np.testing.assert_allclose(
            results[0].maps["normalized_variance", "0"], other.maps["normalized_variance", "0"], rtol=1e-5
        )
    assert value(quick(net, digits[0], jitter, seed=6), "0") != value(results[0], "0")


def test_nothing_about_the_model_or_the_generators_changes(digits):
    torch.manual_seed(3)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(inplace=True), nn.Dropout(0.5))
    model[1].eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    states = torch.get_rng_state(), random.getstate(), np.random.get_state()[1].copy()
    quick(model, digits[0])
    assert [module.training for module in model.modules()] == modes
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert torch.equal(torch.get_rng_state(), states[0])
    assert random.getstate() == states[1]
    assert (np.random.get_state()[1] == states[2]).all()
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.parameters())


def test_accuracy_per_element_matches_counting(net, digits):
    x, y = digits
    result = quick(net, (x, y), measures=["prediction"])
    curve = result.curves.query("measure == 'prediction.accuracy'")
    with torch.no_grad():
        tops = [net(torch.rot90(x, k, (2, 3))).argmax(1) for k in range(4)]
    assert curve["value"].tolist() == pytest.approx([(top == y).float().mean().item() for top in tops])
    assert (curve["ci_low"] <= curve["value"]).all()
    assert curve["x"].tolist() == [0.0, 90.0, 180.0, 270.0]
    flips = result.curves.query("measure == 'prediction.flips'")["value"].tolist()
    assert flips == pytest.approx([(top != tops[0]).float().mean().item() for top in tops])


def test_flips_are_counted_from_the_untransformed_input_although_it_is_not_an_element(net, digits):
    result = quick(net, digits[0], iv.Rotation([90.0, 180.0]), measures=["prediction"])
    with torch.no_grad():
        base = net(digits[0]).argmax(1)
        expected = [
            (net(torch.rot90(digits[0], k, (2, 3))).argmax(1) != base).float().mean().item() for k in (1, 2)
        ]
    assert result.curves["value"].tolist() == pytest.approx(expected)
    assert result.curves["measure"].unique().tolist() == ["prediction.flips"]


def test_means_over_elements_leave_out_the_untransformed_input_at_which_nothing_can_change():
    class Left(torch.nn.Module):
        def forward(self, x):
            gap = x[..., :2].sum((1, 2, 3)) - x[..., 2:].sum((1, 2, 3))
            return torch.stack([gap, -gap], 1)

    generator = torch.Generator().manual_seed(0)
    data = torch.rand(64, 1, 4, 4, generator=generator), torch.arange(64) % 2
    result = quick(Left(), data, iv.Flip(), measures=["prediction", "consistency"])
    values, notes = (part.set_index("measure") for part in (result.table, result.notes))
    values = values["value"]
    assert values["prediction.flips"] == 1
    assert "predictions stay for none" in notes.loc["prediction.flips", "note"]
    assert values["prediction.accuracy"] == 0.5  # every answer is right once: over both elements
    assert values["consistency.by_element"] == values["consistency.untransformed"] == 0


def test_a_shuffled_null_is_near_one_and_beside_the_value(net, digits):
    row = quick(net, digits[0]).table.iloc[0]
    assert row["null"] >= 1.0
    assert math.isnan(row["floor"])


def test_pooled_maps_have_one_value_a_channel_and_flattened_units_stay_units(net, digits):
    result = quick(net, digits[0], measures=[iv.NormalizedVariance(pool="before_mean")])
    assert result.maps["normalized_variance", "2"].shape == (4,)
    assert result.maps["normalized_variance", "3"].shape == (36,)


def test_variance_relative_to_random_weights(net, digits):
    result = quick(net, digits[0], measures=[iv.NormalizedVariance(norm="random_net")], seed=2)
    from invariscope.variants.randomized import randomized

    drawn = brute_force(randomized(net, seed=2), digits[0]).var(axis=1, ddof=1).mean(axis=0)
    own = brute_force(net, digits[0]).var(axis=1, ddof=1).mean(axis=0)
    np.testing.assert_allclose(result.maps["normalized_variance", "0"], own / drawn, rtol=1e-5)


def test_bfloat16_forwards_report_the_error_they_cause(net, digits):
    result = quick(net, digits[0], precision="bf16")
    error = result.provenance["precision_error"]
    assert 0 < error["largest"] < 0.2
    assert error["samples"] == 64
    assert any("bfloat16" in note for note in result.provenance["notes"])
    assert value(result, "0") == pytest.approx(value(quick(net, digits[0]), "0"), rel=0.05)


def test_double_forwards_are_double(net, digits):
    result = quick(net, digits[0], precision="float64")
    assert result.maps["normalized_variance", "0"].dtype == np.float64


def test_units_dead_in_float32_are_dead_in_bfloat16(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 1))
    with torch.no_grad():
        model[0].weight[1] = 0.0
    rows = [quick(model, digits[0], precision=p).table.iloc[0] for p in ("float32", "bf16")]
    assert rows[0]["dead_units"] == rows[1]["dead_units"] == 64


def test_a_checkpoint_is_continued_and_removed(net, digits, tmp_path, monkeypatch):
    from invariscope.engine import checkpoint, walk

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    path, options = (
        tmp_path / "sums",
        {"batch_size": 16, "by_class": True, "measures": ["normalized_variance", "prediction"]},
    )
    expected = quick(net, digits, **options)
    forwarded = []
    original = walk._Loop._block

    def interrupted(self, window, chosen, frame):
        forwarded.append(len(chosen))
        if len(forwarded) == 20:
            raise KeyboardInterrupt
        original(self, window, chosen, frame)

    monkeypatch.setattr(walk._Loop, "_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(net, digits, checkpoint=path, **options)
    assert path.exists()
    found = quick(net, digits, checkpoint=path, **options)
    assert sum(forwarded) == 200 + forwarded[19]  # nothing but the interrupted block went twice
    assert not path.exists()
    for key, array in expected.maps.items():
        np.testing.assert_allclose(found.maps[key], array, rtol=1e-6)
    np.testing.assert_allclose(found.table["ci_low"], expected.table["ci_low"], rtol=1e-4)


def test_a_checkpoint_keeps_its_buckets_when_the_memory_budget_has_changed(net, tmp_path, monkeypatch):
    from invariscope.engine import checkpoint

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    data = torch.rand(300, 1, 8, 8, generator=torch.Generator().manual_seed(2)), torch.arange(300) % 3
    small = {"by_class": True, "batch_size": 12, "memory_gb": 2e-4}
    expected = quick(net, data, **small)
    assert any("raise memory_gb" in note for note in expected.provenance["notes"])

    def stop(done, total):
        if done > 100:
            raise KeyboardInterrupt

    path = tmp_path / "sums"
    with pytest.raises(KeyboardInterrupt):
        quick(net, data, checkpoint=path, progress=stop, **small)
    found = quick(net, data, checkpoint=path, **(small | {"memory_gb": None}))
    assert found.table["samples"].tolist() == expected.table["samples"].tolist()
    np.testing.assert_allclose(found.table["value"], expected.table["value"], rtol=1e-6)
    np.testing.assert_array_equal(found.examples["orbit"], expected.examples["orbit"])


def test_a_checkpoint_of_another_measurement_is_refused(net, digits, tmp_path, monkeypatch):
    from invariscope.engine import checkpoint

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    monkeypatch.setattr(checkpoint.Checkpoint, "remove", lambda self: None)
    quick(net, digits, checkpoint=tmp_path / "sums")
    with pytest.raises(ValueError, match="another measurement"):
        quick(net, digits, checkpoint=tmp_path / "sums", seed=7)
    with pytest.raises(ValueError, match="different data"):
        quick(net, (digits[0] + 1, digits[1]), checkpoint=tmp_path / "sums")
    (tmp_path / "sums").write_bytes(b"junk")
    with pytest.raises(ValueError, match="damaged"):
        quick(net, digits, checkpoint=tmp_path / "sums")


def test_a_callable_reader_is_measured_too(digits):
    result = quick(lambda x: {"mean": x.mean((2, 3)), "raw": x.flatten(1)}, digits[0])
    assert result.table["layer"].tolist() == ["mean", "raw"]
    assert value(result, "mean") == pytest.approx(0.0, abs=1e-9)


def test_progress_is_told_to_the_caller(net, digits):
    told = []
    quick(net, digits[0], progress=lambda done, total: told.append((done, total)), batch_size=64)
    assert told[-1] == (200, 200)
    assert len(told) > 5


def test_examples_show_the_extreme_maps_on_a_real_orbit(net, digits):
    result = iv.illustrate(quick(net, digits[0]), net, digits[0], TURNS, sample=4)
    np.testing.assert_allclose(result.examples["orbit"][1], torch.rot90(digits[0][4], 1, (1, 2)))
    names = [name for name in result.examples if name.startswith("feature:")]
    means = result.maps["normalized_variance", "0"].mean(axis=(1, 2))
    assert f"feature:most:0:{means.argmin()}" in names
    with torch.no_grad():
        expected = net[0](digits[0][4:5])[0, means.argmax()]
    np.testing.assert_allclose(
        result.examples[f"feature:least:0:{means.argmax()}"][0], expected, rtol=1e-5, atol=1e-6
    )


def test_a_silent_map_is_not_shown_as_the_most_invariant(net, digits):
    model = copy.deepcopy(net)
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = 0, 0.5
    result = quick(model, digits[0], measures=["transformation_variance"])
    means = result.maps["transformation_variance", "0"].mean(axis=(1, 2))
    assert means.argmin() == 1
    found = iv.illustrate(result, model, digits[0], TURNS, measure="transformation_variance").examples
    rest = np.where(np.arange(len(means)) == 1, np.inf, means)
    assert f"feature:most:0:{rest.argmin()}" in found
    assert "feature:most:0:1" not in found


def test_maps_that_are_collapsed_first_need_the_memory_of_what_is_left_of_them():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3, padding=1))
    images = torch.randn(80, 1, 64, 64)
    forward = 4 * 4 * (4 * 64 * 64 + 64 * 64)  # four inputs, and the responses to them
    budget = (forward + 8 * 4 * (2 * 4 + 3) * 8 * 2) / 2**30  # eight groups of four maps, twice
    measures = [iv.NormalizedVariance(preset="quiroga2019_full")]
    options = {"progress": False, "memory_gb": budget, "batch_size": 4}
    table = iv.measure(model, images, iv.QuarterTurns(), measures=measures, **options).table
    assert table.ci_low.notna().all()
    with pytest.raises(ValueError, match="the budget is"):
        iv.measure(model, images, iv.QuarterTurns(), **options)
