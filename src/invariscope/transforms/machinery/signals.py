"""Checks of signals, whose last axis is time."""

from __future__ import annotations

from typing import Any

from invariscope.transforms.machinery.checks import need_floating, need_tensor


def need_signals(family: str, x: Any, least: int = 1) -> None:
    """Raise unless `x` holds floating-point signals (n, time) or (n, channels, time).

    Args:
        family: name of the transform.
        x: the inputs.
        least: smallest number of time steps.
    """
    need_tensor(family, x)
    if x.ndim not in (2, 3):
        raise TypeError(
            f"{family} acts on signals (n, time) or (n, channels, time); got shape {tuple(x.shape)}. For "
            "other data, give callables: Elements([...])."
        )
    need_floating(family, x, "Convert first: x / 32768 for 16-bit audio.")
    if x.shape[-1] < least:
        raise ValueError(f"{family} needs at least {least} time steps; got {x.shape[-1]}.")
