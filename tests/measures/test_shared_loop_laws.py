"""Laws, closed forms and rejected inputs of the measures that reduce whole orbits in other ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from test_every_measure import final_values, finals_of
from test_shared_loop import DIGITS, QUARTERS, images, measured, net, rows, to_images, value
from torch import nn

import invariscope as iv
from invariscope.common.draws import Stream, drawn_words
from invariscope.intervals import jackknife
from invariscope.measures.worst_element import chosen_by_chance, reach_of_largest
from invariscope.statistics.moments.orbit_regression import projected

pytestmark = pytest.mark.usefixtures("seeded")


class Constant(nn.Module):
    """A constant output."""

    def forward(self, x):
        return x.flatten(1)[:, :3] * 0 + torch.tensor([0.0, 1.0, 0.5])


def test_a_constant_prediction_is_consistent_and_so_is_its_null():
    found = rows(measured(Constant(), images(), iv.Consistency()))
    for output in ("", "untransformed"):
        assert found[output]["value"] == found[output]["null"] == 1


def test_the_null_of_consistency_is_the_share_of_pairs_of_samples_that_agree():
    outputs = np.random.default_rng(0).normal(size=(7, 3, 4))
    top = outputs.argmax(-1)
    found = final_values(iv.Consistency(), outputs)
    others = [(i, k) for i in range(7) for k in range(7) if i != k]
    pairs = [top[i, j] == top[k, h] for i, k in others for j in range(3) for h in range(3) if j != h]
    kept = [top[i, j] == top[k, 0] for i, k in others for j in (1, 2)]
    assert found[""].null == pytest.approx(np.mean(pairs))
    assert found["untransformed"].null == pytest.approx(np.mean(kept))


def test_the_identity_is_not_to_the_credit_of_the_network():
    only_identity_agrees = np.eye(4)[None, :, :].repeat(3, axis=0)
    found = final_values(iv.Consistency(), only_identity_agrees)
    assert found["untransformed"].values[0] == 0
    np.testing.assert_array_equal(found["by_element"].values[0], [1, 0, 0, 0])


def test_outputs_that_are_not_scores_are_refused_with_the_reason():
    with pytest.raises(ValueError, match=r"consistency applies to none(.|\n)*at least two classes"):
        measured(net(outputs=1), images(), iv.Consistency())
    with pytest.raises(ValueError, match=r"equivariance_psnr applies to none(.|\n)*images"):
        measured(net(), images(), iv.EquivariancePSNR())


def test_an_equivariant_model_has_the_best_psnr_and_another_one_has_not():
    pointwise = nn.Sequential(nn.Conv2d(1, 3, 1), nn.Tanh())
    exact = measured(pointwise, images(), iv.EquivariancePSNR())
    assert value(exact) > 130
    other = measured(to_images(), images(), iv.EquivariancePSNR())
    assert value(other) < 40
    assert rows(other)[""]["null"] < value(other)


def test_the_range_of_the_values_moves_psnr_by_its_square():
    plain, wide = (measured(to_images(), images(), iv.EquivariancePSNR(peak=p)) for p in (1.0, 10.0))
    assert value(wide) == pytest.approx(value(plain) + 20)


def test_what_left_the_image_counts_for_nothing():
    shifts = iv.Translation([(0, 0), (2, 0), (0, -1)])
    torch.manual_seed(0)
    pointwise = nn.Conv2d(1, 2, 1)  # its bias appears where zeros came in, whereas t f(x) has zeros there
    result = measured(pointwise, images(), iv.EquivariancePSNR(), transform=shifts)
    assert value(result) > 130
    assert pointwise.bias.abs().min() > 0.01


def test_the_null_of_psnr_takes_the_other_image_of_the_pair():
    outputs = np.random.default_rng(0).normal(size=(4, 4, 1, 3, 3))
    found = final_values(iv.EquivariancePSNR(), outputs, paired=True)
    swapped = outputs.copy()
    swapped[:, 0] = outputs[[1, 0, 3, 2], 0]
    expected = iv.EquivariancePSNR().oracle(swapped, None)[""]
    assert found[""].null == pytest.approx(float(expected))


def test_interpolation_alone_is_said_in_the_floor_of_psnr():
    result = measured(
        nn.Conv2d(1, 2, 1), images(size=16), iv.EquivariancePSNR(), iv.Rotation([0, 30]), floor=True
    )
    assert 0 < rows(result)[""]["floor"] < 60


class Directions(nn.Module):
    """Mean edges in four directions: channels that a quarter turn permutes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(2)
        kernel = torch.randn(1, 1, 3, 3)
        self.filters = nn.Conv2d(1, 4, 3, bias=False)
        self.filters.weight.data = torch.cat([torch.rot90(kernel, k, (2, 3)) for k in range(4)])

    def forward(self, x):
        return torch.relu(self.filters(x)).mean((2, 3))


