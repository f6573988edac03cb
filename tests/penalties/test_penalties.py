"""Penalties are the measures of a batch, with gradients."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import invariscope as iv
from invariscope import penalties
from invariscope.zoo import load

TURNS = iv.QuarterTurns()
ANGLES = iv.Rotation.circle(6)


class Small(nn.Module):
    """A convolution, an activation in place, a functional operation and two flat layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.act = nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(inplace=True)
        self.fc, self.head = nn.Linear(3 * 36, 8), nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores of four classes."""
        maps = self.act(self.conv(x))
        return self.head(F.relu(self.fc(maps.flatten(1))))


def model_of(seed: int = 0) -> Small:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Small().double()


def images(samples: int = 24) -> torch.Tensor:
    digits = load("mnist_subset", samples=samples).images.double()
    return F.avg_pool2d(digits[:, :, 2:26, 2:26], 4)


def measured(transform, measure, column="value", **options):
    """{layer: value} of `iv.measure`, of the rows that are the measure's own."""
    result = iv.measure(
        model_of(), images(), transform, measures=measure, precision="float64", progress=False, **options
    )
    rows = result.table[result.table.measure == measure.label]
    return dict(zip(rows.layer, rows[column], strict=True))


def values(penalty, **options):
    return {layer: v.item() for (layer, _), v in penalty.by_layer(model_of(), images(), **options).items()}


def agree(found, expected):
    assert found.keys() == expected.keys()
    for layer in found:
        assert found[layer] == pytest.approx(expected[layer], rel=1e-9, abs=1e-12), layer


@pytest.mark.parametrize(("average", "column"), [("units", "value"), ("ratio", "value_ratio")])
@pytest.mark.parametrize("min_firing", [0, 20])
def test_normalized_variance_is_that_of_the_measure_in_every_layer(average, column, min_firing):
    expected = measured(ANGLES, iv.NormalizedVariance(min_firing=min_firing), column)
    penalty = penalties.NormalizedVariance(ANGLES, average=average, min_firing=min_firing)
    assert {"conv", "act", "fc", "relu", "head"} <= expected.keys()
    agree(values(penalty), expected)


DEVIATIONS = [
    {"kind": "latent"},
    {"kind": "latent", "distance": "l2", "exclude_identity": True},
    {"kind": "channelwise"},
    {"kind": "channelwise", "distance": "squared_l2", "reference": "twirl"},
    {"kind": "latent", "feature_action": "vector"},
]


@pytest.mark.parametrize("options", DEVIATIONS[:4])
@pytest.mark.parametrize("to_null", [False, True])
def test_deviations_are_those_of_the_measure(options, to_null):
    layers = ["conv", "act"] if options["kind"] == "channelwise" else None
    measure = iv.EquivarianceDeviation(**options)
    result = iv.measure(
        model_of(),
        [images()],  # a stream, whose pairs are neighbours
        TURNS,
        measures=measure,
        layers=layers,
        precision="float64",
        progress=False,
    )
    wanted = measure.row_name("to_null" if to_null else "")
    rows = result.table[result.table.measure == wanted]
    penalty = penalties.EquivarianceDeviation(TURNS, layers=layers, to_null=to_null, **options)
    agree(values(penalty), dict(zip(rows.layer, rows.value, strict=True)))


def test_a_divergence_of_outputs_is_that_of_the_measure():
    expected = measured(ANGLES, iv.EquivarianceDeviation(kind="output"))
    agree(values(penalties.EquivarianceDeviation(ANGLES, kind="output")), expected)


@pytest.mark.parametrize("kind", ["R", "D"])
def test_stability_is_that_of_the_measure_with_the_same_seed(kind):
    transform = iv.Rotation.circle(4, jitter_deg=5)
    result = iv.measure(
        model_of(),
        [images()],  # a stream, whose keys are positions
        transform,
        measures="stability",
        seed=3,
        precision="float64",
        progress=False,
        unstable="measure",
    )
    rows = result.table[result.table.measure == f"stability.{kind}"]
    found = values(penalties.Stability(transform, kind=kind, seed=3), step=0)
    agree(found, dict(zip(rows.layer, rows.value, strict=True)))


def test_drawn_elements_are_measured_as_if_they_were_all():
    penalty = penalties.NormalizedVariance(ANGLES, elements=3, seed=5)
    drawn = [penalty.drawn_elements(step) for step in range(20)]
    assert len(set(drawn)) > 5
    assert all(len(set(chosen)) == 3 for chosen in drawn)
    alone = iv.Rotation([ANGLES.degrees[j] for j in drawn[7]])
    agree(values(penalty, step=7), measured(alone, iv.NormalizedVariance(), "value_ratio"))


@pytest.mark.parametrize(
    "transform",
    [
        iv.Rotation.circle(5, jitter_deg=4),
        iv.Diffeomorphism(3, delta_px=0.55),
        iv.Grid(iv.Flip(), iv.Rotation([0, 20])),
    ],
)
def test_chosen_elements_move_a_sample_as_in_the_whole_transform(transform):
    from invariscope.transforms.machinery.chosen import Chosen

    x, indices = images(3), np.array([4, 0, 9])
    places = (len(transform) - 1, 0)
    whole = transform.orbit(x, indices=indices, seed=2)
    few = Chosen(transform, places)
    assert torch.equal(few.orbit(x, indices=indices, seed=2), whole[:, list(places)])
    assert few.labels == tuple(transform.labels[place] for place in places)


