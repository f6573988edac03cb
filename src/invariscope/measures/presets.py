"""Presets: names of published conventions, each of which sets several options of a measure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invariscope.common.registry import unknown

Presets = Mapping[str, Mapping[str, Any]]


def apply_preset(measure: Any, presets: Presets) -> None:
    """Set the options that the measure's `preset` implies; call from `__post_init__` of a frozen dataclass.

    Raises:
        ValueError: an unknown preset, or an explicit option that contradicts it.
    """
    if measure.preset is None:
        return
    if measure.preset not in presets:
        raise unknown("preset", measure.preset, presets)
    for name, value in presets[measure.preset].items():
        given = getattr(measure, name)
        if name in measure.named_options and given != value:
            raise ValueError(f"preset={measure.preset!r} implies {name}={value!r}, but got {name}={given!r}")
        object.__setattr__(measure, name, value)