@pytest.mark.parametrize("measure", [iv.FittedEquivariance(ridge=1e-9), iv.FittedEquivariance()])
def test_an_action_that_permutes_channels_is_found(measure):
    result = measured(Directions(), images(200), measure)
    assert value(result, layer="mean") > 1 - 1e-3
    assert value(result, "invariance", "mean") < 0.5


def test_without_an_action_nothing_is_found():
    rng = np.random.default_rng(0)
    found = final_values(iv.FittedEquivariance(), rng.normal(size=(400, 3, 5)))
    assert (found["by_element"].values[0, 1:] < 0.02).all()
    assert found["by_element"].values[0, 0] == pytest.approx(1, abs=1e-4)


def test_large_layers_are_fitted_in_their_projection():
    responses = np.random.default_rng(0).normal(size=(60, 3, 40))
    seen = projected(torch.from_numpy(responses).flatten(0, 1), 8, seed=0).numpy().reshape(60, 3, 8)
    found = final_values(iv.FittedEquivariance(dims=8), responses, parts=(11,))
    for output, expected in iv.FittedEquivariance().oracle(seen, None).items():
        np.testing.assert_allclose(found[output].values[0], expected, rtol=1e-8)


def test_a_projection_keeps_squared_lengths_on_average():
    vector = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 500)))
    lengths = [float(projected(vector, 20, seed=seed).square().sum()) for seed in range(400)]
    error = np.std(lengths) / 20
    assert np.mean(lengths) == pytest.approx(float(vector.square().sum()), abs=4 * error)
    assert error > 0


def test_kernel_alignment_is_blind_to_an_orthogonal_map_and_to_scale():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 5))
    turned = 3 * x @ np.linalg.qr(rng.normal(size=(5, 5)))[0] + 100
    found = final_values(iv.CKA(), np.stack([x, turned, rng.normal(size=(30, 5))], axis=1))
    np.testing.assert_allclose(found["by_element"].values[0, :2], 1, rtol=1e-9)
    assert abs(found["by_element"].values[0, 2]) < 0.3


def test_unrelated_representations_align_to_zero_on_average_however_few_the_samples():
    rng = np.random.default_rng(0)
    found = [
        final_values(iv.CKA(), rng.normal(size=(6, 2, 8)))["by_element"].values[0, 1] for _ in range(200)
    ]
    assert np.mean(found) == pytest.approx(0, abs=4 * np.std(found) / 200**0.5)


def test_the_samples_with_the_smallest_hashes_are_the_ones_compared():
    responses = np.random.default_rng(0).normal(size=(50, 3, 4))
    measure = iv.CKA(samples=9)
    kept = np.argsort(drawn_words(np.arange(50), 0, Stream.KEPT_RESPONSE))[:9]
    expected = measure.oracle(responses[kept], None)
    for feeding in ({}, {"parts": (3, 20, 40)}, {"merge_at": 30}):
        found = final_values(measure, responses, **feeding)
        np.testing.assert_allclose(found["by_element"].values[0], expected["by_element"], rtol=1e-9)


def test_a_layer_that_never_changes_has_no_alignment_and_no_fit():
    responses = np.full((20, 3, 4), 0.1)
    for measure in (iv.CKA(), iv.FittedEquivariance()):
        found = final_values(measure, responses)
        assert np.isnan(found["by_element"].values).all()


def test_what_rounding_leaves_of_equal_responses_is_not_alignment():
    responses = np.full((24, 3, 4), 0.1)
    buckets = np.arange(24) % 2
    responses[buckets == 0] += np.random.default_rng(0).normal(size=(12, 3, 4))
    found = final_values(iv.CKA(), responses, buckets=buckets, groups=((0,), (1,)))["by_element"].values
    assert np.isfinite(found[:1]).all()
    assert np.isnan(found[1]).all()  # without the group that varies


def test_too_few_samples_have_no_alignment():
    assert np.isnan(final_values(iv.CKA(), np.random.default_rng(0).normal(size=(3, 3, 4)))[""].values).all()


def test_the_loss_is_split_without_a_rest_and_averaging_removes_the_part_it_should():
    data = DIGITS.images, DIGITS.labels
    network = net(outputs=10, size=28)
    plain = measured(network, data, iv.Twirl())
    parts = {name: value(plain, name) for name in ("loss", "twirled", "symmetry")}
    assert parts["loss"] == pytest.approx(parts["twirled"] + parts["symmetry"])
    assert 0 < value(plain) < 1
    averaged = measured(iv.OrbitAverage(nn.Sequential(network, nn.Softmax(1)), QUARTERS), data, iv.Twirl())
    assert value(averaged) == pytest.approx(0, abs=1e-9)
    assert value(averaged, "loss") == pytest.approx(parts["twirled"], rel=1e-5)


