"""Ten small equivariant networks, each also with a fault planted in one layer."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.zoo import build

IMAGES = torch.randn(16, 1, 12, 12, generator=torch.Generator().manual_seed(0))
POINTS = torch.randn(16, 6, 3, generator=torch.Generator().manual_seed(1))


@dataclass(frozen=True)
class Case:
    """A network, what it should be equivariant to, and the layer in which a fault can be planted.

    Args:
        make: makes the network; `faulty` plants the fault.
        sound: the first layer that breaks without the fault; "" if the whole network is equivariant.
    """

    make: Callable[[bool], nn.Module]
    transform: Any
    inputs: Tensor
    planted: str
    sound: str = ""


class Turned(nn.Conv2d):
    """A convolution whose filters are the mean over their turns, except for a faulty one."""

    def __init__(self, inputs: int, outputs: int, *, faulty: bool = False, **options: Any) -> None:
        super().__init__(inputs, outputs, 3, padding=1, **options)
        turned = torch.stack([self.weight.data.rot90(k, (2, 3)) for k in range(4)])
        self.weight.data = turned.mean(0)
        if faulty:
            self.weight.data[0, 0, 0, 1] *= 1.01


def group_convolutions(faulty: bool) -> nn.Module:
    """Group convolutions over C4; the second one has a bias for each orientation."""
    model = build("c4_conv", input_shape=(1, 12, 12), classes=5, fields=2)
    if faulty:
        model.conv2.register_forward_hook(lambda module, x, y: y + 0.01 * torch.arange(8.0)[:, None, None])
    return model


def hybrid(faulty: bool) -> nn.Module:
    """Two group convolutions and an ordinary one; the first pooling skips a pixel."""
    model = build("c4_conv", input_shape=(1, 12, 12), classes=5, fields=2, equivariant=2)
    if faulty:
        model.pool1 = nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.MaxPool2d(2))
    return model


def steerable() -> tuple[Any, Any]:
    """C4 acting on the plane, and the layers, of escnn or e2cnn."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            from escnn import gspaces, nn

            return gspaces.rot2dOnR2(4), nn
        except ImportError:
            gspaces, nn = pytest.importorskip("e2cnn.gspaces"), pytest.importorskip("e2cnn.nn")
            return gspaces.Rot2dOnR2(4), nn


class Steered(nn.Module):
    """Convolutions between fields of several types; the second has one weight too large."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        space, library = steerable()
        images = library.FieldType(space, [space.trivial_repr])
        mixed = library.FieldType(space, [space.regular_repr, space.irrep(1), space.trivial_repr])
        self.conv1 = library.R2Conv(images, mixed, kernel_size=3, padding=1)
        self.conv2 = library.R2Conv(mixed, mixed, kernel_size=3, padding=1)
        self.conv3 = library.R2Conv(mixed, images, kernel_size=3, padding=1)
        self.wrapped, self.images = library.GeometricTensor, images
        self.eval()
        if faulty:
            self.conv2.filter[1, 1, 0, 1] += 0.1

    def forward(self, x: Tensor) -> Tensor:
        return self.conv3(self.conv2(self.conv1(self.wrapped(x, self.images)))).tensor


class Squared(nn.Module):
    """Scales vectors by their length; a faulty one applies tanh to each component."""

    def __init__(self, irreps: Any, *, faulty: bool) -> None:
        super().__init__()
        self.irreps_out, self.faulty = irreps, faulty

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh() if self.faulty else x * x.norm(dim=-1, keepdim=True)


class Irreps(nn.Module):
    """Tensor products of e3nn, a nonlinearity, and a mixture."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            o3 = pytest.importorskip("e3nn.o3")
        self.directions = o3.SphericalHarmonics("0e + 1o + 2e", normalize=False)
        self.product = o3.FullyConnectedTensorProduct("0e + 1o + 2e", "0e + 1o + 2e", "2x0e + 2x1o + 2e")
        self.square = Squared(o3.Irreps("2x0e + 2x1o + 2e"), faulty=faulty)
        self.mix = o3.Linear("2x0e + 2x1o + 2e", "0e + 1o + 2e")

    def forward(self, x: Tensor) -> Tensor:
        directions = self.directions(x)
        return self.mix(self.square(self.product(directions, directions)))


