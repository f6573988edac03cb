"""Lie derivatives: closed forms, real activations, and layers whose terms add up."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_every_measure import case_for, final_values
from torch import nn
from torch.autograd.functional import jacobian
from torch.autograd.functional import jvp as double_backward

import invariscope as iv
from invariscope import zoo
from invariscope.anatomy.forward_mode import NotForwardError, pushforward
from invariscope.anatomy.layer_gradients import traced
from invariscope.generators import Derivatives, UserFlow, as_generators
from invariscope.statistics.probes import Batch
from invariscope.zoo.networks import build

pytestmark = pytest.mark.usefixtures("seeded")

SPATIAL = ("translation_x", "translation_y", "rotation", "scale", "shear_x", "shear_y", "hyperbolic")


def blob(size, sigma, centre):
    """A Gaussian around a point in pixels from the centre, x right and y down, with its slopes."""
    grid = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    x, y = grid[None, :] - centre[0], grid[:, None] - centre[1]
    values = torch.exp(-(x**2 + y**2) / (2 * sigma**2))
    return values[None, None], -x / sigma**2 * values, -y / sigma**2 * values, grid


def closed_form(name, size, sigma, centre):
    """X of the blob: content that moves at velocity v changes by −v·∇."""
    _, slope_x, slope_y, grid = blob(size, sigma, centre)
    x, y = grid[None, :].expand(size, size), grid[:, None].expand(size, size)
    velocity = {
        "translation_x": (1 + 0 * x, 0 * x),
        "translation_y": (0 * x, 1 + 0 * x),
        "rotation": (y, -x),
        "scale": (x, y),
        "shear_x": (y, 0 * x),
        "shear_y": (0 * x, x),
        "hyperbolic": (y, x),
    }[name]
    return -(velocity[0] * slope_x + velocity[1] * slope_y)


def tangent(name, images, **options):
    (generator,) = as_generators(name)
    return generator.tangent(Derivatives(images, **options))


def jvp(function, inputs, moves):
    """The value and its derivative along the moves; unlike forward mode, without warnings."""
    return double_backward(function, inputs, moves)


def relative(found, expected):
    return float((found - expected).norm() / expected.norm())


@pytest.mark.parametrize("name", SPATIAL)
@pytest.mark.parametrize(
    ("size", "sigma", "centre", "most"), [(28, 2.5, (3.0, -2.0), 1e-2), (224, 4.0, (40.0, -25.0), 1e-3)]
)
def test_generators_move_blobs_as_the_closed_form_says(name, size, sigma, centre, most):
    images = blob(size, sigma, centre)[0]
    assert relative(tangent(name, images)[0, 0], closed_form(name, size, sigma, centre)) < most


@pytest.mark.parametrize(("sigma", "least"), [(4.0, 0.1), (1.4, 0.3)])
def test_the_published_derivative_is_tens_of_percent_off_on_such_blobs(sigma, least):
    centre = (3.0, -2.0)
    found = tangent("rotation", blob(28, sigma, centre)[0], interpolation="bilinear")
    expected = closed_form("rotation", 28, sigma, centre)  # the grid's unit is also a radian
    assert relative(found[0, 0], expected) > least


@pytest.mark.parametrize(
    ("size", "sigma", "centre", "most"),
    [(28, 2.5, (1.0, 2.0), 1e-2), (28, 2.5, (3.5, -3.5), 1e-2), (224, 4.0, (40.0, -25.0), 1e-3)],
)
def test_blur_is_the_heat_equation(size, sigma, centre, most):
    images, _, _, grid = blob(size, sigma, centre)
    squares = (grid[None, :] - centre[0]) ** 2 + (grid[:, None] - centre[1]) ** 2
    expected = (squares / sigma**4 - 2 / sigma**2) / 2 * images[0, 0]
    assert relative(tangent("blur", images)[0, 0], expected) < most
    assert relative(tangent("blur", images, interpolation="fourier")[0, 0], expected) < most


def test_curvatures_of_the_spline_are_exact_to_fourth_order_and_damp_every_wave():
    waves = np.arange(17) * np.pi / 16  # cosines that the mirrored edges preserve
    images = np.cos(np.arange(17)[None, :] * waves[:, None])
    found, _ = Derivatives(torch.from_numpy(images)[None, None]).second
    damping = (found[0, 0].numpy() / images)[:, 0]
    np.testing.assert_allclose(found[0, 0], damping[:, None] * images, atol=1e-12)
    assert (damping[1:] < 0).all()
    assert damping[-1] == pytest.approx(-8)  # of the shortest wave
    long = slice(1, 5)
    error = np.abs(damping[long] / -(waves[long] ** 2) - 1)
    assert (error < waves[long] ** 4 / 150).all()


def test_rotation_turns_counter_clockwise_like_the_transform():
    images = blob(29, 3.0, (5.0, 1.0))[0]
    turned = iv.Rotation([-0.5, 0.5]).orbit(images)[0]
    assert relative(tangent("rotation", images)[0], (turned[1] - turned[0]) / np.radians(1)) < 0.1


def test_shifts_and_scales_go_the_way_of_the_transforms():
    images = blob(29, 3.0, (5.0, 1.0))[0]
    moved = iv.Translation([(-0.5, 0.0), (0.5, 0.0)]).orbit(images)[0]
    grown = iv.Scale([0.98, 1.02]).orbit(images)[0]
    assert relative(tangent("translation_x", images)[0], moved[1] - moved[0]) < 0.1
    assert relative(tangent("scale", images)[0], (grown[1] - grown[0]) / np.log(1.02 / 0.98)) < 0.1


def test_the_spline_goes_on_flat_beyond_the_edges():
    images = torch.rand(1, 1, 6, 7, dtype=torch.float64)
    slope, _ = Derivatives(images).first
    assert slope[..., [0, -1]].abs().max() < 1e-12


def test_fourier_slopes_are_exact_for_waves():
    place = torch.arange(16, dtype=torch.float64) * 2 * np.pi / 16
    slope, _ = Derivatives(torch.sin(3 * place).expand(1, 1, 4, 16), "fourier").first
    torch.testing.assert_close(slope[0, 0, 0], 3 * 2 * np.pi / 16 * torch.cos(3 * place))


@pytest.mark.parametrize("size", [9, 28])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_legacy_derivative_is_that_of_automatic_differentiation_through_bilinear_sampling(size, dtype):
    image = torch.rand(1, 1, size, size, dtype=dtype, generator=torch.Generator().manual_seed(0))

    def turned(t):
        rows = [torch.stack([t.cos(), t.sin(), 0 * t]), torch.stack([-t.sin(), t.cos(), 0 * t])]
        grid = nn.functional.affine_grid(torch.stack(rows)[None], [1, 1, size, size], align_corners=True)
        return nn.functional.grid_sample(image, grid, padding_mode="border", align_corners=True)

    expected = jacobian(turned, torch.zeros((), dtype=dtype))
    found = tangent("rotation", image, interpolation="bilinear")
    inside = slice(1, -1)
    error = (found.abs() - expected.abs())[..., inside, inside].abs()
    assert (error > 1e-3).double().mean() < 0.02  # torch may round a position to the other side of a pixel


@settings(max_examples=20)
@given(seed=st.integers(0, 2**16), samples=st.integers(2, 6), cut=st.integers(0, 4))
def test_random_responses_give_the_oracle_s_values(seed, samples, cut):
    for measure in iv.LieDerivative.examples():
        activations, _ = case_for(measure, seed=seed, samples=samples)
        found = final_values(measure, activations, parts=(min(cut, samples),))
        for output, expected in measure.oracle(activations, None).items():
            np.testing.assert_allclose(found[output].values[0], expected, rtol=1e-9, err_msg=output)


@pytest.fixture(scope="module")
def digits():
    return zoo.load("mnist_subset", samples=24).images


@pytest.fixture(scope="module")
def simple_conv():
    return build("simple_conv", filters=4, fc=8).eval()


def test_real_activations_give_the_oracle_s_values(simple_conv, digits):
    measure, turns = iv.LieDerivative(), iv.QuarterTurns()
    layers = ["conv1", "relu2", "fc1", "log_softmax"]
    result = iv.measure(simple_conv, digits, turns, measures=[measure], layers=layers, progress=False)
    keys = np.arange(len(digits))
    batch = Batch(keys, keys, np.full(len(digits), -1), seed=0)
    along = measure.probes[1].inputs(digits, digits[:, None], batch=batch)
    inputs = torch.cat([digits[:, None], along], dim=1)
    kept = {}
    for name, module in simple_conv.named_children():
        module.register_forward_hook(lambda m, a, out, name=name: kept.update({name: out.clone()}))
    with torch.no_grad():
        simple_conv(inputs.flatten(0, 1))
    for layer in layers:
        activations = kept[layer].unflatten(0, inputs.shape[:2]).double().numpy()
        rows = result.table[result.table["layer"] == layer].set_index("measure")["value"]
        for output, expected in measure.oracle(activations, None).items():
            # The engine's batches differ, and a rounding error of 1e-7 is divided by the step.
            np.testing.assert_allclose(rows[f"lie_derivative.{output}"], expected, rtol=0.02)


def test_the_difference_agrees_with_automatic_differentiation(digits):
    torch.manual_seed(0)
    smooth = nn.Sequential(nn.Conv2d(1, 4, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(576, 5))
    smooth, digits = smooth.double(), digits.double()
    result = iv.measure(
        smooth, digits, iv.QuarterTurns(), measures=[iv.LieDerivative()], layers=["2", "4"], progress=False
    )
    rows = result.table.set_index(["measure", "layer"])["value"]
    for name in ("translation_y", "rotation", "scale"):
        maps, change = jvp(smooth[:3], (digits,), (tangent(name, digits),))
        (generator,) = as_generators(name)
        change = change - generator.tangent(Derivatives(maps.detach()), input_size=(28, 28))
        _, ends = jvp(smooth, (digits,), (tangent(name, digits),))
        assert rows[f"lie_derivative.{name}", "2"] == pytest.approx(float(change.square().mean()), rel=1e-5)
        assert rows[f"lie_derivative.{name}", "4"] == pytest.approx(float(ends.square().mean()), rel=1e-5)


def test_elements_that_nobody_reads_are_not_forwarded(simple_conv, digits):
    measure = iv.LieDerivative(generators="rotation")
    alone, beside = (
        iv.measure(simple_conv, digits, iv.Rotation.circle(8), measures=measures, progress=False)
        for measures in ([measure], [measure, iv.NormalizedVariance()])
    )
    forwarded = [result.provenance["options"]["forwarded_inputs"] for result in (alone, beside)]
    assert forwarded == [24 * 3, 24 * 10]
    assert alone.provenance["transform"] == beside.provenance["transform"]
    rows = by_name(beside)
    for name, value in by_name(alone).items():
        assert value == pytest.approx(rows[name], rel=1e-2)  # other batches, with other rounding


def test_a_linear_layer_has_the_closed_form(digits):
    flat = nn.Sequential(nn.Flatten(), nn.Linear(784, 3)).double()
    result = iv.measure(
        flat, digits.double(), iv.QuarterTurns(), measures=[iv.LieDerivative()], layers="1", progress=False
    )
    moved = tangent("rotation", digits.double()).flatten(1) @ flat[1].weight.detach().T
    value = result.table.set_index("measure")["value"]["lie_derivative.rotation"]
    assert value == pytest.approx(float(moved.square().mean()), rel=1e-9)


def by_name(result):
    return result.table.set_index(["measure", "layer"])["value"]


def test_a_circular_convolution_commutes_with_shifts_of_images_that_repeat(digits):
    circular = nn.Conv2d(1, 3, 5, padding=2, padding_mode="circular").double()
    measure = iv.LieDerivative(interpolation="fourier", generators=["translation_x", "rotation"])
    found = by_name(
        iv.measure(circular, digits.double(), iv.QuarterTurns(), measures=[measure], progress=False)
    )
    assert found["lie_derivative.translation_x", "Conv2d"] < 1e-18
    assert found["lie_derivative.rotation", "Conv2d"] > 1e-6


def test_invariant_networks_have_none_and_others_do(digits):
    class Invariant(nn.Module):
        def forward(self, x):
            return torch.stack([x.mean((1, 2, 3)), x.square().mean((1, 2, 3))], dim=1)

    measure = iv.LieDerivative(generators=["translation_x", "scale"], interpolation="fourier")
    found = by_name(
        iv.lie_derivative(Invariant(), digits, generators=measure.generators, interpolation="fourier")
    )
    assert found["lie_derivative.translation_x", "output"] < 1e-25
    assert found["lie_derivative.scale", "output"] > 1e-6


def test_terms_of_a_sequential_network_add_up_to_the_derivative_of_the_whole(simple_conv, digits):
    generators = ("rotation", "translation_x", "intensity", "blur")
    result = iv.lie_derivative(simple_conv, digits, generators=generators)
    table, double = result.table, copy.deepcopy(simple_conv).double()
    for name in generators:
        _, change = jvp(double, (digits.double(),), (tangent(name, digits.double()),))
        whole = float(change.square().mean())
        assert by_name(result)[f"lie_derivative.{name}", "output"] == pytest.approx(whole, rel=1e-5)
        shares = table[table["measure"] == f"lie_derivative.{name}.share"]
        assert "(other operations)" not in set(shares["layer"])
        assert shares["value"].sum() == pytest.approx(whole, rel=1e-5)
        products = result.maps[f"lie_derivative.{name}.products", "output"]
        assert products.sum() == pytest.approx(whole, rel=1e-5)
        terms = table[table["measure"] == f"lie_derivative.{name}.term"]["value"]
        np.testing.assert_allclose(np.diag(products), terms)
        assert terms.sum() != pytest.approx(whole, rel=0.05)  # norms do not add up


def test_one_layer_s_term_is_its_own_derivative_pushed_through_the_rest(simple_conv, digits):
    double, few = copy.deepcopy(simple_conv).double(), digits[:4].double()
    names = [name for name, _ in double.named_children()]
    at = names.index("relu2")
    before = double[:at](few).detach()
    (turn,) = as_generators("rotation")
    after, pushed = jvp(double[at], (before,), (turn.tangent(Derivatives(before)),))
    own = pushed - turn.tangent(Derivatives(after.detach()))
    _, term = jvp(double[at + 1 :], (after.detach(),), (own,))
    found = by_name(iv.lie_derivative(simple_conv, digits[:4], generators="rotation"))
    expected = float(term.square().mean())
    assert found["lie_derivative.rotation.term", "relu2"] == pytest.approx(expected, rel=1e-9)


class Branching(nn.Module):
    """A shared module, a residual sum, an operation in place, a functional end."""

    def __init__(self):
        super().__init__()
        self.conv, self.act, self.head = nn.Conv2d(2, 2, 3, padding=1), nn.ReLU(inplace=True), nn.Linear(2, 3)
        self.stem = nn.Conv2d(1, 2, 3, padding=1)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.conv(self.act(self.conv(x)))
        x.mul_(2)
        return self.head(torch.tanh(x).mean((2, 3)))


def test_branches_shared_modules_and_operations_add_up_too(digits):
    torch.manual_seed(1)
    model = Branching()
    result = iv.lie_derivative(model, digits, generators="rotation")
    _, change = jvp(
        copy.deepcopy(model).double(), (digits.double(),), (tangent("rotation", digits.double()),)
    )
    table = result.table
    shares = table[table["measure"] == "lie_derivative.rotation.share"].set_index(["layer", "call"])["value"]
    assert shares.sum() == pytest.approx(float(change.square().mean()), rel=1e-9)
    assert {("conv", 0), ("conv", 1), ("add", 0), ("tanh", 0), ("mean", 0)} <= set(shares.index)
    assert abs(shares["add", 0]) < 1e-12 * shares.abs().max()  # sums of maps move with them
    assert not any(module._forward_hooks for module in model.modules())


def test_random_directions_estimate_what_all_outputs_give(digits):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    found = iv.lie_derivative(model, digits, generators="rotation", probes=64)
    row = found.rows[0]
    (turn,) = as_generators("rotation")
    double = copy.deepcopy(model).double()
    y, change = jvp(double, (digits.double(),), (turn.tangent(Derivatives(digits.double())),))
    expected = float((change - turn.tangent(Derivatives(y.detach()))).square().mean())
    assert 0 < row["probe_error"] < 0.1 * expected
    assert abs(row["value"] - expected) < 4 * row["probe_error"]


def test_directions_do_not_depend_on_the_batch(digits):
    model = nn.Conv2d(1, 2, 3)
    one, other = (
        iv.lie_derivative(model, digits, generators="scale", probes=3, batch_size=size) for size in (5, 24)
    )
    np.testing.assert_allclose(one.table["value"], other.table["value"], rtol=1e-9)


def test_single_precision_is_near(simple_conv, digits):
    exact, near = (
        by_name(iv.lie_derivative(simple_conv, digits, generators="rotation", precision=precision))
        for precision in ("float64", "float32")
    )
    name = ("lie_derivative.rotation", "output")
    assert near[name] == pytest.approx(exact[name], rel=1e-3)


def test_the_output_alone_has_the_same_value(simple_conv, digits):
    whole = iv.lie_derivative(simple_conv, digits, layerwise=False, generators="rotation")
    layers = iv.lie_derivative(simple_conv, digits, generators="rotation")
    assert len(whole.table) == 1
    assert whole.table["value"][0] == pytest.approx(layers.table["value"][0], rel=1e-9)


@pytest.mark.parametrize("precision", ["float64", "float32"])
def test_the_output_alone_needs_no_random_directions_however_large_it_is(digits, precision):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU())
    options = {"generators": "rotation", "layerwise": False, "precision": precision}
    (row,) = iv.lie_derivative(model, digits, **options).rows
    (turn,) = as_generators("rotation")
    double, images = copy.deepcopy(model).double(), digits.double()
    y, change = jvp(double, (images,), (turn.tangent(Derivatives(images)),))
    expected = float((change - turn.tangent(Derivatives(y.detach()))).square().mean())
    assert row["value"] == pytest.approx(expected, rel=1e-9 if precision == "float64" else 1e-4)
    assert "probe_error" not in row


class Doubled(torch.autograd.Function):
    """An operation with a gradient but without a forward derivative."""

    @staticmethod
    def forward(ctx, x):
        return 2 * x

    @staticmethod
    def backward(ctx, gradient):
        return 2 * gradient


class BackwardOnly(nn.Module):
    def __init__(self, inner):
        super().__init__()
        self.inner = inner

    def forward(self, x):
        return Doubled.apply(self.inner(x))


def test_what_has_no_forward_derivative_is_differentiated_backwards(simple_conv, digits):
    with pytest.raises(NotForwardError, match="jvp"):
        pushforward(BackwardOnly(simple_conv))(digits.double(), digits.double())
    twice, once = (
        by_name(iv.lie_derivative(model, digits, layerwise=False, generators="rotation"))
        for model in (BackwardOnly(simple_conv), simple_conv)
    )
    name = ("lie_derivative.rotation", "output")
    assert twice[name] == pytest.approx(4 * once[name], rel=1e-9)


def test_an_output_cut_off_from_the_input_is_refused(digits):
    class Cut(nn.Module):
        def forward(self, x):
            return x.detach().flatten(1)[:, :3]

    with pytest.raises(ValueError, match="gradients cannot reach"):
        iv.lie_derivative(Cut(), digits, layerwise=False)


def test_results_have_intervals_and_come_back_from_disk(tmp_path, digits):
    images = digits.repeat(6, 1, 1, 1) * torch.linspace(0.5, 1, 144)[:, None, None, None]
    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2))
    result = iv.lie_derivative(model, images, generators="rotation", label="linear")
    table = result.table
    assert (table["ci_low"] <= table["value"]).all()
    assert (table["value"] <= table["ci_high"]).all()
    result.save(tmp_path / "run")
    assert iv.load(tmp_path / "run").table.equals(table)


def test_a_user_s_flow_is_a_generator(tmp_path, digits):
    def brighter(x, t):
        return x + t

    model = nn.Sequential(nn.Flatten(), nn.Linear(784, 2)).double()
    expected = float(model[1].weight.detach().sum(1).square().mean())
    result = iv.measure(
        model,
        digits.double(),
        iv.QuarterTurns(),
        measures=[iv.LieDerivative(generators=[brighter, "rotation"])],
        layers="1",
        progress=False,
    )
    assert by_name(result)["lie_derivative.brighter", "1"] == pytest.approx(expected, rel=1e-6)
    result.save(tmp_path / "run")
    iv.load(tmp_path / "run")
    direct = iv.lie_derivative(model, digits, generators=UserFlow(brighter, "light"))
    assert by_name(direct)["lie_derivative.light", "output"] == pytest.approx(expected, rel=1e-6)


def test_maps_of_half_the_size_move_half_the_pixels():
    images = blob(28, 2.5, (1.0, 2.0))[0]
    result = iv.measure(
        nn.AvgPool2d(2),
        torch.cat([images, images.mT]),
        iv.QuarterTurns(),
        measures=[iv.LieDerivative(generators=("translation_x", "rotation", "scale"))],
        progress=False,
    )
    pooled = nn.functional.avg_pool2d(images, 2)
    for name in ("translation_x", "rotation", "scale"):
        change = nn.functional.avg_pool2d(tangent(name, images), 2)
        assert by_name(result)[f"lie_derivative.{name}", "AvgPool2d"] < 0.02 * float(change.square().mean())
    assert pooled.shape[-1] == 14


def test_a_trivial_action_asks_for_invariance(digits):
    measures = [iv.LieDerivative(generators="rotation", action="trivial")]
    result = iv.measure(nn.Identity(), digits.double(), iv.QuarterTurns(), measures=measures, progress=False)
    expected = float(tangent("rotation", digits.double()).square().mean())
    assert result.table["value"][0] == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"generators": "rotatoin"}, "unknown generator 'rotatoin'. Closest: 'rotation'"),
        ({"generators": []}, "got none"),
        ({"generators": ["scale", "scale"]}, "got 'scale' 2 times"),
        ({"interpolation": "bicubic"}, "unknown interpolation 'bicubic'"),
        ({"preset": "lee"}, "unknown preset 'lee'"),
        ({"preset": "legacy_lee", "interpolation": "spline"}, "implies interpolation='bilinear'"),
        ({"preset": "legacy_lee", "generators": ["blur"]}, "blur needs second derivatives"),
        ({"action": "regular"}, "unknown action 'regular'"),
        ({"step": 0}, "must be positive; got 0"),
    ],
)
def test_options_that_do_not_exist_are_refused(options, message):
    with pytest.raises(ValueError, match="(?s)" + message.replace(".", r"\.")):
        iv.LieDerivative(**options)


def test_what_is_not_an_image_is_refused(digits):
    flat = nn.Linear(784, 2)
    with pytest.raises(TypeError, match=r"images \(n, C, H, W\)"):
        iv.measure(flat, digits.flatten(1), iv.Noise(3), measures=["lie_derivative"], progress=False)
    with pytest.raises(TypeError, match=r"images \(n, C, H, W\).*got \(24, 784\)"):
        iv.lie_derivative(flat, digits.flatten(1))
    with pytest.raises(TypeError, match="got function"):
        iv.lie_derivative(lambda x: x, digits)
    with pytest.raises(ValueError, match="probes must be an integer, at least 1"):
        iv.lie_derivative(flat, digits, probes=0)
    with pytest.raises(TypeError, match="got int"):
        iv.LieDerivative(generators=[3])
    with pytest.raises(ValueError, match="must keep the shape"):
        iv.lie_derivative(nn.Flatten(), digits, generators=lambda x, t: x[:, :, 1:])


def test_a_model_that_watching_would_change_is_refused(digits):
    class InPlace(nn.Module):
        def forward(self, x):
            y = x * 2
            nn.functional.relu(y - 1, inplace=True)
            z = y - 0.5
            nn.functional.relu(z, inplace=True)  # the return value is not used
            return z.flatten(1)

    run = traced(InPlace())
    with pytest.raises(ValueError, match="output changes when its layers are recorded"):
        run(digits)