@pytest.mark.parametrize(
    ("outputs", "options", "labels", "message"),
    [
        (3, {}, None, "needs labels"),
        (3, {}, torch.full((24,), 7), "labels run from 7 to 7"),
        (1, {}, torch.zeros(24, dtype=torch.long), r"targets='values'"),
        (3, {"targets": "values"}, torch.zeros(24, dtype=torch.long), r"targets='classes'"),
    ],
)
def test_labels_that_cannot_be_compared_with_the_outputs_are_refused(outputs, options, labels, message):
    data = images() if labels is None else (images(), labels)
    with pytest.raises(ValueError, match=message):
        measured(net(outputs), data, iv.Twirl(**options))


def test_the_worst_element_is_found_and_its_distance_is_what_it_does():
    elements = iv.Elements([lambda x: x, lambda x: 1.1 * x, lambda x: -x, lambda x: 0.9 * x], identity=0)
    result = measured(nn.Conv2d(1, 3, 3, bias=False), images(), iv.WorstElement(), elements)
    assert value(result, "element") == 2
    for output in ("", "tail", "largest"):
        assert value(result, output) == pytest.approx(2, rel=1e-5)
    curve = result.curves[result.curves.measure == "worst_element.by_element"]
    np.testing.assert_allclose(curve.value, [0, 0.1, 2, 0.1], atol=1e-5)


def test_the_largest_of_equally_bad_elements_has_no_interval_and_a_clear_one_keeps_its_own():
    rng = np.random.default_rng(0)
    equal = rng.normal(1, 0.1, size=(9, 16))
    assert "chance decides which of" in chosen_by_chance(equal)
    clear = equal - np.where(np.arange(16) == 5, 0, 0.9)
    assert chosen_by_chance(clear) == ""
    assert chosen_by_chance(equal[:1]) == chosen_by_chance(np.full((9, 3), np.nan)) == ""
    # Elements that move equally are never distinguished by chance.
    assert chosen_by_chance(np.repeat(equal[:, :1], 16, axis=1)) == ""


def worst_covered(rng, rivals, draws=400, samples=64):
    """Whether an interval was issued, and whether it covers, for this many equally bad elements of eight."""
    group = np.arange(samples) // 2 % 8
    truth = np.where(np.arange(8) < rivals, 1.0, 0.7)
    issued, covered = np.zeros((2, draws), bool)
    for draw in range(draws):
        noise = 0.3 * rng.normal(size=(samples, 1)) + 0.4 * rng.normal(size=(samples, 8))
        gaps = truth * np.exp(noise - 0.125)
        means = np.stack(
            [gaps.mean(axis=0), *(gaps[group != left_out].mean(axis=0) for left_out in range(8))]
        )
        values, reach = means.max(axis=1), reach_of_largest(means)
        interval = jackknife(values[0], values[1:], np.bincount(group), reach=reach)
        issued[draw] = not chosen_by_chance(means)
        covered[draw] = interval.low <= 1 <= interval.high
    return issued.mean(), covered[issued].mean()


@pytest.mark.parametrize(("rivals", "least"), [(1, 0.99), (2, 0.97), (3, 0.9)])
def test_the_interval_of_the_worst_element_covers_also_if_several_are_as_bad(rivals, least):
    issued, covered = worst_covered(np.random.default_rng(rivals), rivals)
    assert issued >= least
    # Four hundred draws distinguish 95 % from 91 %.
    assert 0.92 <= covered <= 0.98


def test_the_interval_of_the_worst_element_is_as_wide_as_that_element_has_alone():
    ratios = np.array([[1.0, 1.01]] + [[1.03, 1.0], [0.98, 1.02]] * 4)
    values = ratios.max(axis=1)
    wide = jackknife(values[0], values[1:], [8] * 8, reach=reach_of_largest(ratios))
    assert wide.error == pytest.approx(jackknife(1.01, ratios[1:, 1], [8] * 8).error)
    assert reach_of_largest(ratios[:1]) == reach_of_largest(ratios[:, :1]) == 1


def test_a_tail_that_the_mean_hides_is_seen():
    responses = np.ones((40, 2, 1))
    responses[:4, 1] = 101.0
    found = final_values(iv.WorstElement(), responses)
    assert found[""].values[0] == pytest.approx(10)
    assert found["tail"].values[0] == pytest.approx(100)


