"""Assertions about symmetry: what passes, what is found, and how it is said."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.checking.session import Session, using
from invariscope.variants.orbit_average import OrbitAverage

pytestmark = pytest.mark.usefixtures("seeded")

TURNS = iv.QuarterTurns()
C4_LAYERS = ["conv1", "relu1", "pool1", "conv2", "relu2", "conv3", "relu3", "pool", "fc", "log_softmax"]


def broken(assertion, *arguments, **options):
    """The error of an assertion that does not hold."""
    with pytest.raises(iv.SymmetryError) as caught:
        assertion(*arguments, **options)
    return caught.value


def pointwise(channels=3):
    """1×1 convolutions: they follow any motion of the image."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, channels, 1), nn.ReLU(), nn.Conv2d(channels, 2, 1))


@pytest.mark.parametrize("precision", ["float32", "bf16", "float64"])
def test_a_network_that_is_equivariant_by_construction_passes(c4, images, precision):
    verdict = iv.assert_equivariant(c4(), images, TURNS, precision=precision)
    assert [layer.layer for layer in verdict.layers] == C4_LAYERS
    assert [layer.action for layer in verdict.layers[:7]] == ["regular"] * 7
    assert verdict.broken == ()
    assert iv.assert_invariant(c4(), images, TURNS, precision=precision).broken == ()


@pytest.mark.parametrize(
    ("layer", "precision"),
    [("conv1", "float32"), ("conv2", "float32"), ("conv2", "bf16"), ("conv3", "float32")],
)
def test_one_wrong_weight_tie_is_found_in_its_layer(c4, images, layer, precision):
    error = broken(iv.assert_equivariant, c4(slipped=layer), images, TURNS, precision=precision)
    first = error.verdict.broken[0]
    assert first.layer == layer
    assert first.worst.error > 0.2
    assert str(error).startswith(f"layer {layer!r} (Slipped) is the first that is not equivariant: relative ")
    assert f"layer {C4_LAYERS.index(layer) + 1} of 10" in str(error)


def test_a_mapping_from_layers_to_actions_checks_the_layers_it_names(c4, images):
    actions = {"conv*": "regular", "fc": "trivial"}
    verdict = iv.assert_equivariant(c4(), images, TURNS, feature_action=actions)
    assert {layer.layer: layer.action for layer in verdict.layers} == {
        "conv1": "regular",
        "conv2": "regular",
        "conv3": "regular",
        "fc": "trivial",
    }
    error = broken(iv.assert_equivariant, c4(), images, TURNS, feature_action={"conv2": "spatial"})
    assert [layer.layer for layer in error.verdict.broken] == ["conv2"]


def test_a_layer_that_repeats_another_is_judged_by_its_own_action(images):
    model = nn.Sequential(pointwise(), nn.Identity())
    actions = {"0.2": "spatial", "1": "trivial"}
    error = broken(iv.assert_equivariant, model, images, TURNS, feature_action=actions)
    assert [layer.layer for layer in error.verdict.broken] == ["1"]
    same = iv.assert_equivariant(model, images, TURNS, feature_action={"0.2": "spatial", "1": "spatial"})
    assert [layer.layer for layer in same.layers] == ["0.2", "1"]
    assert same.layers[0].mean == same.layers[1].mean


def test_a_wrong_direction_is_told_from_the_elements_that_are_their_own_inverses(c4, images):
    backwards = iv.FibreAction(iv.Group.of(TURNS).regular()[[0, 3, 2, 1]])
    said = str(broken(iv.assert_equivariant, c4(), images, TURNS, feature_action={"conv1": backwards}))
    assert "elements     of 3 elements, 2 break: '90°', '270°'; 1 holds: '180°', each its own" in said
    slipped = str(broken(iv.assert_equivariant, c4("conv2"), images, TURNS))
    assert "own inverse" not in slipped


@pytest.mark.parametrize(
    ("below", "said"),
    [
        (1e-3, "tolerance    0.001, as given\n"),
        (1e-9, r"tolerance    1e-09, as given; less than the .* for rounding \(float32, "),
    ],
)
def test_a_given_tolerance_below_rounding_is_called_so(c4, images, below, said):
    model = c4("conv2") if below == 1e-3 else c4()
    assert re.search(said, str(broken(iv.assert_equivariant, model, images, TURNS, below=below)))


