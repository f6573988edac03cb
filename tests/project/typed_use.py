# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What a user writes, for pyright, which `make lint` runs on it: every name is known, with its type."""

from __future__ import annotations

from pathlib import Path
from typing import Any, assert_type

import torch
from torch import nn

import invariscope as iv


def measured(model: nn.Module, images: torch.Tensor, folder: Path) -> None:
    result = iv.measure(model, images, iv.Rotation.circle(16), measures=[iv.NormalizedVariance(), "anova"])
    assert_type(result, iv.Result)
    assert_type(iv.load(folder), iv.Result)
    assert_type(iv.studies.worst_element(model, images, iv.Rotation.circle(8)), iv.Result)
    assert_type(iv.Rotation.circle(16), iv.Rotation)
    assert_type(iv.Grid(iv.Flip(), iv.transforms.QuarterTurns()).labels, tuple[str, ...])
    assert_type(iv.list_plots(), dict[str, str])
    assert_type(iv.report([result, result], folder / "report.html"), Path)
    result.plot("layer_profile").savefig("profile.svg")
    iv.plot("layer_profile", [result, result]).savefig("profiles.svg")
    iv.compare(result, result)["p_holm"].max()


def misspelt() -> list[Any]:
    """Prove that the check fails: without an error, pyright reports the comment as unnecessary."""
    return [
        iv.Rotatoin,  # pyright: ignore[reportAttributeAccessIssue]
        iv.Rotation(degres=[0, 90]),  # pyright: ignore[reportCallIssue]
    ]
