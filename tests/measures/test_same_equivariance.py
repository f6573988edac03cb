"""Same-equivariance: zero for exact networks, large for wrong actions, unaffected by what left the image."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_every_measure import block_of, final_values
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.measures.same_equivariance import UndoneMoments
from invariscope.report.facts import key_facts
from invariscope.statistics.discrepancy import Discrepancy

ROUNDING = 1e-10  # normalized variance due to float32 rounding: squares of 1e-5
EXACT = [
    iv.QuarterTurns(),
    iv.Dihedral(),
    iv.Flip("both"),
    iv.Translation([(0, 0), (2, 0), (0, -1)]),
    iv.Translation([(0, 0), (2, 0), (0, -1)], padding="border"),
    iv.Grid(iv.Flip(), iv.Translation([(0, 0), (1, 1)])),
]


def images(n=24, size=8, channels=2):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(3))


def equivariant_to_everything():
    """Mixes channels pixel by pixel."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 5, 1), nn.Tanh(), nn.Conv2d(5, 3, 1), nn.ReLU())


def quick(model, data, transform, **options):
    measure = iv.SameEquivariance(**options.pop("measure", {}))
    return iv.measure(model, data, transform, measures=measure, progress=False, **options)


def rows(result, output=""):
    name = f"same_equivariance.{output}" if output else "same_equivariance"
    return {row["layer"]: row for row in result.rows if row["measure"] == name}


def values(result, output=""):
    return np.array([row["value"] for row in rows(result, output).values()])


@settings(max_examples=30)
@given(
    size=st.integers(1, 4),
    seed=st.integers(0, 2**32 - 1),
    spread=st.sampled_from(["variance", "std"]),
    data=st.data(),
)
def test_any_responses_give_what_the_definition_gives(size, seed, spread, data):
    n, channels = data.draw(st.integers(2, 6)), data.draw(st.integers(1, 3))
    shape = (n, 4, channels, size, size)
    offsets = data.draw(arrays(np.float64, shape[2:], elements=st.floats(-1e3, 1e3)))
    activations = np.random.default_rng(seed).normal(size=shape) + offsets
    measure = iv.SameEquivariance(spread=spread)
    found = final_values(measure, activations, parts=(1,))
    for output, expected in measure.oracle(activations, None).items():
        np.testing.assert_allclose(found[output].values[0], expected, rtol=1e-7)


def test_a_networks_layers_get_what_the_definition_gives_for_their_activations():
    digits = zoo.load("mnist_subset", samples=24)
    net = zoo.build("simple_conv", input_shape=digits.shape, classes=10, filters=4)
    kept = {}
    wanted = ("conv1", "pool1", "relu5")
    for name in wanted:
        net.get_submodule(name).register_forward_hook(lambda _, __, out, name=name: kept.update({name: out}))
    with torch.no_grad():
        orbit = torch.stack([torch.rot90(digits.images, k, (2, 3)) for k in range(4)], dim=1)
        net.eval()(orbit.flatten(0, 1))
    activations = {name: out.clone().double().unflatten(0, (24, 4)).numpy() for name, out in kept.items()}
    for hooked in net.modules():
        hooked._forward_hooks.clear()
    measure = iv.SameEquivariance(min_firing=0)
    result = iv.measure(
        net, digits.images, iv.QuarterTurns(), measures=measure, layers=list(wanted), progress=False
    )
    for layer, responses in activations.items():
        expected = measure.oracle(responses, None)
        for output in ("transformation_variance", "sample_variance"):
            found = result.maps[f"same_equivariance.{output}", layer]
            alive = np.isfinite(found)
            np.testing.assert_allclose(found[alive], expected[output][alive], rtol=1e-4, atol=1e-9)
        assert rows(result, "direct")[layer]["value"] == pytest.approx(float(expected["direct"]), rel=1e-5)


@pytest.mark.parametrize("transform", EXACT)
def test_an_equivariant_network_gives_zero_under_exact_elements(transform):
    result = quick(equivariant_to_everything(), images(), transform)
    assert values(result).max() < ROUNDING
    assert values(result, "transformation_variance").max() < ROUNDING
    assert values(result, "sample_variance").min() > 1e-4
    assert values(result, "direct").max() < 1e-6


def test_filters_that_are_alike_in_all_four_directions_give_zero_and_others_do_not():
    torch.manual_seed(1)
    any_filters = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.AvgPool2d(2))
    symmetric = copy.deepcopy(any_filters)
    for layer in (symmetric[0], symmetric[2]):
        weight = layer.weight.data
        layer.weight.data = sum(torch.rot90(weight, k, (2, 3)) for k in range(4)) / 4
    assert values(quick(symmetric, images(), iv.QuarterTurns())).max() < ROUNDING
    assert values(quick(symmetric, images(), iv.QuarterTurns()), "direct").max() < 1e-6
    assert values(quick(any_filters, images(), iv.QuarterTurns())).min() > 0.1