def test_a_given_tolerance_below_the_effect_of_interpolation_is_called_so(images):
    angles = iv.Rotation([0, 90, 20])
    said = str(
        broken(iv.assert_equivariant, pointwise(), images, angles, feature_action="spatial", below=1e-3)
    )
    assert "tolerance    0.001, as given; this element is inexact, which" in said
    assert "elements     of 2 elements, 1 breaks: '20°'; 1 holds: '90°'\n" in said


def test_images_whose_last_axis_looks_like_channels_raise_a_doubt():
    class Last(nn.Module):
        def forward(self, x):
            return x.movedim(-1, 1).mean((2, 3))

    colour = torch.rand(16, 8, 8, 3, generator=torch.Generator().manual_seed(0))
    said = str(broken(iv.assert_invariant, Last(), colour, iv.Flip()))
    assert "inputs       (8, 8, 3) is read as (channel, row, column). If channels come last," in said
    assert "next         iv.assert_equivariant with the same" in said
    right = broken(iv.assert_invariant, nn.Sequential(nn.Flatten()), colour.movedim(-1, 1), iv.Flip())
    assert "channels come last" not in str(right)


def test_a_type_that_a_module_declares_is_offered_unless_actions_are_named(images):
    class Typed(nn.Conv2d):
        irreps_out = "1x0e"

    model = nn.Sequential(Typed(1, 2, 3))
    said = str(broken(iv.assert_equivariant, model, images, TURNS))
    assert "types        0 declares its own, which is not checked here: feature_action={'0': iv.Mat" in said
    named = broken(iv.assert_equivariant, model, images, TURNS, feature_action="spatial")
    assert "declares" not in str(named)


def test_the_message_names_the_pair_that_the_replay_line_gives_again(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    jittered = iv.Rotation([0, 90, 45], jitter_deg=10)
    error = broken(iv.assert_invariant, model, images, jittered, samples=9, seed=5, below=0.01)
    worst = error.verdict.broken[0].worst
    line = re.search(r"transform\.orbit\(.*\]", str(error))[0]
    moved = eval(line, {"transform": jittered, "inputs": images})
    with torch.no_grad():
        still, found = model(images[worst.sample][None]), model(moved[None])
    assert worst.error == pytest.approx(float((found - still).norm() / still.norm()), rel=1e-4)
    assert "seed=5, samples=9, or pytest --invariscope-seed 5 --invariscope-samples 9" in str(error)
    assert f"element      {worst.element}, {jittered.labels[worst.element]!r} (angle_deg=" in str(error)


def test_the_error_is_the_largest_over_all_samples_and_elements(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4)).double()
    with torch.no_grad():
        orbit = model(TURNS.orbit(images.double()).flatten(0, 1)).unflatten(0, (24, 4))
    gaps = (orbit - orbit[:, :1]).norm(dim=2) / orbit[:, :1].norm(dim=2)
    worst = broken(iv.assert_invariant, model, images.double(), TURNS).verdict.broken[0].worst
    assert worst.error == pytest.approx(float(gaps.max()), rel=1e-9)
    assert (worst.sample, worst.element) == divmod(int(gaps.argmax()), 4)


def test_the_same_seed_finds_the_same_and_a_session_gives_the_seed_that_is_not_named(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))

    def worst(**options):
        return broken(iv.assert_invariant, model, images, TURNS, **options).verdict.broken[0].worst

    heard = []
    once = worst(seed=3, samples=6)
    with using(Session(seed=3, samples=6, on_verdict=heard.append)):
        assert worst() == once
        assert worst(seed=4).sample != once.sample
    assert worst(samples=6) != once
    assert len(heard) == 2
    assert heard[0].startswith("Sequential invariant (1 layer): broken at output; output ")


