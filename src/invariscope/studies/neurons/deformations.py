"""Affine displacements of a given size about a point: translation, rotation, compression and shear."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import refuse_other, set_integers
from invariscope.common.draws import Draws, Stream
from invariscope.common.registry import unknown

if TYPE_CHECKING:
    from jaxtyping import Float

KINDS = ("translation", "rotation", "compression", "shear")
NORMS = ("rms", "frobenius")


@dataclass(frozen=True)
class Deformations:
    """Kinds, size and number of displacements per patch.

    .. math:: \\tau(s) = t + U (s - p)

    with U = ±1 for compression, ±J (the quarter turn) for rotation, and a symmetric traceless matrix for
    shear; signs and directions of t and U are random.

    Args:
        kinds: any of "translation", "rotation", "compression", "shear".
        amplitude: size in pixels or as a Frobenius norm; see `norm`.
        norm: "rms": the rms displacement over the window in pixels; "frobenius": the norm of U (for
            translations, the length of t in pixels).
        draws: number of displacements per kind and patch.
        seed: draws depend on (seed, sample key, draw) alone.
    """

    kinds: tuple[str, ...] = KINDS
    amplitude: float = 1.0
    norm: str = "rms"
    draws: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        for kind in self.kinds:
            if kind not in KINDS:
                raise unknown("deformation", str(kind), KINDS)
        if not self.kinds or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"deformations must be distinct and among {', '.join(KINDS)}; got {self.kinds}")
        refuse_other(self, norm=NORMS)
        if not 0 < self.amplitude < float("inf"):
            raise ValueError(f"amplitude must be a positive number; got {self.amplitude!r}")
        set_integers(self, draws=1)

    def drawn(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return U (sample, kind, draw, 2, 2) and t (sample, kind, draw, 2), with norms √2 and 1."""
        shape = (len(keys), len(self.kinds), self.draws)
        matrices, shifts = np.zeros((*shape, 2, 2)), np.zeros((*shape, 2))
        for column, kind in enumerate(self.kinds):
            path = (KINDS.index(kind),)
            chance = Draws(self.seed, keys, self.draws, Stream.NEURON_DEFORMATION, path).uniform()
            cosine, sine = np.cos(2 * np.pi * chance), np.sin(2 * np.pi * chance)
            sign, none = np.where(chance < 0.5, -1.0, 1.0), np.zeros_like(chance)
            entries = {
                "translation": (none, none, none, none),
                "rotation": (none, -sign, sign, none),
                "compression": (sign, none, none, sign),
                "shear": (cosine, sine, sine, -cosine),
            }[kind]
            matrices[:, column] = np.stack(entries, axis=-1).reshape(*chance.shape, 2, 2)
            if kind == "translation":
                shifts[:, column] = np.stack([cosine, sine], axis=-1)
        return matrices, shifts

    def reach(self, window: Sequence[int]) -> int:
        """Return an upper bound, in pixels, on displacements about the centre of a window (height, width)."""
        if self.norm == "rms":  # the corners of a square move by √3 times the rms
            return math.ceil(math.sqrt(3) * self.amplitude)
        return math.ceil(self.amplitude * max(math.hypot(*(n - 1 for n in window)) / math.sqrt(8), 1.0))

    def fields(
        self,
        matrices: Float[np.ndarray, "row 2 2"],
        shifts: Float[np.ndarray, "row 2"],
        pivots: Float[np.ndarray, "row 2"],
        window: Sequence[int],
        margin: Sequence[int],
    ) -> Float[Tensor, "row 2 height width"]:
        """Return displacements in pixels over crops, x first.

        Args:
            matrices, shifts: as returned by `drawn`, one row per crop.
            pivots: (x, y) of the fixed point in pixels of the crop.
            window: (height, width) of the receptive field, over which `norm` is taken.
            margin: (rows, columns) of the crop before the window.
        """
        height, width = (m + w for m, w in zip(margin, window, strict=True))
        y, x = np.mgrid[:height, :width].astype(float)
        offsets = np.stack([x, y]) - pivots[:, :, None, None]
        fields = np.einsum("rab,rbhw->rahw", matrices, offsets) + shifts[:, :, None, None]
        if self.norm == "rms":
            inside = fields[:, :, margin[0] :, margin[1] :]
            size = np.sqrt(np.square(inside).sum(axis=1).mean(axis=(1, 2)))
        else:
            size = np.where(np.square(shifts).sum(axis=1) > 0, 1.0, np.sqrt(2))
        # On a window of one pixel, a field about its centre has size 0 and displaces nothing.
        scale = self.amplitude / np.where(size > 0, size, np.inf)
        return torch.from_numpy(fields * scale[:, None, None, None])
