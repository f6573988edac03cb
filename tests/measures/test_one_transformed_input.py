"""Measures that compare with the untransformed input need one element; the others say that they need two."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.measures.base import MEASURES

pytestmark = pytest.mark.usefixtures("seeded")

LABELS = np.arange(96) % 3
ALONE = sorted(name for name, cls in MEASURES.classes().items() if cls.fewest_elements == 1)
TOGETHER = sorted(set(MEASURES.names()) - set(ALONE))


def turned(x):
    return x.rot90(1, (-2, -1))


def turned_back(x):
    return x.rot90(-1, (-2, -1))


def same(x):
    return x


def measured(*functions, measures, **options):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3, padding=1), nn.ReLU(), nn.Conv2d(3, 3, 3, padding=1))
    if measures != "equivariance_psnr":
        model = nn.Sequential(*model, nn.Flatten(), nn.Linear(192, 3))
    x = torch.rand(96, 1, 8, 8, generator=torch.Generator().manual_seed(1))
    back = [turned_back if function is turned else same for function in functions]
    elements = iv.Elements(
        functions,
        actions=functions,
        inverses=back,
        inverse_actions=back,
        labels=range(len(functions)),
        **options,
    )
    found = iv.measure(model, x, elements, measures=measures, labels=LABELS, progress=False, seed=2)
    return found.table.assign(value=found.table.value.astype(float))


@pytest.mark.parametrize("name", ALONE)
def test_one_element_is_enough_for_measures_that_compare_with_the_untransformed_input(name: str) -> None:
    table = measured(turned, measures=name)
    assert np.isfinite(table.value).any()


@pytest.mark.parametrize(
    "name", ["cka", "equivariance_error", "fitted_equivariance", "prediction", "worst_element"]
)
def test_one_element_has_the_value_that_it_has_beside_the_identity(name: str) -> None:
    key = ["measure", "layer", "call"]
    alone = measured(turned, measures=name).set_index(key)
    beside = measured(same, turned, measures=name, identity=0).set_index(key)
    compared = alone.index.intersection(beside.index)
    averages = ("prediction.accuracy", "prediction.probability_true")  # over all elements, also the identity
    compared = [place for place in compared if place[0] not in averages and not place[0].endswith(".element")]
    assert compared
    for side in ("value", "ci_low", "ci_high"):
        np.testing.assert_allclose(alone.loc[compared, side], beside.loc[compared, side], rtol=1e-9)


@pytest.mark.parametrize("name", TOGETHER)
def test_measures_that_compare_elements_with_each_other_refuse_one(name: str) -> None:
    with pytest.raises(ValueError, match=f"has 1 element; {name}.* compares elements with each other"):
        measured(turned, measures=name)


@pytest.mark.parametrize("name", ["cka", "fitted_equivariance", "prediction", "stability", "gradient_norm"])
def test_the_identity_alone_is_refused_where_it_is_left_out(name: str) -> None:
    with pytest.raises(ValueError, match=f"has only the identity; {name} compares .*: add elements with"):
        measured(same, measures=name, identity=0)


def test_an_assertion_about_the_identity_alone_is_refused() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 3))
    with pytest.raises(ValueError, match=r"Rotation has only the identity; .*: add elements with degrees="):
        iv.assert_invariant(model, torch.ones(8, 1, 4, 4), iv.Rotation([0.0]))


def test_the_refusal_names_what_to_leave_out() -> None:
    with pytest.raises(ValueError, match=r"with callables=, or leave out normalized_variance$"):
        measured(turned, measures=["prediction", "normalized_variance"])
