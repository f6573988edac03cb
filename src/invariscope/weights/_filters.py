"""Where filters are: in a model, in a state dict, or given as they are."""

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
        layer: its name.
        filters: float64 (out, in, k, k); of a locally connected layer (out, place and in, k, k).
    """

    layer: str
    filters: np.ndarray

    @property
    def pairs(self) -> np.ndarray:
        """(out × in, k, k) every filter on its own."""
        return self.filters.reshape(-1, *self.filters.shape[2:])


def filter_banks(source: Any, layers: str | Sequence[str] | None = None) -> list[FilterBank]:
    """The filters of some layers, in the order in which the layers were defined.

    Args:
        source: a module, a state dict, or filters (out, in, k, k) as they are.
        layers: names or globs; None: every convolution whose filters have more than one pixel.
    Raises:
        TypeError: neither of these.
        ValueError: no convolution, a name that no convolution has, or weights that are not finite.
    """
    known = _named_filters(source)
    if not known:
        raise ValueError(
            f"{_described(source)} has no two-dimensional convolution, so there are no filters to look at: "
            "give a network with convolutions, or filters (out, in, k, k)."
        )
    if layers is None:
        chosen = [name for name, weight in known.items() if max(weight.shape[-2:]) > 1] or list(known)
    else:
        chosen = _matching([layers] if isinstance(layers, str) else list(layers), list(known))
    return [FilterBank(name, _as_array(name, known[name])) for name in chosen]


def filter_bank(source: Any, layer: str | None = None) -> FilterBank:
    """The filters of one layer, which may go unnamed where there is only one.

    Raises:
        TypeError, ValueError: as `filter_banks`; several layers and no name, or a glob of several.
    """
    found = filter_banks(source, layer)
    if len(found) > 1:
        names = ", ".join(repr(bank.layer) for bank in found[:8])
        raise ValueError(f"{_described(source)} has {len(found)} such layers; name one of them: {names}.")
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
                f"filters have the shape (out, in, k, k), got {tuple(filters.shape)}: reshape them, or give "
                "the model and a layer."
            )
        return {GIVEN: filters}
    raise TypeError(f"filters come from a module, a state dict or an array, got {type(source).__name__}")


def _module_filters(module: nn.Module) -> Tensor | None:
    """(out, in, k, k) of a convolution, or of a layer that says itself what its filters are."""
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
        raise ValueError(f"the filters of {name!r} hold values that are not finite: training has diverged?")
    return filters


def _described(source: Any) -> str:
    return "the state dict" if isinstance(source, Mapping) else type(source).__name__
