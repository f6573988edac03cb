"""Stability curves: oracle on arrays and a real network, closed forms, steps toward another sample."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_measure import compared, final_values, plain
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.common.draws import Stream, drawn_words
from invariscope.statistics.pairs import partners
from invariscope.statistics.probes import Batch, EqualNoise, TowardNeighbour
from invariscope.transforms.deformation_ladder import DeformationLadder

DIGITS = zoo.load("mnist_subset", samples=72)
LADDER = DeformationLadder((2e-4, 2e-3, 2e-2))


def net():
    return zoo.build("simple_conv", seed=3, filters=4).eval()


def curve_of(result, output, layer="output", measure="stability_curve"):
    rows = result.curves.query("measure == @measure + '.' + @output and layer == @layer")
    return rows.sort_values("element")


def every_input(x, transform, keys):
    """(sample, column, ...) orbit, noise and steps of samples in the order of the walk, as in one pass."""
    orbit = transform.orbit(x, keys=keys)
    batch = Batch(np.arange(len(x)), keys, partners(len(x)), seed=0)
    noisy, toward = (probe.inputs(x, orbit, batch=batch) for probe in (EqualNoise(), TowardNeighbour()))
    return torch.cat([orbit, noisy, toward], dim=1)


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(2, 9),
    elements=st.integers(2, 4),
    classes=st.integers(2, 5),
    scale=st.sampled_from([1e-6, 1.0, 1e5]),
    seed=st.integers(0, 10_000),
    cut=st.integers(1, 8),
)
@pytest.mark.parametrize("measure", [iv.StabilityCurve(), iv.LayerStabilityCurve()])
def test_any_array_gives_what_the_definition_says(measure, samples, elements, classes, scale, seed, cut):
    rng = np.random.default_rng(seed)
    outputs = scale * (rng.normal(size=(samples, 3 * elements, classes)) + rng.normal(size=classes))
    labels = rng.integers(0, classes, samples)
    found = final_values(measure, outputs, labels, parts=(min(cut, samples),))
    for values, expected in compared(found, measure.oracle(outputs, labels)):
        np.testing.assert_allclose(plain(values), expected, rtol=1e-8, atol=1e-12)


def responses(model, module, inputs):
    """(sample, column, unit...) responses of a module of the model."""
    kept = {}
    hook = module.register_forward_hook(lambda _, given, out: kept.update(out=out.detach()))
    with torch.no_grad():
        model(inputs.flatten(0, 1))
    hook.remove()
    return kept["out"].unflatten(0, inputs.shape[:2]).double().numpy()


@pytest.mark.parametrize(
    ("measure", "module", "layer"),
    [(iv.StabilityCurve(), "log_softmax", "output"), (iv.LayerStabilityCurve(), "conv2", "conv2")],
)
def test_a_network_on_digits_gives_what_the_definition_says_of_its_activations(measure, module, layer):
    keys = np.argsort(drawn_words(np.arange(len(DIGITS)), 0, Stream.RANK))
    model, x, labels = net(), DIGITS.images[keys], DIGITS.labels[keys].numpy()
    options = {"measures": measure, "layers": "conv2", "progress": False, "ids": np.arange(len(DIGITS))}
    result = iv.measure(model, DIGITS, LADDER, **options)
    # The oracle's element 0 is the untransformed input, which is not among the elements.
    thirds = torch.split(every_input(x, LADDER, keys), len(LADDER), dim=1)
    inputs = torch.cat([torch.cat([x[:, None], part], dim=1) for part in thirds], dim=1)
    expected = measure.oracle(responses(model, model.get_submodule(module), inputs), labels)
    assert {"D", "G", "R"} <= set(expected)
    for name, curve in expected.items():
        got = curve_of(result, name, layer, measure.name)["value"]
        np.testing.assert_allclose(got, curve[1:], rtol=2e-4, atol=1e-9, err_msg=name)


def test_a_step_that_arrives_at_the_other_sample_gives_exactly_one():
    # One-hot samples are √2 apart, and the element moves each of them by √2: ρ = 1 for every pair.
    x = torch.eye(12).reshape(12, 1, 3, 4)
    shift = torch.full((1, 3, 4), 2**0.5 / 12**0.5)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(12, 7), nn.Tanh(), nn.Linear(7, 4))
    steps = [lambda x: x + shift / 2, lambda x: x + shift]
    measures = [iv.StabilityCurve(), iv.LayerStabilityCurve()]
    result = iv.measure(model, x, steps, measures=measures, progress=False)
    for measure, layer in (("stability_curve", "output"), ("layer_stability_curve", "2")):
        half, whole = curve_of(result, "G_toward", layer, measure)["value"]
        assert whole == pytest.approx(1, abs=1e-6)
        assert abs(half - 1) > 0.05
    np.testing.assert_allclose(curve_of(result, "D")["x"], [2**0.5 / 2, 2**0.5], rtol=1e-6)


def test_on_an_orthogonal_network_g_over_r2_is_flat_and_r_is_one():
    torch.manual_seed(1)
    linear = nn.Linear(784, 784, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.linalg.qr(torch.randn(784, 784))[0])
    result = iv.stability_curve(nn.Sequential(nn.Flatten(), linear), DIGITS.images, radii=4, progress=False)
    x = DIGITS.images.flatten(1).double().numpy()
    apart = 2 * x.var(axis=0, ddof=1).sum()
    np.testing.assert_allclose(curve_of(result, "G_over_r2")["value"], 1 / apart, rtol=1e-5)
    gain = result.table.set_index("measure").value["stability_curve.gain"]
    assert gain == pytest.approx(1 / apart, rel=1e-5)
    np.testing.assert_allclose(curve_of(result, "R")["value"], 1, rtol=1e-5)


def test_the_bump_is_where_half_of_the_predictions_flip():
    # The class is the sign of the first pixel, of size 1, which element k moves by r_k: toward the border if
    # the second pixel is below a share, and away from it otherwise.
    x = torch.stack([torch.tensor([1.0, -1.0] * 40), (torch.arange(80) + 0.5) / 80], dim=1)
    torch.manual_seed(0)
    model = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        model.weight.copy_(torch.tensor([[1.0, 0.0], [-1.0, 0.0]]))

    def step(r, share):
        def moved(batch):
            first, second = batch.T
            return torch.stack(
                [torch.where(second < share, -first * (r - 1), first * (r + 1)), second], dim=1
            )

        return moved

    steps = [step(0.5, 0.0), step(2.0, 0.25), step(8.0, 0.75)]
    result = iv.measure(model, x, steps, measures="stability_curve", batch_size=1000, progress=False)
    np.testing.assert_allclose(curve_of(result, "flips")["value"], [0, 0.25, 0.75])
    bump = result.table.set_index("measure").value["stability_curve.bump"]
    assert bump == pytest.approx(4.0, rel=1e-6)  # halfway between 2 and 8 on a logarithmic scale


def test_a_bump_that_is_never_reached_has_no_value():
    torch.manual_seed(0)
    still = nn.Sequential(nn.Flatten(), nn.Linear(784, 3))
    with torch.no_grad():
        still[1].weight.mul_(1e-6)
    result = iv.stability_curve(still, DIGITS.images, radii=2, progress=False)
    bumps = result.table[result.table.measure.str.startswith("stability_curve.bump")]
    assert len(bumps) == 3
    assert bumps.value.isna().all()
    assert result.provenance["curve"]["shown_for"] == "largest"
    assert result.provenance["curve"]["shown_element"] == 1


def test_one_pass_serves_all_curves_and_keeps_images_of_the_radius():
    ids = np.arange(len(DIGITS))
    result = iv.stability_curve(net(), DIGITS, radii=5, layers="conv*", seed=2, ids=ids, progress=False)
    assert result.provenance["options"]["forwarded_inputs"] == 72 * (1 + 3 * 5)
    assert set(curve_of(result, "D", "conv1", "layer_stability_curve")["parameter"]) == {"radius"}
    for name in ("accuracy", "probability_noise", "flips_toward", "G_toward_over_r2"):
        rows = curve_of(result, name)
        assert len(rows) == 5
        assert (rows.ci_low <= rows.ci_high).all()
    shown = result.provenance["curve"]["shown_element"]
    ladder = DeformationLadder.spanning((28, 28), 5)
    keys = np.argsort(drawn_words(ids, 2, Stream.RANK))[:4]
    deformed = ladder.orbit(DIGITS.images[keys], keys=keys, seed=2)[:, shown]
    np.testing.assert_array_equal(result.examples["bump:deformed"], deformed.numpy())


@pytest.mark.parametrize("batch_size", [1, 1000])
def test_batches_change_nothing_beyond_the_forwards_rounding(batch_size):
    small, usual = (
        iv.stability_curve(net(), DIGITS, radii=3, batch_size=size, progress=False).curves
        for size in (batch_size, "auto")
    )
    np.testing.assert_allclose(small.value, usual.value, rtol=5e-4, atol=1e-6)
    np.testing.assert_allclose(small.x, usual.x, rtol=1e-6)


def test_given_temperatures_and_a_subset_are_taken():
    result = iv.stability_curve(net(), DIGITS, radii=[1e-3, 1e-2], samples=20, progress=False)
    assert result.provenance["transform"]["parameters"]["temperature"] == [1e-3, 1e-2]
    assert result.provenance["data"]["samples"] == 20


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(TypeError, match=r"needs floating-point images .* got samples of shape \(784,\)"):
        iv.stability_curve(net(), DIGITS.images.flatten(1))
    with pytest.raises(TypeError, match="sets measures= itself"):
        iv.stability_curve(net(), DIGITS, measures="anova")
    with pytest.raises(ValueError, match="size of the images must be known"):
        iv.stability_curve(net(), iter([DIGITS.images]))
    with pytest.raises(ValueError, match="no allowed range"):
        iv.stability_curve(net(), DIGITS.images[..., :8, :8], cutoff=6)
