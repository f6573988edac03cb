"""Assertions and limits on models that draw random numbers: what chance causes is subtracted."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.checking.limits import Limit
from invariscope.checking.outcomes import judged

TURNS = iv.QuarterTurns()


class Dropping(nn.Module):
    """Dropout that stays on, before a pool that sees the whole map or, if broken, its top only."""

    def __init__(self, *, broken: bool) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc, self.broken = nn.Conv2d(1, 16, 1), nn.Linear(16, 4), broken

    def forward(self, x: Tensor) -> Tensor:
        maps = nn.functional.dropout(self.conv(x).relu(), 0.3, training=True)
        return self.fc(maps[:, :, :3].mean((2, 3)) if self.broken else maps.mean((2, 3)))


def images(count: int = 64) -> Tensor:
    fall = torch.linspace(0, 2, 8)[:, None]  # brighter below, so that turns matter to half of an image
    return fall + torch.rand(count, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def checked(model: nn.Module, **options):
    return iv.assert_invariant(model, images(), TURNS, **{"repeats": 8, "below": 0.05} | options)


@pytest.mark.parametrize("seed", range(5))
def test_an_invariant_network_with_dropout_passes_and_a_broken_one_does_not(seed):
    verdict = checked(Dropping(broken=False), seed=seed)
    (layer,) = verdict.layers
    assert layer.mean > 0.05  # more than the limit, which chance explains
    assert layer.worst.chance == pytest.approx(layer.mean, rel=0.1)
    with pytest.raises(iv.SymmetryError, match="beyond chance"):
        checked(Dropping(broken=True), seed=seed)


def test_the_message_names_the_mean_what_is_subtracted_and_the_limit():
    with pytest.raises(iv.SymmetryError) as caught:
        checked(Dropping(broken=True))
    text = str(caught.value)
    worst = caught.value.verdict.broken[0].worst
    assert f"(mean {worst.error + worst.chance:.3g} - {worst.chance:.3g} due to chance), 0.05 allowed" in text
    assert "the mean error between forward passes of the same inputs, is subtracted" in text
    assert "sample " not in text


def test_layers_with_declared_actions_are_checked_beyond_chance_too():
    verdict = iv.assert_equivariant(
        Dropping(broken=False),
        images(),
        TURNS,
        feature_action={"conv": "spatial", "fc": "trivial"},
        repeats=8,
        below=0.05,
    )
    assert [layer.layer for layer in verdict.layers] == ["conv", "fc"]
    assert verdict.layers[0].worst.chance == 0


def test_repeats_without_a_limit_are_refused():
    with pytest.raises(ValueError, match=r"repeats=8.*Give below="):
        checked(Dropping(broken=False), below=None)


def test_upper_limits_are_compared_beyond_chance_and_lower_ones_are_not():
    model, labels = Dropping(broken=False), torch.arange(64) % 4
    measures = ["normalized_variance", "prediction"]
    options = {"measures": measures, "layers": ["fc"], "rows": "all", "progress": False}
    result = iv.measure(model, (images(), labels), TURNS, repeats=8, **options)
    row = next(row for row in result.rows if row.layer == "fc")
    accuracy = next(row for row in result.rows if row.measure == "prediction.accuracy")
    assert row.chance > 0.1
    limits = [Limit.read("fc:normalized_variance:0.1", upper=True)]
    limits += [Limit.read("output:prediction.accuracy:0.9", upper=upper) for upper in (True, False)]
    first, *others = judged(limits, result)
    assert first.value == pytest.approx(row.value - row.chance)
    assert first.high - first.low == pytest.approx(row.ci_high - row.ci_low)
    assert first.status == "holds"
    assert [other.value for other in others] == [accuracy.value] * 2
    (tight,) = judged([Limit.read("fc:normalized_variance:-1", upper=True)], result)
    assert f"beyond chance (minus {row.chance:.6g} due to chance)" in tight.message


class Vectors(nn.Module):
    """Sums of vectors, some of which are dropped."""

    def forward(self, x: Tensor) -> Tensor:
        return (x * (torch.rand(x.shape[:2]) > 0.2)[..., None]).sum(1)


class Directions:
    """Irreps of e3nn that hold vectors, with constants in the default dtype, as e3nn's."""

    def D_from_matrix(self, rotations: Tensor) -> Tensor:
        return rotations * torch.ones(())


@pytest.mark.parametrize("action", ["vector", iv.FibreAction(Directions())])
@pytest.mark.parametrize("measure", [iv.EquivarianceDeviation, iv.EquivarianceError])
def test_chance_has_a_value_for_declared_representations(action, measure):
    points = torch.rand(40, 5, 3, generator=torch.Generator().manual_seed(0))
    wanted, dtype = measure(feature_action=action), torch.get_default_dtype()
    options = {"measures": [wanted], "layers": ["Vectors"], "progress": False}
    result = iv.measure(Vectors(), points, iv.RandomOrthogonal(4), repeats=6, **options)
    row = result.rows[0]
    assert row.chance == pytest.approx(row.value, rel=0.1)
    assert torch.get_default_dtype() == dtype


@pytest.mark.parametrize("action", ["regular", iv.FibreAction([[[(-1.0) ** k]] for k in range(4)])])
def test_chance_has_a_value_for_representations_of_a_group(action):
    torch.manual_seed(0)
    options = {"measures": [iv.EquivarianceError(feature_action=action)], "layers": ["conv"]}
    result = iv.measure(Dropping(broken=False), images(16), TURNS, repeats=3, progress=False, **options)
    assert result.rows[0].chance == 0  # the convolution comes before the dropout
    assert result.rows[0].value > 0.1
