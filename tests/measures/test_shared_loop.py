"""Measures that reduce whole orbits in other ways: laws, closed forms and real networks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_measure import added, block_of, columns_behind, final_values, finals_of
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.statistics.drawn_subset import drawn
from invariscope.statistics.projection import projected

ALL = [
    iv.Consistency(),
    iv.EquivariancePSNR(),
    iv.FittedEquivariance(),
    iv.CKA(),
    iv.Twirl(),
    iv.WorstElement(),
    iv.GradientNorm(),
]
ON_LAYERS = [measure for measure in ALL if measure.scope == "layers"]
NAMES = {"ids": lambda measure: measure.name}
QUARTERS = iv.QuarterTurns()


def images(n=24, size=8, channels=1, seed=0):
    return torch.randn(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def net(outputs=3, size=8):
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(4 * (size - 2) ** 2, outputs))


def to_images():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.Tanh(), nn.Conv2d(4, 1, 3, padding=1))


def measured(model, data, measure, transform=QUARTERS, **options):
    return iv.measure(model, data, transform, measures=measure, progress=False, **options)


def rows(result, layer=None):
    """Rows by the output's name, of one layer (by default the last)."""
    wanted = layer if layer is not None else result.rows[-1]["layer"]
    return {row["measure"].partition(".")[2]: row for row in result.rows if row["layer"] == wanted}


def value(result, output="", layer=None):
    return rows(result, layer)[output]["value"]


# Against the definition


