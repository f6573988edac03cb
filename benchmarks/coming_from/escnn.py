"""Equivariance errors of a network of `escnn`, beside those of its own check."""

from __future__ import annotations

import contextlib
import io
import warnings
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import skip_init

import invariscope as iv
from benchmarks.coming_from.comparison import Numbers, Row, tensors

TITLE = "escnn"
PACKAGES = ("escnn", "numpy")
TABLES = {
    "escnn": [
        Row("default", "the network: `check_equivariance()`, and `EquivarianceError` on images of 29 × 29"),
        Row("images", "the same images, not noise of 10 × 10"),
        Row(
            "norms", "‖error‖ relative to ‖response‖ without the identity, not the mean of \\|error\\|", 1e-6
        ),
    ],
    "escnn_verdicts": [
        Row("verdict_28", "the network on images of 28 × 28"),
        Row("verdict_29", "the network on images of 29 × 29"),
        Row("conv", "its first convolution alone"),
    ],
}
LAST = "4"


def images(size: int) -> Tensor:
    """Return the images of the page."""
    return torch.rand(16, 1, size, size, generator=torch.Generator().manual_seed(0))


def plain(state: dict[str, Tensor]) -> nn.Module:
    """Return the network that `escnn` exports, with these weights."""
    first, second = (skip_init(nn.Conv2d, k, 8, 3, padding=1, bias=False) for k in (1, 8))
    found = nn.Sequential(first, nn.ReLU(), nn.MaxPool2d(2), second, nn.ReLU())
    found.load_state_dict(state)
    return found.eval()


def ours() -> Numbers:
    """Return our numbers for the exported network."""
    model = plain(tensors(TITLE, lambda: network()[0].export().state_dict()))
    measure = iv.EquivarianceError(feature_action="regular")
    options = {"measures": [measure], "layers": LAST, "progress": False}
    table = iv.measure(model, images(29), iv.QuarterTurns(), **options).table
    mean = float(table[table.measure == "equivariance_error.regular"].value.iloc[0])

    def verdict(size: int, layers: Any = None) -> str:
        options = {"feature_action": "regular", "layers": layers}
        try:
            iv.assert_equivariant(model, images(size), iv.QuarterTurns(), **options)
        except iv.SymmetryError as error:
            return f"fails at layer {error.verdict.broken[0].layer} ({error.verdict.broken[0].kind})"
        return "passes"

    return {
        "default": mean,
        "images": mean,
        "norms": mean,
        "verdict_28": verdict(28),
        "verdict_29": verdict(29),
        "conv": verdict(29, "0"),
    }


def network() -> tuple[Any, Any, Any]:
    """Return a network of `escnn` that is equivariant to quarter turns, its input type and its group."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from escnn import gspaces
        from escnn import nn as layers

        space = gspaces.rot2dOnR2(4)
        grey = layers.FieldType(space, [space.trivial_repr])
        fields = layers.FieldType(space, 2 * [space.regular_repr])
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first, second = (layers.R2Conv(kind, fields, 3, padding=1, bias=False) for kind in (grey, fields))
        pool = layers.PointwiseMaxPool2D(fields, 2)
        found = layers.SequentialModule(first, layers.ReLU(fields), pool, second, layers.ReLU(fields))
        return found.eval(), grey, space


def theirs() -> Numbers:
    """Return the numbers of `escnn`, and those of its definition on our images."""
    model, grey, space = network()
    with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
        torch.manual_seed(0)
        before = np.random.get_state()
        np.random.seed(0)  # elements are drawn from NumPy's global generator
        own = float(np.mean([error for _, error in model.check_equivariance()]))
        np.random.set_state(before)
    x = grey(images(29))
    with torch.no_grad():
        pairs = [(model(x).transform(g).tensor, model(x.transform(g)).tensor) for g in space.testing_elements]
    relative = [(a - b).flatten(1).norm(dim=1) / a.flatten(1).norm(dim=1) for a, b in pairs]
    return {
        "default": own,
        "images": float(torch.stack([(a - b).abs().mean() for a, b in pairs]).mean()),
        "norms": float(torch.stack(relative[1:]).mean()),
        "verdict_28": checked(model),
        "verdict_29": checked(model),
        "conv": checked(model[0]),
    }


def checked(module: Any) -> str:
    """Return the verdict of a module's own check."""
    try:
        with torch.random.fork_rng(devices=[]), contextlib.redirect_stdout(io.StringIO()):
            module.check_equivariance()
    except AssertionError:
        return "fails"
    except ImportError as error:
        return f"{type(error).__name__}: {str(error).split(' required')[0]}"
    return "passes"
