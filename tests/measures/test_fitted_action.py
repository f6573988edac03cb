"""Fitted actions: known networks, the null computed pair by pair, and unsupported options."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.actions.fitted_action import FittedAction
from invariscope.statistics.moments.orbit_regression import halves_of
from invariscope.zoo import build, load

TURNS = iv.QuarterTurns()
NEARLY_FREE = FittedAction(ridge=1e-9)


def fitted(model, data, *, ids=None, **options):
    """{row name without the measure: row} of a fitted deviation."""
    measure = iv.EquivarianceDeviation(**{"feature_action": NEARLY_FREE} | options)
    table = iv.measure(model, data, TURNS, measures=measure, progress=False, ids=ids).table
    return {measure.output_of(row.measure): row for row in table.itertuples()}


def pooled(features):
    """A model of which only the mean of each feature map is read."""

    def read(x: torch.Tensor) -> dict[str, torch.Tensor]:
        with torch.no_grad():
            return {"means": features(x).mean((2, 3))}

    return read


def digits(samples: int = 400) -> torch.Tensor:
    return load("mnist_subset", samples=samples).images.double()


def seeded(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def test_a_network_of_regular_fields_has_an_action_that_can_be_fitted():
    network = seeded(lambda: build("c4_conv", fields=3)).double()
    found = fitted(pooled(network[:6]), digits())  # means of maps: channels that are permuted
    assert found["to_null"].value < 1e-6
    assert found["by_element"].value < 1e-6 * found[""].null


def test_a_network_without_symmetry_has_none():
    free = seeded(lambda: nn.Sequential(nn.Conv2d(1, 12, 5), nn.ReLU(), nn.Conv2d(12, 12, 5), nn.ReLU()))
    found = fitted(pooled(free.double()), digits())
    assert found["to_null"].ci_low > 0.005  # means of maps depend on the amount of ink, which turns preserve


def test_responses_that_have_nothing_to_do_with_each_other_are_as_far_as_the_null():
    noise = torch.randn(2000, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    numbers = torch.arange(2000, dtype=torch.float64)[:, None]
    elements = [lambda x, j=j: torch.cat([x[:, :1], torch.full_like(x[:, :1], j)], 1) for j in range(4)]

    def model(x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"noise": noise[x[:, 0].long(), x[:, 1].long()]}

    data = torch.cat([numbers, torch.zeros_like(numbers)], 1)
    measure = iv.EquivarianceDeviation(feature_action="fitted", exclude_identity=True)
    transform = iv.transforms.Elements(elements, identity=0)
    table = iv.measure(model, data, transform, measures=measure, progress=False).table
    ratio = table[table.measure == measure.row_name("to_null")].iloc[0]
    assert ratio.value == pytest.approx(1, abs=0.01)
    assert table[table.measure == measure.row_name("")].value.item() == pytest.approx(3, rel=0.1)


def test_the_null_is_that_of_all_pairs_of_a_half():
    rng = np.random.default_rng(3)
    orbits = torch.tensor(rng.normal(size=(30, 4, 3)))
    data = torch.arange(30.0, dtype=torch.float64)[:, None, None, None].expand(-1, 1, 2, 2)
    turn = torch.tensor([[0.0, 0.25], [0.75, 0.5]], dtype=torch.float64)  # identifies the turn

    def model(x: torch.Tensor) -> dict[str, torch.Tensor]:
        fraction = x[:, 0, 0, 0] - x[:, 0, 0, 0].floor()
        return {"flat": orbits[x[:, 0, 0, 0].long(), (4 * fraction).round().long()]}

    found = fitted(model, data + turn, ids=np.arange(30), feature_action=FittedAction(ridge=0.2))
    places = [0, 1, 2, 3]
    order = [int(4 * float(torch.rot90(turn, k)[0, 0])) for k in places]
    y, halves, terms = orbits.numpy()[:, order], halves_of(np.arange(30), seed=0), []
    for half in (0, 1):
        fit, test = y[halves == half], y[halves != half]
        x, centre = fit[:, 0], fit[:, 0].mean(axis=0)
        spread = (x - centre).T @ (x - centre) / len(x)
        for j in places:
            middle = fit[:, j].mean(axis=0)
            maps = np.linalg.solve(
                spread + 0.2 * np.trace(spread) / 3 * np.eye(3),
                (x - centre).T @ (fit[:, j] - middle) / len(x),
            )
            gaps = test[:, None, j] - middle - ((test[:, 0] - centre) @ maps)[None]
            squares = (gaps**2).sum(axis=2)
            others = ~np.eye(len(test), dtype=bool)
            terms.append(squares[others].mean() * len(test))
    assert found[""].null == pytest.approx(sum(terms) / (4 * 30), rel=1e-9)


def test_a_layer_that_is_projected_says_so():
    measure = iv.EquivarianceDeviation(feature_action="fitted")
    model = nn.Sequential(nn.Flatten())
    rows = iv.measure(model, digits(100).float(), TURNS, measures=measure, progress=False).rows
    notes = [row.get("note", "") for row in rows if row["measure"] == measure.row_name("")]
    assert notes == ["784 units projected to 64 directions"]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"distance": "cosine"}, "only distance='squared_l2'; got 'cosine'"),
        ({"distance": "l2"}, "got 'l2'"),
        ({"kind": "channelwise"}, "only kind='latent'"),
        ({"reference": "twirl"}, "only reference='kernel'"),
    ],
)
def test_what_sums_cannot_give_is_refused(options, match):
    with pytest.raises(ValueError, match=match):
        iv.EquivarianceDeviation(feature_action="fitted", **options)