class Places(nn.Module):
    """Does nothing; a faulty one adds something to each row that depends on its place."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        self.faulty = faulty

    def forward(self, x: Tensor) -> Tensor:
        return x + 1e-3 * torch.arange(x.shape[1])[:, None] if self.faulty else x * 1


class Sets(nn.Module):
    """A function of each element, the mean, and a function of both; places are added to the second."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.each, self.places = nn.Linear(3, 8), Places(faulty=faulty)
        self.both, self.last = nn.Linear(16, 8), nn.Linear(8, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.places(self.each(x).relu())
        whole = x.mean(1, keepdim=True).expand_as(x)
        return self.last(self.both(torch.cat([x, whole], 2)).tanh().sum(1))


class Messages(nn.Module):
    """Sums messages from all nodes; a faulty one only from those listed before."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        self.faulty = faulty

    def forward(self, x: Tensor) -> Tensor:
        weights = (x @ x.mT / x.shape[2] ** 0.5).sigmoid()
        return (weights.tril() if self.faulty else weights) @ x


class Nodes(nn.Module):
    """Two rounds of messages in a graph whose edges follow from the nodes."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.embed, self.first = nn.Linear(3, 8), Messages(faulty=False)
        self.update, self.second = nn.Linear(8, 8), Messages(faulty=faulty)
        self.readout = nn.Linear(8, 4)

    def forward(self, x: Tensor) -> Tensor:
        x = x + 0
        x = self.update(self.first(self.embed(x)).tanh())
        return self.readout(self.second(x).tanh()).mean(1)


def shifts(faulty: bool) -> nn.Module:
    """Convolutions with circular padding; the second one pads with zeros."""
    padded = [{"padding_mode": "zeros" if faulty and k == 1 else "circular"} for k in range(3)]
    convs = [nn.Conv2d(1 if k == 0 else 4, 4, 3, padding=1, **padded[k]) for k in range(3)]
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2], nn.AdaptiveAvgPool2d(1))


def flips(faulty: bool) -> nn.Module:
    """Filters that are their own mirror images, except for one of the third convolution."""
    convs = [nn.Conv2d(1 if k == 0 else 4, 4, 3, padding=1) for k in range(3)]
    for conv in convs:
        conv.weight.data += conv.weight.data.flip(3).clone()
    if faulty:
        convs[2].weight.data[3, 3, 2, 0] *= 1.05
    return nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.MaxPool2d(2), convs[2], nn.ReLU())


class Shared(nn.Module):
    """One convolution, run three times; a window before the last run is off the centre."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.lift, self.shared, self.window = Turned(1, 4), Turned(4, 4), Window(faulty=faulty)

    def forward(self, x: Tensor) -> Tensor:
        x = self.shared(self.lift(x).relu()).relu()
        return self.shared(self.window(self.shared(x))).mean((2, 3))


class Window(nn.Module):
    """Weights that fall off from the centre."""

    def __init__(self, *, faulty: bool) -> None:
        super().__init__()
        side = torch.linspace(-1, 1, 12) - (0.05 if faulty else 0.0)
        self.weight = torch.exp(-(side[:, None] ** 2) - side**2)

    def forward(self, x: Tensor) -> Tensor:
        return x * self.weight


class Residual(nn.Module):
    """Two residual blocks with a convolution on the short cut, whose second one is faulty."""

    def __init__(self, faulty: bool) -> None:
        super().__init__()
        self.block1, self.block2 = Block(1, faulty=False), Block(4, faulty=faulty)

    def forward(self, x: Tensor) -> Tensor:
        return self.block2(self.block1(x)).amax((2, 3))


class Block(nn.Module):
    """Two convolutions beside a short cut."""

    def __init__(self, inputs: int, *, faulty: bool) -> None:
        super().__init__()
        self.conv1, self.conv2 = Turned(inputs, 4), Turned(4, 4)
        self.shortcut = Turned(inputs, 4, faulty=faulty)

    def forward(self, x: Tensor) -> Tensor:
        return (self.conv2(self.conv1(x).relu()) + self.shortcut(x)).relu()


TURNS = iv.QuarterTurns()
CASES = {
    "group convolutions": Case(group_convolutions, TURNS, IMAGES, "conv2"),
    "hybrid": Case(hybrid, TURNS, IMAGES, "pool1", sound="conv3"),
    "steerable": Case(Steered, TURNS, IMAGES, "conv2"),
    "irreps": Case(Irreps, iv.RandomOrthogonal(4), POINTS, "square"),
    "sets": Case(Sets, iv.RandomPermutations(4), POINTS, "places"),
    "graph": Case(Nodes, iv.RandomPermutations(4), POINTS, "second"),
    "shifts": Case(shifts, iv.PeriodicTranslation(4, 4), IMAGES, "2"),
    "flips": Case(flips, iv.Flip(), IMAGES, "4"),
    "shared": Case(Shared, TURNS, IMAGES, "window"),
    "residual": Case(Residual, TURNS, IMAGES, "block2.shortcut"),
}


def made(case: Case, *, faulty: bool) -> nn.Module:
    """The network of a case, with weights that depend on nothing else."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return case.make(faulty).eval()