def test_zero_responses_have_no_relative_distance_and_are_counted():
    responses = np.random.default_rng(0).normal(size=(5, 3, 2))
    responses[2, 0] = 0
    found = final_values(iv.WorstElement(), responses)
    without = iv.WorstElement().oracle(np.delete(responses, 2, 0), None)
    assert found["tail"].undefined == 3
    assert found["tail"].values[0] == pytest.approx(float(without["tail"]))
    assert found[""].undefined is None  # W includes all terms
    assert found[""].values[0] > float(without[""])  # its gaps count, over one norm less
    nothing = final_values(iv.WorstElement(), np.zeros((4, 3, 2)))
    assert all(np.isnan(values.values).all() for values in nothing.values())


def test_a_position_in_the_list_is_not_averaged_over_classes():
    result = measured(net(), (images(40), torch.arange(40) % 2), iv.WorstElement(), by_class=True)
    means = result.table[result.table.stratum == "mean"].measure.tolist()
    assert "worst_element" in means
    assert "worst_element.element" not in means


def test_the_gradient_norm_is_that_of_the_jacobian():
    model, x = net(outputs=4).double(), images(6).double()
    jacobians = [torch.autograd.functional.jacobian(model, sample[None]) for sample in x]
    exact = float(torch.stack([j.square().sum() for j in jacobians]).mean().sqrt())
    result = measured(model, x, iv.GradientNorm(draws=48))
    error = value(result, "probe_error", "3")
    assert value(result, "", "3") == pytest.approx(exact, abs=4 * error)
    assert error < 0.05 * exact


def test_the_standard_error_of_the_probes_is_what_other_draws_show():
    linear = nn.Sequential(nn.Flatten(), nn.Linear(64, 2, bias=False)).double()
    x = images(10).double()
    found = [rows(measured(linear, x, iv.GradientNorm(), seed=seed), "1") for seed in range(30)]
    norms = [row[""]["value"] for row in found]
    claimed = np.mean([row["probe_error"]["value"] for row in found])
    assert np.mean(norms) == pytest.approx(float(linear[1].weight.detach().norm()), rel=0.03)
    assert np.std(norms) == pytest.approx(claimed, rel=0.4)


def test_float32_is_enough_for_steps_of_the_default_size():
    x = images(16)
    ids = np.arange(16)  # the same draws, independent of the samples' bytes
    low = measured(net(), x, iv.GradientNorm(), ids=ids)
    high = measured(net().double(), x.double(), iv.GradientNorm(), ids=ids)
    for layer, output in itertools.product(("0", "1", "3"), ("", "relative", "probe_error")):
        assert value(low, output, layer) == pytest.approx(value(high, output, layer), rel=0.01)


def test_an_insensitive_network_is_told_from_an_invariant_one():
    x = images(64)
    invariant = measured(iv.OrbitAverage(net(), QUARTERS), x, iv.GradientNorm())
    plain = measured(net(), x, iv.GradientNorm())
    assert value(invariant, "moved_to_noisy", "mean") < 1e-4
    assert value(invariant, "noisy", "mean") > 0.3
    assert value(plain, "moved_to_noisy", "3") > 0.5


def test_inputs_that_cannot_be_displaced_are_refused():
    model = nn.Sequential(nn.Flatten(), Cast())
    whole = iv.Elements([lambda x: x, lambda x: x + 1], identity=0)
    with pytest.raises(TypeError, match=r"floating point; got torch\.int64"):
        measured(model, torch.randint(0, 9, (20, 1, 8, 8)), iv.GradientNorm(), whole)


class Cast(nn.Module):
    """Numbers as floating values."""

    def forward(self, x):
        return x.float()


def test_replicates_without_a_group_keep_the_others_halves():
    responses = np.random.default_rng(0).normal(size=(30, 3, 2))
    buckets = np.arange(30) % 2
    (sums,) = finals_of(iv.FittedEquivariance(), responses, buckets=buckets, groups=((0,), (1,)))
    (alone,) = finals_of(iv.FittedEquivariance(), responses[buckets == 1], indices=np.flatnonzero(buckets))
    np.testing.assert_array_equal(sums.count[1], alone.count[0])


@pytest.mark.parametrize(
    ("family", "options"),
    [
        (iv.EquivariancePSNR, {"peak": 0.0}),
        (iv.FittedEquivariance, {"ridge": 0.0}),
        (iv.FittedEquivariance, {"dims": 0}),
        (iv.CKA, {"samples": 3}),
        (iv.CKA, {"units": 0}),
        (iv.Twirl, {"targets": "class"}),
        (iv.GradientNorm, {"draws": 1}),
        (iv.GradientNorm, {"step": -1.0}),
    ],
)
def test_options_without_a_meaning_are_refused_with_what_came(family, options):
    ((name, given),) = options.items()
    with pytest.raises(ValueError, match=rf"{name}(.|\n)*{given}"):
        family(**options)
