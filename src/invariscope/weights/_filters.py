"""Convolution filters of a model, of a state dict, or given as an array."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from invariscope.common.globs import matches, matches_any
from invariscope.common.registry import unknown

GIVEN = "filters"


@dataclass(frozen=True, eq=False)
class FilterBank:
    """The filters of one layer.

    Args:
        layer: name of the layer.
        filters: float64 (out, in, k, k); (out, place and in, k, k) for a locally connected layer.
    """

    layer: str
    filters: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """All filters, (out × in, k, k)."""
        return self.filters.reshape(-1, *self.filters.shape[2:])


def filter_banks(source: Any, layers: str | Sequence[str] | None = None) -> list[FilterBank]:
    """Return the filters of some layers, in the order of definition.

    Args:
        source: a module, a state dict, or filters (out, in, k, k).
        layers: names or globs; None selects every convolution whose filters have more than one pixel.
    Raises:
        TypeError: the type of the source is not supported.
        ValueError: the source has no convolution, or none of that name, or its weights are not finite.
    """
    known = _named_filters(source)
    if not known:
        raise ValueError(
            f"{_described(source)} has no two-dimensional convolution: give a network with convolutions, or "
            "filters (out, in, k, k)."
        )
    if layers is None:
        chosen = [name for name, weight in known.items() if max(weight.shape[-2:]) > 1] or list(known)
    else:
        chosen = _matching([layers] if isinstance(layers, str) else list(layers), list(known))
    return [FilterBank(name, _as_array(name, known[name])) for name in chosen]


def filter_bank(source: Any, layer: str | None = None) -> FilterBank:
    """Return the filters of one layer, whose name may be omitted if it is the only one.

    Raises:
        TypeError, ValueError: as in `filter_banks`; also if several layers match.
    """
    found = filter_banks(source, layer)
    if len(found) > 1:
        names = ", ".join(repr(bank.layer) for bank in found[:8])
        raise ValueError(f"{_described(source)} has {len(found)} matching layers: name one of {names}.")
    return found[0]


def _named_filters(source: Any) -> dict[str, Tensor]:
    if isinstance(source, nn.Module):
        found = ((name, _module_filters(module)) for name, module in source.named_modules())
        return {name or GIVEN: weight for name, weight in found if weight is not None}
    if isinstance(source, Mapping):
        weights = {str(name).removesuffix(".weight"): value for name, value in source.items()}
        return {
            name: value for name, value in weights.items() if isinstance(value, Tensor) and value.ndim == 4
        }
    if isinstance(source, (Tensor, np.ndarray)):
        filters = torch.as_tensor(source)
        if filters.ndim != 4:
            raise ValueError(
                f"filters must have shape (out, in, k, k), got {tuple(filters.shape)}: reshape them, or give "
                "the model and a layer."
            )
        return {GIVEN: filters}
    raise TypeError(f"filters must come from a module, a state dict or an array; got {type(source).__name__}")


def _module_filters(module: nn.Module) -> Tensor | None:
    """Return the filters (out, in, k, k) of a convolution, or of a layer with a method `filter_bank`."""
    if isinstance(module, nn.Conv2d):
        return module.weight
    own = getattr(module, "filter_bank", None)
    return own() if callable(own) else None  # type: ignore[return-value]


def _matching(patterns: list[str], names: list[str]) -> list[str]:
    for pattern in patterns:
        if not any(matches(pattern, name) for name in names):
            raise unknown("convolution", pattern, names)
    return [name for name in names if matches_any(patterns, name)]


def _as_array(name: str, weight: Tensor) -> np.ndarray:
    filters = weight.detach().to("cpu", torch.float64).numpy()
    if not np.isfinite(filters).all():
        raise ValueError(f"the filters of {name!r} are not all finite: did training diverge?")
    return filters


def _described(source: Any) -> str:
    return "the state dict" if isinstance(source, Mapping) else type(source).__name__