PENALTIES = [
    penalties.NormalizedVariance(ANGLES),
    penalties.NormalizedVariance(ANGLES, average="units"),
    *(penalties.EquivarianceDeviation(TURNS, layers="conv", **options) for options in DEVIATIONS[:4]),
    penalties.EquivarianceDeviation(TURNS, layers="conv", to_null=True),
    penalties.EquivarianceDeviation(ANGLES, kind="output"),
    penalties.EquivarianceDeviation(
        TURNS, layers="head", feature_action=iv.MatrixAction("regular"), distance="squared_l2"
    ),
    penalties.Stability(TURNS),
    penalties.Stability(TURNS, kind="D"),
]


@pytest.mark.parametrize("penalty", PENALTIES)
def test_gradients_agree_with_finite_differences(penalty):
    model, x = model_of(1), images(6)
    generator = torch.Generator().manual_seed(0)
    way = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in model.parameters()]
    penalty(model, x, step=0).backward()
    slope = sum(
        float((p.grad * w).sum()) for p, w in zip(model.parameters(), way, strict=True) if p.grad is not None
    )

    def at(distance: float) -> float:
        with torch.no_grad():
            for p, w in zip(model.parameters(), way, strict=True):
                p += distance * w
            value = penalty(model, x, step=0).item()
            for p, w in zip(model.parameters(), way, strict=True):
                p -= distance * w
        return value

    numeric = (at(1e-6) - at(-1e-6)) / 2e-6
    assert slope != 0
    assert slope == pytest.approx(numeric, rel=1e-5, abs=1e-9)


@pytest.mark.parametrize("penalty", PENALTIES)
def test_what_is_degenerate_gives_no_broken_gradient(penalty):
    model = model_of()
    with torch.no_grad():
        model.conv.weight.zero_(), model.conv.bias.fill_(-1.0), model.fc.weight.zero_()
        model.head.weight.zero_(), model.head.bias.zero_()
    loss = penalty(model, torch.zeros(4, 1, 6, 6, dtype=torch.float64), step=1)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
@pytest.mark.parametrize("penalty", PENALTIES)
def test_a_response_that_is_not_finite_makes_the_penalty_nan(penalty, bad):
    x = images().clone()
    x[5, 0, 2, 2] = bad
    assert penalty(model_of(), x, step=0).isnan()


def test_a_fixed_denominator_keeps_the_value_and_drops_its_part_of_the_gradient():
    x, found = images(), {}
    for fixed in (False, True):
        model = model_of()
        penalty = penalties.NormalizedVariance(ANGLES, layers="head", fixed_denominator=fixed)
        loss = penalty(model, x)
        loss.backward()
        # The ratio does not change with the size of the head, so that its gradient along it is zero.
        found[fixed] = loss.item(), sum(float((p.grad * p.detach()).sum()) for p in model.head.parameters())
    assert found[False][0] == found[True][0]
    assert found[False][1] == pytest.approx(0, abs=1e-12)
    assert found[True][1] == pytest.approx(2 * found[True][0], rel=1e-9)


def test_training_mode_is_kept_and_descent_lowers_what_is_measured():
    model, x = model_of().train(), images(48)
    penalty = penalties.NormalizedVariance(ANGLES, layers="fc", elements=3)
    before = iv.measure(model, x, ANGLES, layers="fc", progress=False).table.value_ratio.item()
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    for step in range(40):
        optimizer.zero_grad()
        penalty(model, x, step=step).backward()
        optimizer.step()
    assert model.training
    assert not model.conv._forward_hooks
    after = iv.measure(model, x, ANGLES, layers="fc", progress=False).table.value_ratio.item()
    assert after < 0.5 * before


def test_a_layer_read_before_an_activation_in_place_is_what_the_layer_gave():
    found = values(penalties.NormalizedVariance(TURNS, layers=["conv", "act"], min_firing=0))
    assert found["conv"] != found["act"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"average": "mean"}, "unknown average 'mean'"),
        ({"elements": 1}, "at least 2, or None; got 1"),
        ({"elements": 7}, "at most 6, the number of elements to draw from; got 7"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        penalties.NormalizedVariance(ANGLES, **options)


def test_a_part_of_a_group_has_no_regular_representation():
    with pytest.raises(ValueError, match="is defined on the whole group"):
        penalties.EquivarianceDeviation(TURNS, elements=2, feature_action="regular")


def test_an_action_is_not_fitted_to_one_batch():
    with pytest.raises(ValueError, match="needs many samples"):
        penalties.EquivarianceDeviation(TURNS, feature_action="fitted")


def test_calls_that_cannot_work_say_why():
    drawing, plain = (penalties.NormalizedVariance(ANGLES, elements=k) for k in (2, None))
    with pytest.raises(ValueError, match="pass step="):
        drawing(model_of(), images())
    with pytest.raises(ValueError, match="at least two; got 1"):
        plain(model_of(), images(1))
    with pytest.raises(ValueError, match=r"no layer matches 'cnv' in Small\. Closest: 'conv'"):
        penalties.NormalizedVariance(ANGLES, layers="cnv")(model_of(), images())
    with pytest.raises(TypeError, match="got function"):
        plain(lambda x: x, images())


def test_a_layer_without_the_batch_in_front_is_refused_by_name():
    torch.manual_seed(0)

    class Across(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).T

    model = nn.Sequential(Across(), nn.Linear(144, 3).double())
    with pytest.raises(ValueError, match=r"'0' has shape \(36, 144\)"):
        penalties.NormalizedVariance(ANGLES, layers="0")(model, images())