def test_interpolation_alone_does_not_fail_and_exact_elements_get_none_of_its_tolerance(images):
    turns = iv.Rotation([0, 90, 20])
    assert iv.assert_equivariant(pointwise(), images, turns).broken == ()
    torch.manual_seed(0)
    oriented = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1))
    worst = broken(iv.assert_equivariant, oriented, images, turns).verdict.broken[0].worst
    assert (worst.element, "and back" in worst.reason) == (1, False)


def test_the_floor_in_the_tolerance_is_the_worst_round_trip(images):
    model, turn = nn.Sequential(nn.Flatten()), iv.Rotation([0, 20])
    worst = broken(iv.assert_invariant, model, images, turn, below=0).verdict.broken[0].worst
    verdict = iv.assert_invariant(OrbitAverage(nn.Flatten(), TURNS), images, iv.Rotation([0, 90]))
    assert verdict.broken == ()
    back = turn.round_trip(images)[:, 1]
    floor = float(((back - images).flatten(1).norm(dim=1) / images.flatten(1).norm(dim=1)).max())
    derived = broken(iv.assert_invariant, model, images, turn).verdict.broken[0].worst
    assert derived.allowed == pytest.approx(floor, rel=1e-3)
    assert f"{floor:.2g} for transforming the input and back" in derived.reason
    assert worst.allowed == 0


def test_an_orbit_average_is_invariant_and_its_model_is_not(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 16), nn.Tanh(), nn.Linear(16, 3))
    assert iv.assert_invariant(OrbitAverage(model, TURNS), images, TURNS).broken == ()
    assert broken(iv.assert_invariant, model, images, TURNS).verdict.broken[0].layer == "output"


