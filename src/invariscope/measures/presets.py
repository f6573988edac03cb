"""Published conventions as names: a preset sets the options that make a measure what was published."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from invariscope.common.registry import unknown

Presets = Mapping[str, Mapping[str, Any]]


def apply_preset(measure: Any, presets: Presets) -> None:
    """Sets the options that the measure's `preset` stands for; for `__post_init__` of a frozen dataclass.

    Raises:
        ValueError: no such preset, or an option given that contradicts it.
    """
    if measure.preset is None:
        return
    if measure.preset not in presets:
        raise unknown("preset", measure.preset, presets)
    for name, value in presets[measure.preset].items():
        given = getattr(measure, name)
        if name in measure.named_options and given != value:
            raise ValueError(f"preset={measure.preset!r} means {name}={value!r}, but got {name}={given!r}")
        object.__setattr__(measure, name, value)
