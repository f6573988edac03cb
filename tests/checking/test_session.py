"""Defaults of assertions that a session sets."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

import invariscope as iv
from invariscope.checking.session import Session, using

IMAGES = torch.rand(24, 1, 4, 4, generator=torch.Generator().manual_seed(0))
TURNS = iv.QuarterTurns()


@pytest.fixture
def invariant() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1, 3))


@pytest.mark.parametrize(("most", "expected"), [(10, 10), (24, 24), (1000, 24)])
def test_a_session_asks_for_no_more_samples_than_there_are(invariant, most: int, expected: int) -> None:
    data = TensorDataset(IMAGES, torch.arange(24) % 3)
    with using(Session(samples=most)):
        verdict = iv.assert_limits(invariant, data, TURNS, max={"output:prediction.flips": 0.1})
        assert {outcome.samples for outcome in verdict.outcomes} == {expected}
        assert iv.assert_invariant(invariant, IMAGES, TURNS, layers="1").samples == expected


def test_more_samples_than_there_are_are_refused_if_an_assertion_itself_asks_for_them(invariant) -> None:
    with pytest.raises(ValueError, match="there are only 24 samples"):
        iv.assert_invariant(invariant, IMAGES, TURNS, samples=1000)