def test_what_is_allowed_is_the_largest_that_passes(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    error = broken(iv.assert_invariant, model, images, TURNS).verdict.broken[0].worst.error
    assert iv.assert_invariant(model, images, TURNS, below=error).broken == ()
    broken(iv.assert_invariant, model, images, TURNS, below=error * (1 - 1e-9))


def test_an_error_is_shown_with_the_digits_that_tell_it_from_what_is_allowed(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    error = broken(iv.assert_invariant, model, images, TURNS).verdict.broken[0].worst.error
    for below in (error * (1 - 1e-5), error * (1 - 1e-12), error / 2):
        said = str(broken(iv.assert_invariant, model, images, TURNS, below=below))
        found, allowed = re.search(r"relative error (\S+), (\S+) allowed", said).groups()
        assert float(found) > float(allowed)
        assert float(found) == pytest.approx(error, rel=0.01)
        assert f"tolerance    {below:.6g}, as given\n" in said
    assert f"relative error {error:.3g}, {error / 2:.2g} allowed" in said


def test_a_tolerance_of_one_part_is_one_number(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    said = str(broken(iv.assert_invariant, model, images, TURNS))
    allowed = re.search(r", (\S+) allowed", said)[1]
    assert f"tolerance    {allowed} for rounding (float32, " in said
    said = str(broken(iv.assert_invariant, model, images, iv.Rotation([0, 20])))
    allowed = re.search(r", (\S+) allowed", said)[1]
    assert re.search(
        rf"tolerance    {allowed}: \S+ for rounding \(.*\) \+ \S+ for transforming the input and back\n", said
    )


def test_the_named_layers_alone_are_checked(c4, images):
    verdict = iv.assert_invariant(c4(), images, TURNS, layers=["pool", "fc"])
    assert [layer.layer for layer in verdict.layers] == ["pool", "fc"]
    error = broken(iv.assert_invariant, c4(), images, TURNS, layers=["conv3", "pool"])
    assert [layer.layer for layer in error.verdict.broken] == ["conv3"]


def test_a_layer_with_a_number_for_a_name_is_told_with_its_module_and_every_action_that_was_tried(images):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU())
    said = str(broken(iv.assert_equivariant, model, images, TURNS))
    assert said.startswith("layer '0' (Conv2d) is the first that is not equivariant")
    assert "equivariant, by any of the actions 'spatial', 'regular', 'trivial'; '" in said
    assert "also broken  1 (ReLU) " in said
    alone = str(broken(iv.assert_equivariant, model, images, TURNS, feature_action="spatial"))
    assert "expected     equivariant, action 'spatial'\n" in alone


def test_a_dead_layer_does_not_pass(images):
    model = pointwise()
    with torch.no_grad():
        model[0].bias.fill_(-100.0)
    error = broken(iv.assert_equivariant, model, images, TURNS)
    assert str(error).startswith(
        "layer '1' (ReLU) returns 0 for every input, so it cannot be shown to be equivariant"
    )


def test_a_tolerance_that_another_sample_would_pass_too_is_said_to_show_nothing(images):
    model = nn.Sequential(nn.Flatten(), nn.Linear(144, 4))
    with torch.no_grad():
        model[1].bias.fill_(1e7)
    verdict = iv.assert_invariant(model, images, TURNS)
    assert verdict.layers[0].inconclusive
    assert verdict.summary.endswith("tolerance above the null, so inconclusive: output")
    with torch.no_grad():
        model[1].bias.zero_()
    averaged = iv.assert_invariant(OrbitAverage(model, TURNS), images, TURNS)
    assert "inconclusive" not in averaged.summary


def test_a_verdict_holds_the_measured_result(c4, images):
    verdict = iv.assert_equivariant(c4(), images, TURNS, layers="conv*")
    row = verdict.result.table.query("layer == 'conv2'").iloc[0]
    assert row["value"] == verdict.layers[1].mean


SQUARES = torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0))
CALLABLES = [lambda x: x, lambda x: -x]
REFUSED = [
    (
        "regular",
        iv.Rotation([0, 30]),
        {},
        ValueError,
        "needs a finite group, but the elements do not form one",
    ),
    ("spatial", CALLABLES, {"below": 0.1}, TypeError, r"Declare them: Elements\(\[...\], actions="),
    (None, CALLABLES, {"below": 0.1}, TypeError, r"Declare them: Elements\(\[...\], actions="),
    (None, CALLABLES, {}, ValueError, "no tolerance can be derived.*Give below="),
    ({"cnov": "spatial"}, TURNS, {}, ValueError, "unknown layer of feature_action 'cnov'. Closest: 'conv'"),
    ({"conv": "spatail"}, TURNS, {}, ValueError, "unknown feature action 'spatail'. Closest: 'spatial'"),
    (3, TURNS, {}, TypeError, "got int"),
    (None, TURNS, {"layers": "cnov"}, ValueError, "no layer matches 'cnov'.*Closest: 'conv'"),
    (None, TURNS, {"seed": "a"}, ValueError, "seed must be an integer, at least 0; got .a."),
    (None, TURNS, {"below": -1}, ValueError, "below must be a relative error.*got -1"),
    (None, TURNS, {"below": 10**400}, ValueError, "below must be a relative error.*got 1000"),
    (None, TURNS, {"below": float("nan")}, ValueError, "below must be a relative error.*got nan"),
    (None, TURNS, {"seed": -1}, ValueError, "seed must be an integer"),
    ([[[1.0]], [[1.0]]], TURNS, {}, TypeError, "feature_action must be 'trivial'"),
    (iv.FibreAction([[[1.0]], [[-1.0]]]), TURNS, {}, ValueError, "got 2 for a transform of 4"),
]