def test_strides_that_leave_the_grid_off_centre_spoil_turns_and_are_noted():
    torch.manual_seed(0)
    weight = torch.ones(3, 2, 3, 3)
    off, centred = nn.Conv2d(2, 3, 3, stride=2, padding=1), nn.Conv2d(2, 3, 2, stride=2)
    off.weight.data, centred.weight.data = weight, weight[..., :2, :2].clone()
    spoilt = quick(nn.Sequential(off), images(), iv.QuarterTurns())
    exact = quick(nn.Sequential(centred), images(), iv.QuarterTurns())
    assert values(spoilt).min() > 0.1
    assert values(exact).max() < ROUNDING
    assert "coarser than the inputs" in spoilt.notes["note"].iloc[0]
    fine = quick(equivariant_to_everything(), images(), iv.QuarterTurns())
    assert not fine.notes["note"].str.contains("coarser").any()


TURNS = [lambda x, k=k: torch.rot90(x, k, (-2, -1)) for k in range(4)]
BACK = [lambda x, k=k: torch.rot90(x, -k, (-2, -1)) for k in range(4)]
NOTHING = [lambda x: x] * 4


def turns(actions, inverse_actions):
    """Quarter turns of the inputs, with the given action on maps."""
    return iv.Elements(TURNS, identity=0, actions=actions, inverse_actions=inverse_actions)


@pytest.mark.parametrize(
    ("actions", "inverses", "right"),
    [(TURNS, BACK, True), (BACK, TURNS, False), (NOTHING, NOTHING, False), (TURNS, TURNS, False)],
)
def test_a_wrong_action_or_an_inverse_in_the_wrong_direction_is_noticed(actions, inverses, right):
    measure = {"mask": False}  # the mask would detect that such an inverse does not return anything
    result = quick(equivariant_to_everything(), images(), turns(actions, inverses), measure=measure)
    assert (values(result) < ROUNDING).all() == right
    assert (values(result) > 0.05).all() == (not right)
    assert (values(result, "direct") < 1e-6).all() == (actions is TURNS)


@pytest.mark.parametrize("padding", ["zeros", "border", "reflection"])
def test_units_that_leave_the_image_are_left_out_and_counted(padding):
    shifts = iv.Translation([(0, 0), (2, 0), (0, -1)], padding=padding)
    result = quick(equivariant_to_everything(), images(), shifts)
    masked = np.isnan(result.maps["same_equivariance", "0"])
    expected = np.zeros((8, 8), bool)
    expected[:, 6:], expected[0] = True, True  # content shifted 2 to the right, or 1 up, is lost
    assert (masked == expected).all()
    row = rows(result)["0"]
    assert row["masked_units"] == 5 * expected.sum()
    assert row["counted_units"] == 5 * (64 - expected.sum())
    assert row["dead_units"] == 0
    assert "110 of 320 units leave the image" in result.notes["note"].iloc[0]


def test_without_the_mask_what_left_the_image_counts_as_an_error():
    shifts = iv.Translation([(0, 0), (2, 0), (0, -1)])
    result = quick(equivariant_to_everything(), images(), shifts, measure={"mask": False})
    assert values(result).min() > 0.05
    assert values(result, "direct").min() > 0.05
    assert "masked_units" not in rows(result)["0"]


def test_a_rotation_leaves_out_corners_and_nothing_in_the_inner_circle():
    result = quick(equivariant_to_everything(), images(size=16), iv.Rotation.circle(8))
    masked = np.isnan(result.maps["same_equivariance", "0"][0])
    y, x = np.indices((16, 16)) - 7.5
    assert not masked[np.hypot(x, y) < 6].any()
    assert masked[np.hypot(x, y) > 8].all()
    assert (masked == np.rot90(masked)).all()


def test_jittered_elements_are_undone_sample_by_sample_whatever_the_blocks():
    wobbly = iv.Rotation([0, 180], jitter_deg=20)
    smooth = torch.nn.functional.avg_pool2d(images(32, 20), 5, stride=1)
    one, many = (quick(equivariant_to_everything(), smooth, wobbly, batch_size=size) for size in (4, 64))
    assert rows(one)["0"]["masked_units"] == rows(many)["0"]["masked_units"] > 0
    np.testing.assert_allclose(values(one), values(many), rtol=1e-4)
    fixed = quick(equivariant_to_everything(), smooth, without_action(wobbly), measure={"mask": False})
    assert values(one).max() < 0.3 * values(fixed).min()


def without_action(transform):
    """Drawn elements, determined by the bits of one pixel of each sample; the action is trivial."""

    def orbit(x):
        return transform.orbit(x, keys=x[:, 0, 9, 9].contiguous().view(torch.int32).numpy())

    apart = [lambda x, j=j: orbit(x)[:, j] for j in range(len(transform))]
    return iv.Elements(apart, actions=[lambda x: x] * len(apart), inverse_actions=[lambda x: x] * len(apart))


