"""Relative errors of equivariance against brute force, on random arrays and a network's responses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_every_measure import final_values, plain
from torch import nn

import invariscope as iv
from invariscope.common.draws import Stream, drawn_words
from invariscope.zoo import build, load

TURNS = iv.QuarterTurns()


@settings(max_examples=25)
@given(arrays(np.float64, (5, 4, 4, 2, 2), elements=st.floats(-3, 3, width=16)), st.integers(1, 4))
def test_any_responses_have_the_errors_that_the_definition_gives(noise, cut):
    activations = noise + np.random.default_rng(0).uniform(4, 5, noise.shape)
    measure = iv.EquivarianceError(feature_action=("regular", "trivial"))
    found = final_values(measure, activations, parts=(cut,), merge_at=cut, paired=False)
    for output, expected in measure.oracle(activations, None).items():
        np.testing.assert_allclose(plain(found[output]), expected, rtol=1e-9)


@pytest.fixture(scope="module")
def responses():
    """Responses of the first layer of simple_conv to bundled digits and their quarter turns, from a hook."""
    images = torch.as_tensor(load("mnist_subset").images[:20]).float()
    model, kept = build("simple_conv").eval(), []
    model.conv1.register_forward_hook(lambda module, inputs, output: kept.append(output.detach()))
    with torch.no_grad():
        for turned in TURNS.orbit(images).unbind(1):
            model(turned)
    return model, images, torch.stack(kept, 1).double().numpy()


@pytest.mark.parametrize("action", ["spatial", "trivial"])
def test_a_networks_errors_are_those_of_its_responses(responses, action):
    model, images, activations = responses
    measure = iv.EquivarianceError(feature_action=action)
    result = iv.measure(model, images, TURNS, measures=measure, layers="conv1", progress=False)
    values = {row["measure"]: row["value"] for row in result.rows}
    expected = measure.oracle(activations, None)
    for output in ("", "largest", "element", "sample"):
        assert values[measure.row_name(output)] == pytest.approx(float(expected[output]), rel=1e-4)


def test_an_action_of_its_own_in_each_layer(responses):
    model, images, _ = responses

    def value(action, layer, **options):
        measure = iv.EquivarianceError(feature_action=action)
        result = iv.measure(model, images, TURNS, measures=measure, progress=False, **options)
        return next(r["value"] for r in result.rows if (r["measure"], r["layer"]) == (measure.label, layer))

    mixed = {"conv1": "spatial", "fc*": "trivial"}
    both = ["conv1", "fc2"]
    assert value(mixed, "conv1", layers=both) == value("spatial", "conv1", layers=both)
    assert value(mixed, "fc2", layers=both) == value("trivial", "fc2", layers=both)


def test_a_layer_that_no_pattern_names_is_left_out_with_the_reason(responses):
    model, images, _ = responses
    measure = iv.EquivarianceDeviation(feature_action={"conv1": "spatial"})
    result = iv.measure(model, images, TURNS, measures=measure, layers=["conv1", "fc2"], progress=False)
    (skipped,) = result.provenance["skipped"]
    assert skipped["layer"] == "fc2"
    assert "the mapping has no action for this layer: add 'fc2'" in skipped["reason"]


def test_the_best_of_several_actions_is_taken_and_the_others_are_told():
    torch.manual_seed(0)
    images = torch.rand(9, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    net = nn.Sequential(nn.Conv2d(1, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    measure = iv.EquivarianceError(feature_action=["regular", "spatial", "trivial"])
    result = iv.measure(net, images, TURNS, measures=measure, progress=False)
    chosen = {r["layer"]: int(r["value"]) for r in result.rows if r["measure"].endswith(".action")}
    assert (chosen["0"], chosen["2"]) == (1, 2)
    notes = {r["layer"]: r["note"] for r in result.rows if r["measure"] == measure.label}
    assert notes["0"].startswith("no interval: the smallest group has 0 of 8 samples")
    assert "; the action spatial fits best; regular: " in notes["0"]


def test_curves_hold_the_floor_of_every_element(responses):
    model, images, _ = responses
    transform = iv.Rotation([0, 90, 20])
    measure = iv.EquivarianceError(feature_action="trivial")
    result = iv.measure(
        model, images, transform, measures=measure, layers="conv1", floor=True, progress=False
    )
    points = [p for p in result.curve_rows if p["measure"] == measure.row_name("largest_by_element")]
    with torch.no_grad():
        still, back = (model.conv1(x).double() for x in (images, transform.round_trip(images)[:, 2]))
    gaps = (back - still).flatten(1).norm(dim=1) / still.flatten(1).norm(dim=1)
    assert points[1]["floor"] < 1e-6
    assert points[2]["floor"] == pytest.approx(float(gaps.max()), rel=1e-5)


SHAKY = [iv.Rotation([0, 90, 20]), iv.Translation([(0, 0), (0.5, 0.25), (2, 0)])]


@pytest.mark.parametrize("transform", SHAKY)
@pytest.mark.parametrize("action", ["spatial", "trivial"])
def test_the_floor_is_the_error_of_round_trips_by_brute_force(responses, transform, action):
    model, images, _ = responses
    measure = iv.EquivarianceError(feature_action=action)
    result = iv.measure(
        model, images, transform, measures=measure, layers="conv1", floor=True, progress=False
    )
    with torch.no_grad():
        still, *back = (model.conv1(x).double() for x in (images, *transform.round_trip(images).unbind(1)))
    back = torch.stack(back, 1)
    ones = torch.ones_like(back)
    if action == "spatial":  # content from outside the map is left out
        ones = transform.act(transform.act(ones, input_size=(28, 28)), inverse=True, input_size=(28, 28))
    kept = (ones >= 0.999).double()
    gaps, sizes = (((a * kept) ** 2).sum((2, 3, 4)).sqrt() for a in (back - still[:, None], still[:, None]))
    expected = (gaps / sizes)[:, 1:].numpy()
    floors = {row["measure"]: row.get("floor") for row in result.rows}
    assert floors[measure.label] == pytest.approx(expected.mean(), rel=1e-4)
    assert floors[measure.row_name("largest")] == pytest.approx(expected.max(), rel=1e-4)
    assert expected.mean() > 0.01


def test_positions_and_what_the_inputs_do_not_enter_have_no_floor(responses):
    model, images, _ = responses
    measure = iv.EquivarianceError(feature_action=["spatial", "trivial"])
    result = iv.measure(model, images, SHAKY[0], measures=measure, layers="conv1", floor=True, progress=False)
    without = {measure.output_of(row["measure"]) for row in result.rows if np.isnan(row.get("floor", np.nan))}
    assert without == {"element", "sample", "action", "action_by_element"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"feature_action": []}, "empty list"),
        ({"feature_action": "spatail"}, "Closest: 'spatial'"),
        ({"feature_action": {}}, "a mapping {name or glob: action}"),
        ({"of": "ouput"}, "Closest: 'output'"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        iv.EquivarianceError(**options)


def test_the_null_leaves_out_the_identity_as_the_error_does():
    torch.manual_seed(0)
    x = torch.rand(6, 1, 4, 4, dtype=torch.float64)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3, dtype=torch.float64))
    result = iv.measure(
        model, x, iv.QuarterTurns(), measures=[iv.EquivarianceError(feature_action="trivial")],
        layers="1", precision="float64", intervals=False, progress=False, ids=np.arange(6),
    )  # fmt: skip
    with torch.no_grad():
        turned = torch.stack([model(torch.rot90(x, k, (2, 3))) for k in range(4)], 1)
    walk = np.argsort(drawn_words(np.arange(6), 0, Stream.RANK))
    other = turned[walk.reshape(3, 2)[:, ::-1].ravel()[np.argsort(walk)], :1]  # the neighbour, untransformed
    shares = (turned - other).norm(dim=2) / other.norm(dim=2)
    row = next(row for row in result.rows if row["measure"].endswith("trivial"))
    assert row["null"] == pytest.approx(shares[:, 1:].mean().item(), rel=1e-12)


def test_every_curve_of_elements_stands_over_their_own_labels(responses):
    model, images, activations = responses
    measure = iv.EquivarianceError()
    result = iv.measure(model, images, TURNS, measures=measure, layers="conv1", progress=False)
    samples = result.curves[result.curves.measure == "equivariance_error.sample_by_element"]
    assert samples.label.tolist() == list(TURNS.labels)
    assert samples.x.tolist() == [0.0, 90.0, 180.0, 270.0]
    np.testing.assert_array_equal(samples.value, measure.oracle(activations, None)["sample_by_element"])