@settings(max_examples=12, deadline=None)
@pytest.mark.parametrize("measure", ALL, **NAMES)
@given(seed=st.integers(0, 2**32 - 1), samples=st.integers(12, 30), log_offset=st.floats(-2, 3))
def test_any_responses_give_what_the_definition_gives(measure, seed, samples, log_offset):
    rng = np.random.default_rng(seed)
    elements, units = 4, (2, 3, 3) if measure.needs_action else (3,)
    columns = elements + sum(added(measure, elements).values())
    responses = rng.normal(size=(samples, columns, *units))
    if measure.scope != "output":
        responses += rng.normal(size=units) * 10**log_offset
    labels = rng.integers(0, 3, samples)
    cut = int(rng.integers(1, samples))
    found = final_values(measure, responses, labels, parts=(cut,), merge_at=cut)
    for output, expected in measure.oracle(responses, labels).items():
        np.testing.assert_allclose(found[output].values[0], expected, rtol=1e-6, atol=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
def test_numbers_to_be_predicted_give_what_the_definition_gives(seed):
    rng = np.random.default_rng(seed)
    outputs, targets = rng.normal(size=(9, 4, 1)), rng.normal(size=9)
    measure = iv.Twirl(targets="values")
    found = final_values(measure, outputs, targets, parts=(4,))
    for output, expected in measure.oracle(outputs, targets).items():
        np.testing.assert_allclose(found[output].values[0], expected, rtol=1e-9)


DIGITS = zoo.load("mnist_subset", samples=40)
SIMPLE = [
    iv.Consistency(),
    iv.Twirl(),
    iv.WorstElement(),
    iv.FittedEquivariance(dims=100),
    iv.CKA(units=5000),
    iv.GradientNorm(draws=2, step=0.01),
]


@pytest.mark.parametrize("measure", SIMPLE, **NAMES)
def test_a_networks_layers_get_what_the_definition_gives_for_their_activations(measure):
    network = zoo.build("simple_conv", input_shape=DIGITS.shape, classes=10, filters=4).double().eval()
    wanted = ["pool1", "fc1", "fc2"] if measure.name == "cka" else ["fc1", "fc2"]
    if measure.scope == "output":
        wanted = ["output"]
    activations = responses_of(network, measure, wanted)
    options = {} if measure.scope == "output" else {"layers": wanted}
    data = (DIGITS.images.double(), DIGITS.labels)
    result = measured(network, data, measure, **options)
    for layer in wanted:
        for output, expected in measure.oracle(activations[layer], DIGITS.labels.numpy()).items():
            found = value(result, output, layer)
            assert found == pytest.approx(float(np.nanmean(expected)), rel=1e-6, abs=1e-9), (layer, output)


def responses_of(network, measure, wanted):
    """Activations (sample, element and probe column, unit...) by layer, from hooks."""
    x, indices = DIGITS.images.double(), np.arange(len(DIGITS.images))
    orbit = QUARTERS.orbit(x)
    extra = [p.inputs(x, orbit, indices=indices, seed=0) for p in measure.probes if p.name != "identity"]
    rows = torch.cat([orbit, *extra], dim=1)
    kept = {}
    handles = [
        network.get_submodule(name).register_forward_hook(
            lambda _, __, out, name=name: kept.update({name: out})
        )
        for name in wanted
        if name != "output"
    ]
    with torch.no_grad():
        kept["output"] = network(rows.flatten(0, 1))
    for handle in handles:
        handle.remove()
    return {name: out.unflatten(0, rows.shape[:2]).numpy() for name, out in kept.items()}


def test_an_image_to_image_network_gets_what_the_definition_gives_for_its_outputs():
    model, x = to_images().double(), DIGITS.images.double()
    with torch.no_grad():
        outputs = model(QUARTERS.orbit(x).flatten(0, 1)).unflatten(0, (len(x), 4)).numpy()
    result = measured(model, x, iv.EquivariancePSNR())
    assert value(result) == pytest.approx(float(iv.EquivariancePSNR().oracle(outputs, None)[""]), rel=1e-9)


# What holds for all of them


def model_for(measure):
    return to_images() if measure.needs_action else net()


@pytest.mark.parametrize("measure", ALL, **NAMES)
def test_batches_change_nothing_beyond_the_forwards_rounding(measure):
    data = images(), torch.arange(24) % 3
    alone, together = (
        measured(model_for(measure).double(), (data[0].double(), data[1]), measure, batch_size=size)
        for size in (1, 1000)
    )
    np.testing.assert_allclose(alone.table.value, together.table.value, rtol=1e-6)
    np.testing.assert_allclose(alone.table.null, together.table.null, rtol=1e-6)


@pytest.mark.parametrize("measure", ALL, **NAMES)
def test_an_interval_stands_beside_every_number_that_can_have_one(measure):
    table = measured(model_for(measure), (images(96), torch.arange(96) % 3), measure).table
    single = {measure.row_name(output) for output in measure.single}
    several = table[~table.measure.isin(single)]
    assert len(several) > 0
    assert (several.ci_low <= several.ci_high).all()
    assert table[table.measure.isin(single)].ci_low.isna().all()


@pytest.mark.parametrize("measure", ALL, **NAMES)
def test_responses_that_are_no_numbers_are_refused_or_left_out_and_counted(measure):
    x = images(20)
    x[3, 0, 2, 2] = torch.nan
    data = x, torch.arange(20) % 3
    with pytest.raises(ValueError, match=r"NaN(.|\n)*in sample 3"):
        measured(model_for(measure), data, measure)
    result = measured(model_for(measure), data, measure, nonfinite="skip")
    assert result.table["value"].notna().all()
    assert any("1 samples with non-finite" in note for note in result.provenance["notes"])


@pytest.mark.parametrize("measure", ON_LAYERS, **NAMES)
def test_classes_alone_equal_a_run_on_the_class(measure):
    x, y = images(40), torch.arange(40) % 2
    together = measured(net(), (x, y), measure, by_class=True).table
    mine = together[together.stratum == "1"].set_index(["measure", "layer"])["value"]
    if measure.name in ("fitted_equivariance", "cka", "gradient_norm"):  # draws go by position in the data
        assert mine.notna().all()
    else:
        alone = measured(net(), x[y == 1], measure).table.set_index(["measure", "layer"])["value"]
        np.testing.assert_allclose(mine, alone, rtol=1e-5)


@pytest.mark.parametrize("measure", ALL, **NAMES)
def test_states_survive_being_packed(measure):
    rng = np.random.default_rng(0)
    columns = 4 + sum(added(measure, 4).values())
    responses = rng.normal(size=(6, columns, *((2, 3, 3) if measure.needs_action else (3,))))
    probes = columns_behind(measure, columns)
    block = block_of(responses, rng.integers(0, 3, 6), 0, 6, probes=probes)
    for statistic in measure.statistics():
        state = statistic.init(block, buckets=1)
        statistic.update(state, block)
        again = statistic.unpack(statistic.pack(state))
        statistic.update(again, block)
        statistic.update(state, block)
        for name, array in statistic.pack(state).items():
            np.testing.assert_array_equal(statistic.pack(again)[name], array)


@pytest.mark.parametrize("measure", ALL, **NAMES)
def test_responses_are_left_as_they_were(measure):
    columns = 4 + sum(added(measure, 4).values())
    responses = np.random.default_rng(0).normal(
        size=(8, columns, *((2, 3, 3) if measure.needs_action else (3,)))
    )
    before = responses.copy()
    final_values(measure, responses, np.arange(8) % 3, paired=True)
    np.testing.assert_array_equal(responses, before)


@pytest.mark.parametrize(
    ("measure", "shape"), [(iv.FittedEquivariance(dims=5), (20,)), (iv.CKA(samples=8, units=6), (20,))]
)
def test_memory_does_not_grow_with_the_samples(measure, shape):
    (statistic,) = measure.statistics()
    sizes = []
    for n in (30, 300):
        responses = np.random.default_rng(0).normal(size=(n, 3, *shape))
        block = block_of(responses, None, 0, n, probes={"identity": (0,)})
        state = statistic.init(block, buckets=1)
        statistic.update(state, block)
        sizes.append(sum(array.nbytes for array in statistic.pack(state).values()))
    assert sizes[0] == sizes[1]
    assert sizes[0] < 3 * statistic.bucket_bytes(20, 3)  # float64 responses, and small change


# One by one


class Constant(nn.Module):
    """The same output for everything."""

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


def test_the_identity_is_no_merit_of_the_network():
    only_identity_agrees = np.eye(4)[None, :, :].repeat(3, axis=0)
    found = final_values(iv.Consistency(), only_identity_agrees)
    assert found["untransformed"].values[0] == 0
    np.testing.assert_array_equal(found["by_element"].values[0], [1, 0, 0, 0])


def test_outputs_that_are_no_scores_are_refused_with_the_reason():
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
    pointwise = nn.Conv2d(1, 2, 1)  # its bias is where zeros came in, and t f(x) has zeros there
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
    kept = np.argsort(drawn(np.arange(50), 0))[:9]
    expected = measure.oracle(responses[kept], None)
    for feeding in ({}, {"parts": (3, 20, 40)}, {"merge_at": 30}):
        found = final_values(measure, responses, **feeding)
        np.testing.assert_allclose(found["by_element"].values[0], expected["by_element"], rtol=1e-9)


def test_a_layer_that_never_changes_has_no_alignment_and_no_fit():
    responses = np.full((20, 3, 4), 0.1)
    for measure in (iv.CKA(), iv.FittedEquivariance()):
        found = final_values(measure, responses)
        assert np.isnan(found["by_element"].values).all()


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
        (3, {}, None, "needs class labels"),
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


def test_a_tail_that_the_mean_hides_is_seen():
    responses = np.ones((40, 2, 1))
    responses[:4, 1] = 101.0
    found = final_values(iv.WorstElement(), responses)
    assert found[""].values[0] == pytest.approx(10)
    assert found["tail"].values[0] == pytest.approx(100)


def test_zero_responses_have_no_relative_distance_and_are_counted():
    responses = np.random.default_rng(0).normal(size=(5, 3, 2))
    responses[2, 0] = 0
    found = final_values(iv.WorstElement(), responses)[""]
    assert found.undefined == 3
    assert found.values[0] == pytest.approx(
        float(iv.WorstElement().oracle(np.delete(responses, 2, 0), None)[""])
    )
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
    assert np.mean(norms) == pytest.approx(float(linear[1].weight.norm()), rel=0.03)
    assert np.std(norms) == pytest.approx(claimed, rel=0.4)


def test_float32_is_enough_for_steps_of_the_default_size():
    x = images(16)
    low = measured(net(), x, iv.GradientNorm())
    high = measured(net().double(), x.double(), iv.GradientNorm())
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
    with pytest.raises(TypeError, match=r"floating values, got torch\.int64"):
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
