"""Maps whose channels come last are read as (C, H, W), whatever their sizes; doubt is reported."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import invariscope as iv
from invariscope.readers import as_reader
from invariscope.readers.torch.layouts import Layouts


def images(samples: int = 8, channels: int = 3, side: int = 8) -> Tensor:
    return torch.rand(samples, channels, side, side, generator=torch.Generator().manual_seed(0))


class Norm(nn.Module):
    """A normalisation of channels that come last, as ConvNeXt has it."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Block(nn.Module):
    """A ConvNeXt block, its convolution over single pixels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1, groups=channels)
        self.norm = nn.LayerNorm(channels, eps=1e-6)
        self.up, self.down = nn.Linear(channels, 4 * channels), nn.Linear(4 * channels, channels)
        self.scale = nn.Parameter(torch.full((channels,), 0.5))

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv(x).movedim(1, -1))
        y = self.scale * self.down(F.gelu(self.up(y)))
        return x + y.permute(0, 3, 1, 2)


def seeded(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return make()


def norm_network(channels: int) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, channels, 1), Norm(channels), nn.ReLU()))


def block_network(channels: int) -> nn.Module:
    return seeded(lambda: nn.Sequential(nn.Conv2d(3, channels, 1), Block(channels)))


@pytest.mark.parametrize("channels", [8, 32])
@pytest.mark.parametrize("make", [norm_network, block_network])
def test_every_layer_of_an_equivariant_network_is_found_equivariant(make, channels: int) -> None:
    verdict = iv.assert_equivariant(make(channels), images(), iv.QuarterTurns())
    assert {layer.action for layer in verdict.layers} == {"spatial"}
    assert len(verdict.layers) == (3 if make is norm_network else 8)


@pytest.mark.parametrize("channels", [8, 32])
def test_shapes_are_those_of_maps_with_channels_first(channels: int) -> None:
    inspection = as_reader(block_network(channels)).inspect(images())
    shapes = {info.layer: info.shape for info in inspection.layers}
    assert shapes.pop("1.up") == shapes.pop("1/gelu") == (4 * channels, 8, 8)
    assert set(shapes.values()) == {(channels, 8, 8)}
    assert not inspection.unclear


@pytest.mark.parametrize("measure", ["same_equivariance", "equivariance_error"])
def test_measures_that_undo_the_action_find_nothing_left(measure: str) -> None:
    result = iv.measure(norm_network(8), images(64), iv.QuarterTurns(), measures=[measure], progress=False)
    values = result.table.set_index(["layer", "measure"])["value"]
    assert abs(values["1.norm", measure]) < 1e-5


@pytest.mark.parametrize("pool", ["after", "ratio", "before_mean", "before_max", "before_sum"])
@pytest.mark.parametrize("channels", [8, 32])
def test_pools_are_over_positions(pool: str, channels: int) -> None:
    model, x, turns = norm_network(channels), images(16), iv.QuarterTurns()
    measure = iv.NormalizedVariance(pool=pool, min_firing=0)
    result = iv.measure(model, x, turns, measures=[measure], layers="1.norm", progress=False)
    with torch.no_grad():
        orbit = turns.orbit(x)
        responses = model[:2](orbit.flatten(0, 1)).unflatten(0, orbit.shape[:2])
    expected = measure.oracle(responses.double().numpy(), None)[""]
    found = next(iter(result.maps.values()))
    assert found.shape == (channels,)
    np.testing.assert_allclose(found, expected, rtol=2e-4, atol=1e-6)


def test_the_values_handed_over_are_those_of_the_layer() -> None:
    model, x, found = norm_network(8), images(), {}
    with as_reader(model).open() as forward:
        forward(x, lambda reading: found.update({reading.layer: reading.values.clone()}))
    with torch.no_grad():
        assert torch.equal(found["1.norm"], model[:2](x))


def test_penalties_see_maps_with_channels_first() -> None:
    options = {"kind": "channelwise", "distance": "l2"}
    penalty = iv.penalties.EquivarianceDeviation(iv.QuarterTurns(), layers="1.norm", **options)
    assert float(penalty(norm_network(8), images()).detach()) < 1e-5


class Unknown(nn.Module):
    """Patches by reshaping: nothing says what the axes are."""

    def __init__(self) -> None:
        super().__init__()
        self.mix = nn.Linear(12, 16)
        self.norm = nn.LayerNorm(16)

    def forward(self, x: Tensor) -> Tensor:
        patches = x.reshape(len(x), 3, 16, 2, 16, 2).permute(0, 2, 4, 1, 3, 5)
        return torch.tanh(self.norm(self.mix(patches.reshape(len(x), 16, 16, 12))))


def test_a_layer_whose_axes_nobody_knows_is_left_out_with_the_reason() -> None:
    model, x = seeded(Unknown), images(side=32)
    assert {layer for layer, _ in as_reader(model).inspect(x).unclear} == {"mix", "norm", "tanh"}
    with pytest.raises(ValueError, match="its features come last, and the forward pass does not show"):
        iv.assert_equivariant(model, x, iv.QuarterTurns(), layers=["mix", "norm", "tanh"])


def test_what_nobody_knows_is_not_judged_by_the_other_actions() -> None:
    torch.manual_seed(0)
    both, x = nn.Sequential(nn.Conv2d(3, 3, 1), nn.Tanh(), seeded(Unknown)), images(side=32)
    with pytest.raises(ValueError, match=r"layer '2\.mix'.*channels last.*\(3 such layers\)\. Exclude them"):
        iv.assert_equivariant(both, x, iv.QuarterTurns())
    known = iv.assert_equivariant(both, x, iv.QuarterTurns(), layers=["0", "1"])
    assert [layer.action for layer in known.layers] == ["spatial", "spatial"]
    result = iv.measure(both, x, iv.QuarterTurns(), measures=["same_equivariance"], progress=False)
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert set(skipped) == {"2.mix", "2.norm", "2/tanh"}
    assert all("channels last" in reason for reason in skipped.values())


FIRST, LAST = (1, 2, 3), (3, 1, 2)
MAP = images(channels=8)


def followed(operation: Callable[[Tensor], Tensor]) -> tuple[int, ...] | None:
    """What is known of the result of an operation on a map with channels last, all sizes being 8."""
    layouts = Layouts()
    with layouts:
        return layouts.of(operation(F.conv2d(MAP, torch.ones(8, 8, 1, 1)).permute(0, 2, 3, 1)))


@pytest.mark.parametrize(
    ("operation", "expected"),
    [
        (lambda x: x, LAST),
        (lambda x: x.contiguous().clone(), LAST),
        (lambda x: x.add_(1).mul(torch.ones(8)), LAST),
        (lambda x: F.linear(x, torch.ones(5, 8)), LAST),
        (lambda x: x @ torch.ones(8, 5), LAST),
        (lambda x: F.layer_norm(x, (8,)), LAST),
        (lambda x: x.chunk(2, -1)[1], LAST),
        (lambda x: x[:, 1:, ..., :3].roll(2, 1), LAST),
        (lambda x: torch.cat([x, x], -1), LAST),
        (lambda x: x + torch.rand(8, 8, 8, 8, generator=torch.Generator().manual_seed(0)), LAST),
        (lambda x: x.reshape(8, 8, 8, 8), LAST),
        (lambda x: x.movedim(-1, 1), FIRST),
        (lambda x: x.transpose(1, 3).swapaxes(-1, -2), FIRST),
        (lambda x: torch.permute(x, dims=(0, 3, 1, 2)), FIRST),
        (lambda x: F.avg_pool2d(x, 2), FIRST),  # which takes its second axis for the channels'
        (lambda x: x.transpose(1, 2), (3, 2, 1)),  # rows and columns exchanged
        (lambda x: F.linear(x.transpose(1, 3), torch.ones(5, 8)), None),  # rows are mixed
        (lambda x: x + x.permute(0, 3, 1, 2), None),
        (lambda x: torch.einsum("nhwc->nchw", x), None),
        (lambda x: x.reshape(8, 8, 4, 16), None),
        (lambda x: F.linear(x.reshape(8, 8, 4, 16), torch.ones(5, 16)), ()),
        (lambda x: x.mean(1), None),
        (lambda x: F.scaled_dot_product_attention(x, x, x), None),
    ],
)
def test_axes_are_followed(operation, expected) -> None:
    assert followed(operation) == expected
