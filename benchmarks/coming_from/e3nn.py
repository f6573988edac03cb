"""Equivariance errors of a function of point clouds, beside those of `e3nn.util.test`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import invariscope as iv
from benchmarks.coming_from.comparison import Numbers, Row, tensors

TITLE = "e3nn"
PACKAGES = ("e3nn",)
TABLES = {
    "e3nn": [
        Row("default", "`equivariance_error`, and the mean of `EquivarianceError`"),
        Row("largest", "the largest error, not the mean"),
        Row("rotations", "the same 8 rotations for all clouds, not 8 per cloud"),
        Row("norms", "‖error‖ relative to ‖response‖, not the largest component of the error", 1e-6),
    ],
    "e3nn_verdicts": [
        Row("small", "30 % wrong, in units that make outputs 10,000 times smaller"),
        Row("large", "correct, in float32, in units that make outputs 100,000 times larger"),
    ],
}


class Pull(nn.Module):
    """A vector per cloud, the sum of its points weighted by their distance from the centre.

    Args:
        scale: factor of the output.
        wrong: how much of the neighbouring entry to add to each entry, which breaks the symmetry.
    """

    def __init__(self, *, scale: float = 1.0, wrong: float = 0.0) -> None:
        super().__init__()
        self.scale, self.wrong = scale, wrong

    def forward(self, points: Tensor) -> Tensor:
        arms = points - points.mean(-2, keepdim=True)
        vector = (arms * arms.norm(dim=-1, keepdim=True)).sum(-2)
        return self.scale * (vector + self.wrong * vector.roll(1, -1))


def clouds(dtype: torch.dtype = torch.float64) -> Tensor:
    """Return 32 clouds of 8 points."""
    return torch.randn(32, 8, 3, generator=torch.Generator().manual_seed(0)).to(dtype)


def ours() -> Numbers:
    """Return our numbers."""
    measure = iv.EquivarianceError(feature_action="vector", of="output")

    def values(transform: iv.Transform) -> dict[str, float]:
        table = iv.measure(Pull(wrong=0.3), clouds(), transform, measures=[measure], progress=False).table
        return table.set_index("measure").value.to_dict()

    def verdict(model: nn.Module) -> str:
        options = {"feature_action": {"Pull": "vector"}}
        try:
            iv.assert_equivariant(model, clouds(torch.float32), iv.RandomOrthogonal(8), **options)
        except iv.SymmetryError:
            return "fails"
        return "passes"

    drawn = values(iv.RandomOrthogonal(8))
    same = values(iv.Orthogonal(tensors(TITLE, lambda: {"rotations": rotations()})["rotations"].numpy()))
    largest = same[f"{measure.label}.largest"]
    return {
        "default": drawn[measure.label],
        "largest": drawn[f"{measure.label}.largest"],
        "rotations": largest,
        "norms": largest,
        "small": verdict(Pull(scale=1e-4, wrong=0.3)),
        "large": verdict(Pull(scale=1e5)),
    }


def rotations() -> Tensor:
    """Return the rotations that `equivariance_error` draws after `torch.manual_seed(0)`."""
    from e3nn import o3

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torch.stack([o3.rand_matrix(dtype=torch.float64) for _ in range(8)])


def theirs() -> Numbers:
    """Return the numbers of `e3nn`, and those of its definition in our norm."""
    from e3nn.util.test import assert_equivariant, equivariance_error

    roles = {"irreps_in": ["cartesian_points"], "irreps_out": ["1x1o"], "do_parity": False}

    def verdict(model: nn.Module) -> str:
        try:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                assert_equivariant(model, [clouds(torch.float32)], ntrials=8, do_translation=False, **roles)
        except AssertionError:
            return "fails"
        return "passes"

    model, points = Pull(wrong=0.3), clouds()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        found = equivariance_error(model, [points], ntrials=8, do_translation=False, **roles)
    (largest,) = (float(error.max()) for error in found.values())
    errors = [
        (model(points @ turn.mT) - model(points) @ turn.mT).norm(dim=1) / model(points).norm(dim=1)
        for turn in rotations()
    ]
    return {
        "default": largest,
        "largest": largest,
        "rotations": largest,
        "norms": float(torch.stack(errors).max()),
        "small": verdict(Pull(scale=1e-4, wrong=0.3)),
        "large": verdict(Pull(scale=1e5)),
    }
