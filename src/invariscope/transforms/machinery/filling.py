"""Detection of transforms that fill uncovered parts of an image with zeros."""

from __future__ import annotations

import torch

from invariscope.transforms.base import Motion, Transform
from invariscope.transforms.machinery.affine import common_sampling
from invariscope.transforms.machinery.chain import Step, affine_families, apply_run, runs_of, steps_of
from invariscope.transforms.machinery.chosen import Chosen

_COVERED = 1 - 1e-3  # below this value, a pixel of a transformed white image contains padding


def fills_with_zeros(transform: Transform, size: tuple[int, int], *, seed: int = 0) -> tuple[str, ...]:
    """Return the names of the transforms that fill uncovered pixels of images of this size with zeros.

    Transforms after a callable, which may change the background, are not checked.

    >>> from invariscope.transforms import QuarterTurns, Rotation
    >>> fills_with_zeros(Rotation([0, 30]), (8, 8)), fills_with_zeros(QuarterTurns(), (8, 8))
    (('Rotation',), ())
    >>> fills_with_zeros(Rotation([0, 30], padding="border"), (8, 8))
    ()
    """
    if isinstance(transform, Chosen):
        return fills_with_zeros(transform.of, size, seed=seed)
    motion = transform.motion_of(1, seed=seed)
    for run in runs_of(steps_of(transform, range(len(transform)))):
        families = affine_families(run)
        if not families:
            return ()
        if common_sampling(families).padding == "zeros" and _uncovers(run, size, motion):
            return tuple(dict.fromkeys(type(f).__name__ for f in families if f.sampling is not None))
    return ()


def _uncovers(run: list[Step], size: tuple[int, int], motion: Motion) -> bool:
    """Return whether zeros appear in a transformed white image."""
    white = torch.ones(1, len(motion.elements), 1, *size)
    return bool((apply_run(run, white, motion) < _COVERED).any())
