"""Measures that reduce whole orbits in other ways: oracles and real networks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_measure import added, block_of, columns_behind, final_values
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.statistics.probes import Batch

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
    """Rows of one layer (by default the last) by output name."""
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


@pytest.mark.parametrize("batches", [False, True])
def test_numbers_to_be_predicted_are_not_classes(batches):
    torch.manual_seed(0)
    x, y = images(9), torch.rand(9, generator=torch.Generator().manual_seed(3))
    model = nn.Sequential(nn.Flatten(), nn.Linear(x[0].numel(), 1))
    data = [(x[:4], y[:4]), (x[4:], y[4:])] if batches else (x, y)
    result = measured(model, data, iv.Twirl(targets="values"))
    with torch.no_grad():
        outputs = model(QUARTERS.orbit(x).flatten(0, 1)).unflatten(0, (9, 4)).double().numpy()
    for output, expected in iv.Twirl(targets="values").oracle(outputs, y.double().numpy()).items():
        assert value(result, output) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(ValueError, match=r"one integer per sample; got float32"):
        measured(model, data, iv.Twirl(targets="values"), by_class=True)


@pytest.mark.parametrize("measure", [iv.Prediction(), iv.Twirl()])
def test_numbers_to_be_predicted_are_refused_where_classes_are_needed(measure):
    x, y = images(8), torch.rand(8, generator=torch.Generator().manual_seed(3))
    for data in ((x, y), [(x[:4], y[:4]), (x[4:], y[4:])]):
        with pytest.raises(ValueError, match="one integer per sample"):
            measured(net(), data, measure)


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
    options = {"ids": np.arange(len(DIGITS))}
    options |= {} if measure.scope == "output" else {"layers": wanted}
    data = (DIGITS.images.double(), DIGITS.labels)
    result = measured(network, data, measure, **options)
    for layer in wanted:
        for output, expected in measure.oracle(activations[layer], DIGITS.labels.numpy()).items():
            found = value(result, output, layer)
            moved = expected[1:] if expected.ndim else expected  # nothing changes at the identity
            assert found == pytest.approx(float(np.nanmean(moved)), rel=1e-6, abs=1e-9), (layer, output)


def responses_of(network, measure, wanted):
    """Activations (sample, element and probe column, unit...) by layer, from hooks."""
    x, keys = DIGITS.images.double(), np.arange(len(DIGITS))
    orbit, batch = QUARTERS.orbit(x), Batch(keys, keys, np.full(len(x), -1), seed=0)
    extra = [p.inputs(x, orbit, batch=batch) for p in measure.probes if p.name != "identity"]
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
    result = measured(model_for(measure), (images(96), torch.arange(96) % 3), measure)
    single = {measure.row_name(n) for n, output in measure.outputs().items() if not output.interval}
    for row in result.rows:
        assert row["ci_low"] <= row["corrected"] <= row["ci_high"] or "no interval" in row["note"], row
    assert any(row["ci_low"] <= row["ci_high"] for row in result.rows if row["measure"] not in single)
    table = result.table
    assert table[table.measure.isin(single)].ci_low.isna().all()
    assert (table.corrected.isna() == table.ci_low.isna()).all()


@pytest.mark.parametrize("measure", ALL, **NAMES)
def test_responses_that_are_not_numbers_are_refused_or_left_out_and_counted(measure):
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
    if measure.name in ("fitted_equivariance", "cka", "gradient_norm"):  # drawn by position in the data
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
    assert sizes[0] < 3 * statistic.bucket_bytes(20, 3)  # float64 responses plus overhead
