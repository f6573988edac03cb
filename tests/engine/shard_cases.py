"""Small measurements in shards, and comparisons with those of a single process."""

import numpy as np
import torch
from torch import nn
from torch.nn import functional

import invariscope as iv


class Small(nn.Module):
    """Maps, a functional ReLU, dead and sparse units, and three outputs."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.fc = nn.Conv2d(1, 4, 3), nn.Linear(4 * 9, 3)
        for weights in self.parameters():
            weights.data = torch.randn(weights.shape) / 2
        bias, weight = torch.tensor([0.0, -9.0, 0.0, 0.3]), self.conv.weight.data[2]
        bias[2] = -0.5 * weight.sum() - 2.6 * (weight.square().sum() / 12).sqrt()
        self.conv.bias.data = bias  # the second map is dead, the third fires for few inputs

    def forward(self, x):
        maps = functional.max_pool2d(functional.relu(self.conv(x)), 2)
        return self.fc(maps.flatten(1))


def network(double=True):
    """The network in evaluation mode."""
    return (Small().double() if double else Small()).eval()


def images(samples=61, double=True):
    """Images and labels of three classes of different sizes."""
    generator = torch.Generator().manual_seed(1)
    x = torch.rand(samples, 1, 8, 8, generator=generator, dtype=torch.float64)
    y = (torch.rand(samples, generator=generator) ** 2 * 3).long()
    return (x if double else x.float()), y


def measured(data, measures=("normalized_variance",), *, model=None, transform=None, **options):
    """One process's result, or with shard=(k, K) its share."""
    options = {"progress": False, "batch_size": 24} | options
    return iv.measure(model or network(), data, transform or iv.QuarterTurns(), measures=measures, **options)


def merged(data, count, measures=("normalized_variance",), **options):
    """The result of this many shards, merged in another order than that of the walk."""
    parts = [measured(data, measures, shard=(k, count), **options) for k in range(count)]
    return iv.merge(parts[1:] + parts[:1])


def assert_same(found, expected, *, tolerance=1e-12):
    """Every number and note of rows, curves and maps agrees."""
    for name in ("rows", "curve_rows"):
        ours, theirs = getattr(found, name), getattr(expected, name)
        assert [(row.place, row.get("element")) for row in ours] == [
            (row.place, row.get("element")) for row in theirs
        ]
        for mine, other in zip(ours, theirs, strict=True):
            assert_same_row(mine, other, tolerance)
    assert list(found.arrays) == list(expected.arrays)
    for key in expected.arrays:
        np.testing.assert_allclose(found.maps[key], expected.maps[key], rtol=tolerance, atol=tolerance)


def assert_same_row(mine, other, tolerance):
    """All columns agree: words exactly, numbers up to the tolerance."""
    assert set(mine) == set(other), (mine.place, set(mine) ^ set(other))
    for column in other:
        ours, theirs = mine[column], other[column]
        if isinstance(theirs, str | bool):
            assert ours == theirs, (mine.place, column, ours, theirs)
            continue
        ours, theirs = np.asarray(ours, float), np.asarray(theirs, float)
        where = f"{mine.place} {column}"
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance, err_msg=where)


class Images(torch.utils.data.Dataset):
    """A map-style dataset."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, place):
        return self.x[place], int(self.y[place])
