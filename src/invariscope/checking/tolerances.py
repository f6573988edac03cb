"""Effect of rounding on a layer's response: the default tolerance of assertions."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from invariscope.readers.base import OK, Inspection, LayerInfo, LayerKey

SAFETY = 4.0
_TF32 = 2.0**-10


@dataclass(frozen=True)
class Rounding:
    r"""Largest relative error of a layer that rounding in the network's dtype explains.

    .. math:: \rho = 4 \sqrt{d}\, (\varepsilon_s + \varepsilon_a \sqrt{K})

    Each of the first d layers stores its result with an error of ε_s, the error of the coarsest format, and
    forms sums of up to K terms, whose errors of ε_a accumulate like a random walk. bfloat16 and float16 are
    summed in float32. The errors of layers are taken to be independent; the factor 4 is a margin.

    Caveats: differences of large numbers magnify rounding, so a layer that computes such differences needs
    its own tolerance.

    Args:
        depth: d, the number of layers up to and including this one, not counting views of earlier layers.
        terms: K, the largest number of terms in a sum.
        stored: ε_s, the relative error of storing a result.
        summed: ε_a, the relative error of adding a term.
        dtype: the coarsest format.

    >>> Rounding(1, 64, 2**-23, 2**-23, "float32").value == 4 * 9 * 2**-23
    True
    """

    depth: int
    terms: int
    stored: float
    summed: float
    dtype: str

    @property
    def value(self) -> float:
        """The relative error ρ."""
        return SAFETY * math.sqrt(self.depth) * (self.stored + self.summed * math.sqrt(self.terms))

    def __str__(self) -> str:
        layers = "1 layer" if self.depth == 1 else f"{self.depth} layers"
        sums = f"sums of up to {self.terms} terms" if self.terms > 1 else "no sums"
        return f"{self.value:.2g} for rounding ({self.dtype}, {layers}, {sums})"


def roundings(inspection: Inspection, model: Any, *, inputs: int, device: str) -> Mapping[LayerKey, Rounding]:
    """Return the rounding errors of all layers in execution order, or of the output if no layer can be read.

    Args:
        inspection: inspection of all layers.
        model: the measured model. The number of terms is bounded by the largest fan-in of an `nn.Module`, or
            by the size of the largest layer for other models.
        inputs: number of values of one input.
        device: where the model runs; on CUDA, products may use TF32.
    """
    known = _fan_in(model)
    depth, terms, coarsest = 0, known or inputs, torch.float64
    found: dict[LayerKey, Rounding] = {}
    readable = [info for info in inspection.layers if info.status == OK]
    for info in readable or [_whole_output(inspection)]:
        depth += info.alias_of is None
        terms = terms if known else max(terms, math.prod(info.shape))
        coarsest = max(coarsest, getattr(torch, info.dtype), key=_spacing)
        summed = max(_spacing(_accumulated(coarsest)), _product(coarsest, device))
        name = str(coarsest).removeprefix("torch.")
        found[info.layer, info.call] = Rounding(depth, terms, _spacing(coarsest), summed, name)
    return found


def _whole_output(inspection: Inspection) -> LayerInfo:
    """Return the prediction as a layer."""
    found = inspection.prediction
    return LayerInfo("output", 0, found.shape, found.dtype, "output", None, OK)


def _fan_in(model: Any) -> int:
    """Return the largest number of terms in a weighted sum; 0 if no weights are visible."""
    weights = [p for p in model.parameters() if p.ndim > 1] if isinstance(model, nn.Module) else []
    return max((weight[0].numel() for weight in weights if len(weight)), default=0)


def _spacing(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


def _accumulated(dtype: torch.dtype) -> torch.dtype:
    """Return the format in which sums are computed."""
    return torch.float32 if dtype in (torch.bfloat16, torch.float16) else dtype


def _product(dtype: torch.dtype, device: str) -> float:
    """Return the relative error of factors that a device rounds before multiplication; 0 if it does not."""
    if dtype != torch.float32 or not device.startswith("cuda"):
        return 0.0
    shortened = torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32
    return _TF32 if shortened else 0.0
