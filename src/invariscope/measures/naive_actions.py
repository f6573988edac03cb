"""Naive implementations of quarter turns acting on responses, for the oracles of measures."""

from __future__ import annotations

import numpy as np

from invariscope.actions.feature_actions import (
    ActionByLayer,
    FeatureAction,
    FibreAction,
    MatrixAction,
    SpatialAction,
)
from invariscope.actions.representations import MatrixStack


def naive_moved(response: np.ndarray, turns: int, action: FeatureAction) -> np.ndarray:
    """Apply this many quarter turns, possibly negative, to a response (C, H, W)."""
    if isinstance(action, ActionByLayer):
        return naive_moved(response, turns, action.actions[0][1])
    if isinstance(action, MatrixAction):
        mixed = _mixed(np.moveaxis(response, action.axis, 0), turns, action.representation)
        return np.moveaxis(mixed, 0, action.axis)
    if not isinstance(action, FibreAction | SpatialAction):
        return response
    moved = np.rot90(response, turns, axes=(-2, -1))
    return _mixed(moved, turns, action.representation) if isinstance(action, FibreAction) else moved


def _mixed(channels: np.ndarray, turns: int, representation: MatrixStack | str) -> np.ndarray:
    """Mix channels (C, ...) by a representation of the group of quarter turns."""
    if isinstance(representation, MatrixStack):
        one = representation.array[1]
    elif representation == "regular":
        one = np.roll(np.eye(4), 1, axis=0)
    else:  # "vector": counter-clockwise, the second entry pointing down
        one = np.array([[0.0, 1.0], [-1.0, 0.0]])
    power = np.linalg.matrix_power(one, turns % 4)
    return np.tensordot(np.kron(np.eye(len(channels) // len(one)), power), channels, 1)


def naive_errors(activations: np.ndarray, action: FeatureAction) -> np.ndarray:
    """Return (sample, element) ‖a(t x) − t a(x)‖ / ‖t a(x)‖, without the first element."""
    rows = []
    for orbit in activations:
        expected = [naive_moved(orbit[0], k, action) for k in range(1, len(orbit))]
        pairs = list(zip(orbit[1:], expected, strict=True))
        rows.append([np.sqrt(np.sum((a - b) ** 2)) / np.sqrt(np.sum(b**2)) for a, b in pairs])
    return np.array(rows)