class Named(nn.Module):
    """A layer for maps and a flat one."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(1, 3, 1), nn.Linear(3, 2)

    def forward(self, x):
        return self.head(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(("action", "transform", "options", "kind", "said"), REFUSED)
def test_what_cannot_be_checked_is_refused_with_what_to_do(action, transform, options, kind, said):
    with pytest.raises(kind, match=said):
        iv.assert_equivariant(Named(), SQUARES, transform, feature_action=action, **options)


def test_an_action_that_a_layer_does_not_have_is_refused_by_the_layers_name():
    with pytest.raises(
        ValueError, match=r"layer 'mean' does not have the action 'spatial'.*layers=.*'trivial'"
    ):
        iv.assert_equivariant(Named(), SQUARES, TURNS, feature_action="spatial")
    with pytest.raises(ValueError, match="applies to none of the 1 layers") as caught:
        iv.assert_equivariant(Named(), SQUARES, TURNS, feature_action="spatial", layers="head")
    assert "feature_action=" in caught.value.__notes__[0]


@pytest.mark.parametrize("assertion", [iv.assert_invariant, iv.assert_equivariant])
def test_elements_that_do_not_fit_the_data_are_refused(assertion):
    flat = nn.Sequential(nn.Linear(6, 2))
    with pytest.raises(TypeError, match=r"QuarterTurns acts on images.*got shape"):
        assertion(flat, torch.rand(8, 6), TURNS)
    with pytest.raises((TypeError, ValueError), match="5"):
        assertion(flat, torch.rand(8, 6), iv.Permutations.cyclic(5))
    with pytest.raises(ValueError, match="inspected before they are measured: pass an array"):
        assertion(Named(), iter([SQUARES]), TURNS)


@pytest.mark.parametrize("assertion", [iv.assert_invariant, iv.assert_equivariant])
@pytest.mark.parametrize("shape", [(1, 1, 6, 6), (1, 6, 6)], ids=["one image", "no batch axis"])
def test_one_sample_is_too_few_for_the_null_and_may_lack_the_batch_axis(assertion, shape):
    with pytest.raises(ValueError, match="got 1 sample of shape") as caught:
        assertion(pointwise(), torch.rand(shape), TURNS)
    said = str(caught.value)
    assert f"of shape {shape[1:]}: the null compares each response with another sample's" in said
    assert "at least two are needed. Samples are counted along the first axis; if it is missing" in said
    assert "varian" not in said
    assert "interval" not in said


@pytest.mark.parametrize("colours", [1, 3])
def test_images_whose_last_axis_is_a_channel_axis_are_asked_about(colours):
    images = torch.rand(4, 28, 28, colours)
    with pytest.raises(ValueError, match="got 28 × ") as caught:
        iv.assert_invariant(pointwise(), images, TURNS)
    said = str(caught.value)
    assert f"Do channels come last, (n, H, W, {colours})? Then move them: x.movedim(-1, 1)." in said
    assert TURNS.orbit(images.movedim(-1, 1)).shape == (4, 4, colours, 28, 28)
    with pytest.raises(ValueError, match="got 28 × 20") as caught:
        iv.assert_invariant(pointwise(), torch.rand(4, 1, 28, 20), TURNS)
    assert "channels" not in str(caught.value)


def test_points_are_checked_under_rotations_of_space():
    class Norms(nn.Module):
        def forward(self, x):
            return x.norm(dim=-1)

    points = torch.randn(8, 5, 3, generator=torch.Generator().manual_seed(0))
    rotations = iv.RandomOrthogonal(4)
    assert iv.assert_invariant(Norms(), points, rotations, below=1e-5).broken == ()
    broken(iv.assert_invariant, nn.Sequential(nn.Linear(3, 2)), points, rotations, below=1e-5)


@pytest.mark.parametrize(
    ("ending", "said"),
    [
        (
            lambda h: {"logits": h.mean((2, 3)), "features": h},
            r"several tensors .*: \['logits'\] .*; \['features'\]",
        ),
        (lambda h: None, "returns no tensor"),
        (lambda h: h.mean((2, 3)).argmax(1), "int64"),
    ],
    ids=["several", "none", "integers"],
)
def test_an_output_that_is_not_one_tensor_of_numbers_is_refused(ending, said):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 2, 1)

        def forward(self, x):
            return ending(self.conv(x))

    with pytest.raises(TypeError, match=said):
        iv.assert_invariant(Net(), torch.rand(4, 1, 6, 6), iv.QuarterTurns())


def test_errors_about_actions_name_a_layer_once_and_print_no_mapping():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.act, self.fc = nn.ReLU(), nn.Linear(16, 2)

        def forward(self, x):
            return self.fc(self.act(self.act(x)).flatten(1))

    images = torch.rand(8, 1, 4, 4)
    with pytest.raises(ValueError, match="unknown layer of feature_action 'ac'") as caught:
        iv.assert_equivariant(Twice(), images, TURNS, feature_action={"ac": "spatial"})
    assert str(caught.value).count("'act'") == 1
    actions = {"act": "spatial", "fc": "spatial"}
    with pytest.raises(ValueError, match="layer 'fc' does not have the action 'spatial': ") as caught:
        iv.assert_equivariant(Twice(), images, TURNS, feature_action=actions)
    assert "'act'" not in str(caught.value)
    with pytest.raises(
        ValueError, match="layer 'fc' has no action: the mapping has no action for this layer"
    ):
        iv.assert_equivariant(Twice(), images, TURNS, feature_action={"act": "spatial"}, layers="*")


class EnergyAndForces(nn.Module):
    """An energy of the distances of points, and its forces, by name."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            self.linear = nn.Linear(1, 8)

    def forward(self, points):
        with torch.enable_grad():
            points = points.detach().requires_grad_(True)
            squares = (points[:, :, None] - points[:, None]).pow(2).sum(-1, keepdim=True)
            energy = torch.tanh(self.linear(squares)).sum((1, 2, 3))
            forces = -torch.autograd.grad(energy.sum(), points)[0]
        return {"energy": energy.detach(), "forces": forces.detach()}


