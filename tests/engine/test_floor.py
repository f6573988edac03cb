"""The floor: the same number for inputs that were transformed and brought back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.data.sources import as_source

BLURRING = [iv.Rotation([0, 20, 45]), iv.Rotation([10, 20, 45]), iv.Translation([(0.5, 0), (0, 0.25)])]


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


@pytest.fixture(scope="module")
def digits():
    generator = torch.Generator().manual_seed(1)
    return torch.rand(160, 1, 8, 8, generator=generator), torch.arange(160) % 2


def quick(model, data, transform, **options):
    return iv.measure(model, data, transform, **({"progress": False, "floor": True, "rows": "all"} | options))


def by_row(result, column):
    return {(r["measure"], r["layer"], r["stratum"]): r.get(column, float("nan")) for r in result.rows}


def there_and_back(transform):
    """The round trips of a transform as elements of their own."""
    return iv.Elements([lambda x, j=j: transform.round_trip(x)[:, j] for j in range(len(transform))])


@pytest.mark.parametrize("transform", BLURRING)
def test_the_floor_is_the_value_that_round_trips_give_when_they_are_measured_themselves(
    net, digits, transform
):
    wanted = ["normalized_variance", "transformation_variance"]
    result = quick(net, digits, transform, measures=wanted, by_class=True)
    floors = by_row(result, "floor")
    alone = by_row(
        quick(net, digits, there_and_back(transform), measures=wanted, by_class=True, floor=False),
        "value",
    )
    assert len(alone) == 2 * 4 * 4
    for row, expected in alone.items():
        assert floors[row] == pytest.approx(expected, rel=1e-5), row
    assert min(alone.values()) > 0


def test_nothing_else_changes_when_a_floor_is_asked_for(net, digits):
    turns = iv.Rotation([0, 20, 45])
    wanted = ["normalized_variance", "prediction", "same_equivariance", "stability"]
    with_floor = quick(net, digits, turns, measures=wanted)
    without = quick(net, digits, turns, measures=wanted, floor=False)
    for column in ("value", "ci_low", "ci_high", "null", "value_ratio"):
        np.testing.assert_allclose(with_floor.table[column], without.table[column], rtol=1e-5, atol=1e-9)
    for key in without.maps:
        np.testing.assert_allclose(with_floor.maps[key], without.maps[key], rtol=1e-4, atol=1e-9)
    assert without.table["floor"].isna().all()
    counts = [r.provenance["options"]["forwarded_inputs"] for r in (with_floor, without)]
    assert counts[0] - counts[1] == 160 * 3


@pytest.mark.parametrize("transform", [iv.QuarterTurns(), iv.Flip("both"), iv.Dihedral()])
def test_transforms_that_interpolate_nothing_have_a_floor_of_zero(net, digits, transform):
    wanted = ["normalized_variance", "same_equivariance", "prediction"]
    table = quick(net, digits[0], transform, measures=wanted).table
    moving = table["measure"].isin(
        ["normalized_variance", "same_equivariance", "same_equivariance.direct", "prediction.flips"]
    )
    assert moving.sum() == 4 + 2 + 2 + 1
    assert (table[moving]["value"] > 0.01).all()
    assert table[moving]["floor"].max() < 1e-10


@pytest.mark.parametrize("transform", BLURRING)
def test_the_floor_of_same_equivariance_moves_no_map_back(transform):
    torch.manual_seed(0)
    x = torch.rand(24, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    net = nn.Sequential(nn.Conv2d(2, 3, 1))
    measure = iv.SameEquivariance(mask=False, min_firing=0)
    result = quick(net, x, transform, measures=measure)
    with torch.no_grad():
        moved = torch.stack([net(x_j) for x_j in transform.round_trip(x).unbind(1)], 1).double().numpy()
        still = net(x).double().numpy()[:, None]
    others = np.arange(len(transform)) != (-1 if transform.identity is None else transform.identity)
    sizes = np.sqrt((still**2).sum((2, 3, 4)))
    expected = (np.sqrt(((moved - still) ** 2).sum((2, 3, 4))) / sizes)[:, others].mean()
    ratio = (moved.var(axis=1, ddof=1).mean(0) / moved.var(axis=0, ddof=1).mean(0)).mean()
    floors = by_row(result, "floor")
    assert floors["same_equivariance.direct", "0", "all"] == pytest.approx(expected, rel=1e-5)
    assert floors["same_equivariance", "0", "all"] == pytest.approx(ratio, rel=1e-4)


def test_the_floor_leaves_out_the_same_units_that_left_the_image():
    torch.manual_seed(0)
    x = torch.rand(24, 2, 9, 9, generator=torch.Generator().manual_seed(1))
    net = nn.Sequential(nn.Conv2d(2, 3, 1))
    shifts = iv.Translation([(0, 0), (2, 0)])  # exact, but for what leaves
    floors = by_row(quick(net, x, shifts, measures="same_equivariance"), "floor")
    assert floors["same_equivariance", "0", "all"] < 1e-10
    assert floors["same_equivariance.direct", "0", "all"] < 1e-6
    plain = by_row(quick(net, x, shifts, measures="normalized_variance"), "floor")
    assert plain["normalized_variance", "0", "all"] > 0.01


def test_jittered_elements_are_brought_back_with_their_own_draws_whatever_the_blocks(net, digits):
    wobbly = iv.Rotation([0, 90], jitter_deg=30)
    few, many = (
        by_row(quick(net, digits[0], wobbly, batch_size=size, measures="normalized_variance"), "floor")
        for size in (8, 512)
    )
    np.testing.assert_allclose(list(few.values()), list(many.values()), rtol=1e-4)
    values = by_row(quick(net, digits[0], wobbly, measures="normalized_variance"), "value")
    assert all(0 < many[row] < values[row] for row in many)


def test_a_transform_without_an_inverse_has_no_floor_and_says_so(net, digits):
    result = quick(net, digits[0], iv.Elements([torch.abs, torch.neg]))
    assert result.table["floor"].isna().all()
    assert any("no floor: Elements has no known inverse" in note for note in result.provenance["notes"])


def test_samples_with_non_finite_responses_are_counted_once_whatever_is_measured(digits):
    def undefined_when_dark(x):
        return {"a": torch.where(x.mean((1, 2, 3), keepdim=True) < 0.2, torch.nan, x)}

    dark = digits[0].clone()
    dark[:3] *= 0.1
    result = quick(
        undefined_when_dark, dark, iv.QuarterTurns(), nonfinite="skip", measures="same_equivariance"
    )
    assert "layer a: 3 samples with non-finite responses left out" in result.provenance["notes"]
    assert set(result.table["samples"]) == {157}


def test_an_interrupted_measurement_goes_on_with_its_floor(net, digits, tmp_path, monkeypatch):
    from invariscope.engine import checkpoint, walk

    monkeypatch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
    options = {"measures": ["normalized_variance", "same_equivariance"], "batch_size": 32}
    turns, whole, file = iv.Rotation([0, 20, 45]), walk._Loop._block, tmp_path / "sums"
    blocks = []

    def interrupted(self, window, chosen, frame):
        if len(blocks) == 4:
            raise KeyboardInterrupt
        blocks.append(chosen)
        whole(self, window, chosen, frame)

    expected = quick(net, digits[0], turns, **options).table
    monkeypatch.setattr(walk._Loop, "_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        quick(net, digits[0], turns, checkpoint=file, **options)
    assert file.exists()
    monkeypatch.setattr(walk._Loop, "_block", whole)
    found = quick(net, digits[0], turns, checkpoint=file, **options).table
    for column in ("value", "floor", "ci_low"):
        np.testing.assert_allclose(found[column], expected[column], rtol=1e-6)


def cosine(a, b):
    return -float(a @ b / np.sqrt((a @ a) * (b @ b)))


def length(a, b):
    return float(np.sqrt(((a - b) ** 2).sum()))


ROUND = iv.Rotation.circle(8)


@pytest.fixture(scope="module")
def returned():
    """A layer, inputs, its responses to round trips (sample, element, ...) and to the inputs themselves."""
    torch.manual_seed(0)
    layer = nn.Sequential(nn.Conv2d(1, 8, 4), nn.Tanh()).double()
    x = torch.rand(40, 1, 5, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        back = torch.stack([layer[0](x_j) for x_j in ROUND.round_trip(x).unbind(1)], 1)
        return layer, x, back.numpy(), layer[0](x).numpy()


def floor_of(layer, x, measure):
    result = quick(layer, x, ROUND, measures=[measure], layers="0", precision="float64")
    return by_row(result, "floor")[measure.label, "0", "all"]


@pytest.mark.parametrize("action", [None, "spatial", "regular"])
@pytest.mark.parametrize(("distance", "naive"), [("cosine", cosine), ("l2", length)])
def test_the_floor_of_a_deviation_compares_round_trips_with_the_inputs_own_response(
    returned, action, distance, naive
):
    layer, x, back, own = returned
    options = {"feature_action": action, "distance": distance}
    whole = [[(back[i, j].ravel(), own[i].ravel()) for j in range(8)] for i in range(40)]
    apart = [
        [(back[i, j, c].ravel(), own[i, c].ravel()) for j in range(8) for c in range(8)] for i in range(40)
    ]
    expected = np.mean([naive(*pair) for pairs in apart for pair in pairs])
    found = floor_of(layer, x, iv.EquivarianceDeviation(kind="channelwise", **options))
    assert found == pytest.approx(expected, rel=1e-9)
    if action is not None:
        expected = np.mean([naive(*pair) for pairs in whole for pair in pairs])
        found = floor_of(layer, x, iv.EquivarianceDeviation(**options))
        assert found == pytest.approx(expected, rel=1e-9)


def test_the_floor_under_the_twirl_compares_round_trips_with_their_mean(returned):
    layer, x, back, _ = returned
    twirled = iv.EquivarianceDeviation(kind="channelwise", reference="twirl", distance="l2")
    expected = np.mean(
        [length(m, orbit.mean(0)[c]) for orbit in back for maps in orbit for c, m in enumerate(maps)]
    )
    assert floor_of(layer, x, twirled) == pytest.approx(expected, rel=1e-9)


def test_the_floor_of_a_fitted_action_fits_round_trips(returned):
    layer, x, back, _ = returned
    fitted = iv.EquivarianceDeviation(feature_action="fitted")
    keys = as_source(x).order.keys
    expected = fitted.oracle(back.reshape(40, 8, -1), None, keys)[""]
    assert floor_of(layer, x, fitted) == pytest.approx(float(expected), rel=1e-6)


def test_exact_elements_leave_a_deviation_no_floor(net, digits):
    measure = iv.EquivarianceDeviation(kind="channelwise", distance="l2")
    floors = by_row(quick(net, digits[0], iv.QuarterTurns(), measures=[measure]), "floor")
    assert floors[measure.label, "0", "all"] < 1e-12
