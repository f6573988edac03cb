"""Contrastive training: its loss by hand, what it makes of an encoder, and that it repeats and resumes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import invariscope as iv
from invariscope.lab.training.contrastive import Pairs
from invariscope.zoo import build, contrastive, evaluate, load, nt_xent, train

FEW = load("mnist_subset", split="train", samples=256)
SHIFTS = iv.Translation([(dx, dy) for dx in (-1, 0, 1) for dy in (-1, 0, 1)])


def encoder(seed: int = 0) -> nn.Module:
    return build("simple_conv", filters=4, fc=16, seed=seed)


def brute_force(views: np.ndarray, temperature: float) -> float:
    """The loss, pair by pair, in float64."""
    n = len(views) // 2
    terms = []
    for k in range(2 * n):
        cosines = [z @ views[k] / np.linalg.norm(z) / np.linalg.norm(views[k]) for z in views]
        powers = [math.exp(cosine / temperature) for cosine in cosines]
        others = sum(power for place, power in enumerate(powers) if place != k)
        terms.append(-math.log(powers[(k + n) % (2 * n)] / others))
    return sum(terms) / len(terms)


@given(st.integers(2, 6), st.integers(1, 5), st.floats(0.1, 2), st.integers(0, 2**16))
def test_the_loss_is_the_definition_pair_by_pair(images, values, temperature, seed):
    views = np.random.default_rng(seed).normal(size=(2 * images, values))
    loss, _ = nt_xent(torch.from_numpy(views), temperature=temperature)
    assert float(loss) == pytest.approx(brute_force(views, temperature), rel=1e-9)


def test_views_that_coincide_cost_the_logarithm_of_all_other_views():
    loss, _ = nt_xent(torch.ones(10, 3))
    assert float(loss) == pytest.approx(math.log(9))


def test_pairs_are_found_by_the_nearest_other_view():
    ways = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    assert nt_xent(torch.cat([ways, ways]))[1] == 3
    assert nt_xent(torch.cat([ways, ways.roll(1, 0)]))[1] == 0


def deviation(model: nn.Module, transform: iv.Transform) -> float:
    """1 + E of the features over the same with another sample's reference."""
    data = load("mnist_subset", samples=128).standardized()
    measures = iv.EquivarianceDeviation()
    result = iv.measure(model, data, transform, measures=measures, layers="fc1_relu", progress=False)
    table = result.table.set_index("measure")
    return float(table.loc["equivariance_deviation.latent.to_null", "value"])


def test_an_encoder_becomes_more_invariant_to_its_own_views():
    model, turns = encoder(), iv.QuarterTurns()
    before = deviation(model, turns)
    trained = contrastive(
        model, FEW.standardized(), epochs=6, views=[SHIFTS, turns], intensity=0.2, batch_size=64, lr=3e-3
    )
    assert deviation(model, turns) < 0.6 * before
    losses = [record["loss"] for record in trained.history]
    assert losses[-1] < losses[0]
    assert trained.settings["intensity"] == 0.2
    assert [view["family"] for view in trained.settings["views"]] == ["translation", "quarter_turns"]


def test_the_head_stays_and_a_probe_trains_it_alone():
    model, data = encoder(), FEW.standardized()
    start = {name: value.clone() for name, value in model.state_dict().items()}
    contrastive(model, data, epochs=4, views=SHIFTS, batch_size=64, lr=3e-3)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, start[name])}
    assert changed == {name for name in start if not name.startswith("fc2.")}
    features = {name: value.clone() for name, value in model.state_dict().items()}
    before = evaluate(model, data)
    train(model, data, epochs=30, trainable="head", batch_size=32, lr=5e-2)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, features[name])}
    assert changed == {"fc2.weight", "fc2.bias"}
    assert evaluate(model, data) > before + 0.2


def test_a_view_changes_each_channel_of_each_image_by_a_factor_and_a_number_of_its_own():
    x = torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    seen = []

    def forward(views: torch.Tensor) -> torch.Tensor:
        seen.append(views)
        return views.flatten(1)

    objective = Pairs((), intensity=0.0, color=0.4, temperature=0.5)
    objective(forward, x, torch.zeros(6), torch.Generator().manual_seed(1))
    view, again = seen[0].chunk(2)
    before, after = x.view(18, -1).numpy(), view.view(18, -1).numpy()
    lines = [np.polyfit(a, b, 1) for a, b in zip(before, after, strict=True)]
    factors, shifts = np.array(lines).T
    fitted = x * torch.tensor(factors).view(6, 3, 1, 1) + torch.tensor(shifts).view(6, 3, 1, 1)
    torch.testing.assert_close(fitted.float(), view, atol=1e-5, rtol=1e-5)
    assert len({*factors.round(4)}) == len({*shifts.round(4)}) == 18
    assert 0.6 <= factors.min() < 0.8 < 1.2 < factors.max() <= 1.4
    assert -0.4 <= shifts.min() < -0.2 < 0.2 < shifts.max() <= 0.4
    assert not torch.equal(view, again)


def test_an_interrupted_training_goes_on_bit_for_bit(tmp_path):
    options = {"epochs": 2, "views": [SHIFTS], "intensity": 0.1, "batch_size": 64, "seed": 3}
    whole, parted, resumed = encoder(), encoder(), encoder()
    contrastive(whole, FEW, **options)

    def interrupt(at):
        if (at.epoch, at.batch) == (2, 2):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        contrastive(parted, FEW, checkpoint=tmp_path / "at", progress=interrupt, **options)
    contrastive(resumed, FEW, checkpoint=tmp_path / "at", **options)
    pairs = zip(whole.state_dict().values(), resumed.state_dict().values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
    with pytest.raises(ValueError, match=r"checkpoint of another training run: .*temperature"):
        contrastive(encoder(), FEW, checkpoint=tmp_path / "at", **options, temperature=0.2)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"views": []}, "give transforms as views"),
        ({"views": SHIFTS, "intensity": 1.0}, r"intensity and color must lie in \[0, 1\)"),
        ({"views": SHIFTS, "color": 1.0}, r"color must lie in \[0, 1\)"),
        ({"views": SHIFTS, "temperature": 0.0}, "temperature must be positive"),
        ({"views": SHIFTS, "projection": 0}, "projection must be an integer, at least 1; got 0"),
        ({"views": SHIFTS, "epochs": 0}, "epochs must be an integer, at least 1"),
    ],
)
def test_invalid_options_are_rejected(options, said):
    with pytest.raises(ValueError, match=said):
        contrastive(encoder(), FEW, **{"epochs": 1, **options})


def test_a_network_without_a_linear_layer_is_refused():
    with pytest.raises(ValueError, match="AllConv has none: take a network with one"):
        contrastive(build("all_conv"), FEW, epochs=1, views=SHIFTS)