def test_a_selection_that_may_miss_the_fault_says_how_many_earlier_layers_it_left_out(c4, images):
    some = ["conv1", "conv3", "pool"]
    said = str(broken(iv.assert_equivariant, c4("conv2"), images, TURNS, layers=some))
    assert re.match(r"layer 'conv3' \(\w+\) is the first checked layer that is not equivariant", said)
    place = int(re.search(r"layer (\d+) of 10", said)[1])
    left_out = f"; {place - 2} earlier layers were not checked and may break it first"
    assert re.search(rf"all earlier checked ones hold; .*{left_out}", said)
    alone = str(broken(iv.assert_equivariant, c4("conv2"), images, TURNS, layers="conv3"))
    assert re.match(r"layer 'conv3' \(\w+\) is not equivariant", alone)
    assert "earlier layers were not checked" in alone
    whole = str(broken(iv.assert_equivariant, c4("conv2"), images, TURNS))
    assert "not checked" not in whole
    invariance = str(broken(iv.assert_invariant, c4(), images, TURNS, layers="conv3"))
    assert "not checked" not in invariance  # that earlier layers are not invariant is no fault


@pytest.mark.parametrize("named", [False, True], ids=["by the actions", "by layers="])
def test_parts_of_the_output_have_actions_by_their_names(named):
    points = torch.randn(16, 5, 3, generator=torch.Generator().manual_seed(0)).double()
    actions = {"EnergyAndForces[forces]": "spatial", "EnergyAndForces": "trivial"}
    layers = list(actions) if named else None
    model, turns = EnergyAndForces().double(), iv.RandomOrthogonal(3)
    verdict = iv.assert_equivariant(model, points, turns, feature_action=actions, layers=layers)
    found = {layer.layer: layer.action for layer in verdict.layers}
    assert found == {"EnergyAndForces": "trivial", "EnergyAndForces[forces]": "spatial"}
    reasons = [layer.worst.reason for layer in verdict.layers if layer.worst]
    assert any("for transforming the input and back" in reason for reason in reasons)
    assert not any("interpolat" in reason for reason in reasons)  # points have no grid
    wrong = actions | {"EnergyAndForces[forces]": "trivial"}
    error = broken(iv.assert_equivariant, model, points, turns, feature_action=wrong, layers=layers)
    assert "EnergyAndForces[forces]" in str(error)
    assert iv.assert_invariant(model, points, turns, output="energy").broken == ()


def test_an_action_for_an_unknown_part_names_the_closest_ones():
    points = torch.randn(4, 5, 3, generator=torch.Generator().manual_seed(0))
    with pytest.raises(
        ValueError, match=r"unknown layer .*'EnergyAndForces\[force\]'\. Closest: 'EnergyAndForces\["
    ):
        iv.assert_equivariant(
            EnergyAndForces(),
            points,
            iv.RandomOrthogonal(3),
            feature_action={"EnergyAndForces[force]": "spatial"},
        )