def test_layers_without_an_action_are_listed_with_the_reason_and_shown_in_the_report(tmp_path):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 1), nn.Flatten(), nn.Linear(192, 4))
    result = quick(net, images(), iv.QuarterTurns())
    assert list(rows(result)) == ["0"]
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert set(skipped) == {"1", "2"}
    assert skipped["2"].startswith("same_equivariance: ")
    assert "(n, m, C, H, W); got (n, m, 4)." in skipped["2"]
    both = iv.measure(
        net,
        images(),
        iv.QuarterTurns(),
        measures=["normalized_variance", "same_equivariance"],
        progress=False,
    )
    assert ("Layers", ["3 measured"]) in key_facts([both])
    assert ("Layers", ["1 measured, 2 skipped"]) in key_facts([result])
    page = tmp_path / "report.html"
    result.report(page)
    assert skipped["2"].split(";")[0] in page.read_text()


@pytest.mark.parametrize(
    ("transform", "reason"),
    [(iv.Elements([torch.abs, torch.neg]), "not declared"), (turns(TURNS, None), "inverse_actions")],
)
def test_a_transform_without_an_action_or_its_inverse_is_refused(transform, reason):
    with pytest.raises(ValueError, match=rf"applies to none of the 4 layers(.|\n)*{reason}"):
        quick(equivariant_to_everything(), images(), transform)


def test_a_map_with_channels_last_is_not_turned_as_if_they_came_first():
    def last(x):
        return {"last": torch.cat([x, -x, x], 1).permute(0, 2, 3, 1), "first": x}

    result = quick(last, images(), iv.QuarterTurns())
    assert list(rows(result)) == ["first"]
    (entry,) = result.provenance["skipped"]
    assert "channels last" in entry["reason"]


def test_pairs_without_a_response_to_compare_with_are_left_out_of_the_direct_error_and_counted():
    activations = np.random.default_rng(0).normal(size=(5, 4, 2, 3, 3))
    activations[2, 0] = 0.0
    measure = iv.SameEquivariance()
    found = final_values(measure, activations)["direct"]
    assert found.undefined == 3
    assert found.values[0] == pytest.approx(
        float(measure.oracle(np.delete(activations, 2, 0), None)["direct"])
    )


@pytest.mark.parametrize(
    ("silent", "silent_at_rest", "expected"),
    [((1,), (), None), ((1,), (2, 3), None), ((0, 1, 2, 3, 4), (), np.nan), ((0, 1), (2, 3, 4), np.inf)],
)
def test_the_direct_error_is_that_of_the_spatial_action_also_over_zero(silent, silent_at_rest, expected):
    activations = np.random.default_rng(0).normal(size=(5, 4, 2, 3, 3))
    activations[list(silent)] = 0.0
    activations[list(silent_at_rest), 0] = 0.0
    direct = final_values(iv.SameEquivariance(), activations)["direct"]
    error = final_values(iv.EquivarianceError(), activations)
    np.testing.assert_array_equal(direct.values, error[""].values)
    assert direct.undefined == error[""].undefined == 3 * len(silent + silent_at_rest)
    assert direct.note == error[""].note
    assert ("infinite" in direct.note) == bool(silent_at_rest)
    assert np.isinf(error["largest"].values[0]) == bool(silent_at_rest)  # which must not be overlooked
    if expected is None:
        rest = np.setdiff1d(np.arange(5), silent + silent_at_rest)
        expected = iv.SameEquivariance().oracle(activations[rest], None)["direct"]
    np.testing.assert_allclose(direct.values[0], expected, rtol=1e-12)


def test_intervals_and_classes_come_with_it():
    torch.manual_seed(1)
    net = nn.Sequential(nn.Conv2d(2, 3, 3))
    x, y = images(160), torch.arange(160) % 2
    result = quick(net, (x, y), iv.QuarterTurns(), by_class=True)
    table = result.table.set_index(["measure", "stratum"])
    for output in ("", ".transformation_variance", ".direct"):
        whole = table.loc[(f"same_equivariance{output}", "all")]
        assert whole["ci_low"] < whole["value"] < whole["ci_high"]
    alone = quick(net, x[y == 1], iv.QuarterTurns())
    assert table.loc[("same_equivariance", "1"), "value"] == pytest.approx(values(alone)[0], rel=1e-6)


@pytest.mark.parametrize("statistic", [UndoneMoments(), Discrepancy()])
def test_a_state_survives_being_packed(statistic):
    activations = np.random.default_rng(0).normal(size=(6, 4, 2, 3, 3))
    block = block_of(activations, None, 0, 6, probes={"identity": (0,)})
    state = statistic.init(block, buckets=1)
    statistic.update(state, block)
    again = statistic.unpack(statistic.pack(state))
    for name, array in statistic.pack(state).items():
        np.testing.assert_array_equal(statistic.pack(again)[name], array)


def test_options_that_do_not_exist_are_refused():
    with pytest.raises(ValueError, match="unknown spread"):
        iv.SameEquivariance(spread="range")
    with pytest.raises(TypeError, match="mask must be True or False"):
        iv.SameEquivariance(mask="yes")
