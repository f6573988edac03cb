"""Masked scores are left out with a reason; every other layer keeps all its samples."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv

ELEMENTS = [lambda v: v, lambda v: v.flip(-1)]
CAUSAL = torch.ones(5, 5).tril() > 0


class Attend(nn.Module):
    """One head; `mask(scores, x)` masks."""

    def __init__(self, mask):
        super().__init__()
        torch.manual_seed(0)
        self.q, self.o, self.mask = nn.Linear(4, 4), nn.Linear(4, 3), mask

    def forward(self, x):
        scores = self.mask(self.q(x) @ x.mT, x)
        return self.o((scores.softmax(-1) @ x).mean(1))


def fill(value):
    return lambda scores, x: scores.masked_fill(~CAUSAL, value)


def add(scores, x):
    return scores + torch.zeros(5, 5).masked_fill(~CAUSAL, torch.finfo(scores.dtype).min)


def padded(scores, x):
    """Keys of samples whose first number is large end early."""
    late = (torch.arange(5) > 2) & (x[:, 0, :1] + x[:, 0, -1:] > 1.2)
    return scores.masked_fill(late[:, None], -torch.inf)


def padded_and_scaled(scores, x):
    return padded(scores, x) / 2


MASKS = {
    "-inf": (fill(-torch.inf), ["masked_fill"]),
    "lowest": (fill(torch.finfo(torch.float32).min), ["masked_fill"]),
    "where": (lambda s, x: torch.where(CAUSAL, s, torch.finfo(s.dtype).min), ["where"]),
    "added": (add, ["add"]),
    "padding": (padded, ["masked_fill"]),
    "scaled later": (padded_and_scaled, ["masked_fill", "div"]),
}


KEPT = ["q", "matmul", "softmax", "mean", "o"]


def data(samples=48):
    return torch.rand(samples, 5, 4, generator=torch.Generator().manual_seed(1))


def measured(net, x, **options):
    return iv.measure(net, x, ELEMENTS, progress=False, **options)


@pytest.mark.parametrize("nonfinite", ["raise", "skip"])
@pytest.mark.parametrize("name", MASKS)
def test_masked_scores_are_left_out_and_all_else_is_measured_on_all_samples(name, nonfinite):
    mask, masked = MASKS[name]
    x, net = data(), Attend(mask)
    results = [measured(net, x, nonfinite=nonfinite, batch_size=size) for size in (1, 64)]
    for result in results:
        assert set(KEPT) <= set(result.table.layer)
        assert not set(masked) & set(result.table.layer)
        assert set(result.table.samples) == {len(x)}
        skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
        assert list(skipped) == masked
        assert all(reason.startswith("masked scores: ") for reason in skipped.values())
    np.testing.assert_allclose(results[0].table.value, results[1].table.value, rtol=1e-4)
    plain = measured(net, x, layers=["q", "o"]).table.value
    np.testing.assert_allclose(results[1].table.value.iloc[[0, -1]], plain, rtol=1e-6)


def test_the_output_alone_needs_no_layer():
    found = measured(Attend(fill(-torch.inf)), data(), measures=["consistency"])
    assert np.isfinite(found.table.value[0])


def test_padding_in_a_late_block_leaves_out_only_the_scores():
    x = data(64) * 0.5
    net, seen = Attend(padded), []
    net.register_forward_hook(lambda module, args, output: seen.append(len(args[0])))

    def stream():
        for low in range(0, 64, 8):
            part = x[low : low + 8].clone()
            if low == 48:
                part[3, 0] = 1.0  # the only sample with padding
            yield part

    result = measured(net, stream(), batch_size=16)
    assert [entry["layer"] for entry in result.provenance["skipped"]] == ["masked_fill"]
    assert set(result.table.samples) == {64}
    assert len(seen) > 8


class Faulty(nn.Module):
    """Gives `value` at one place of the samples whose first number is among the largest."""

    def __init__(self, value):
        super().__init__()
        torch.manual_seed(0)
        self.value, self.lin = value, nn.Linear(4, 3)

    def forward(self, x):
        found = self.lin(x[:, 0])
        found[x[:, 0, 0] > 0.7, 1] = self.value
        return found


@pytest.mark.parametrize("value", [-torch.inf, torch.inf, torch.nan])
@pytest.mark.parametrize("batch_size", [1, 64])
def test_other_values_that_are_not_finite_are_refused_at_any_batch_size(value, batch_size):
    with pytest.raises(ValueError, match=r"layer .* gave \d+ NaN and \d+ infinite"):
        measured(nn.Sequential(Faulty(value), nn.Identity()), data(), batch_size=batch_size)


class Log(nn.Module):
    def forward(self, x):
        return torch.log(x[:, 0].clamp(min=0.2) - 0.2)


@pytest.mark.parametrize("batch_size", [1, 64])
def test_the_logarithm_of_zero_in_some_samples_is_not_a_mask(batch_size):
    with pytest.raises(ValueError, match=r"layer 'log' .* infinite"):
        measured(Log(), data(), batch_size=batch_size)


def test_a_unit_that_is_minus_infinity_for_all_inputs_leaves_its_layer_out():
    class Policy(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.lin = nn.Linear(4, 3)
            with torch.no_grad():
                self.lin.bias[1] = -torch.inf

        def forward(self, x):
            return self.lin(x[:, 0]).exp()

    for batch_size in (1, 64):
        result = measured(Policy(), data(), batch_size=batch_size)
        assert result.table.layer.tolist() == ["exp"]
        reason = "-inf at the same positions for all inputs, as in masked scores"
        assert result.provenance["skipped"] == [{"layer": "lin", "call": 0, "reason": reason}]


def test_a_run_with_nothing_but_masked_scores_is_refused():
    with pytest.raises(ValueError, match=r"none of the 1 selected layers .*'masked_fill': masked scores"):
        measured(Attend(fill(-torch.inf)), data(), layers="masked_fill")


@pytest.mark.parametrize("lowest", [-torch.inf, torch.finfo(torch.float32).min])
@pytest.mark.parametrize("batch_size", [2, 64])
def test_a_mask_that_the_untransformed_inputs_never_need_is_found_too(lowest, batch_size):
    def needed(scores, x):
        return scores.masked_fill((x[:, :, :1] > 1).mT, lowest)

    elements = [lambda v: v, lambda v: torch.cat([v[:, :4], v[:, 4:] + 2], 1)]
    found = iv.measure(Attend(needed), data(), elements, batch_size=batch_size, progress=False)
    assert found.table.layer.drop_duplicates().tolist() == KEPT
