"""Smooth random deformations of maximum entropy."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from dataclasses import KW_ONLY, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import MOST_DRAWS, integer
from invariscope.common.draws import Draws, Stream
from invariscope.transforms.base import Traits, Transform
from invariscope.transforms.deformation import Deformation
from invariscope.transforms.diffeomorphism_augmentation import DiffeomorphismAugmentation
from invariscope.transforms.machinery import modes as ensemble
from invariscope.transforms.machinery.checks import choice, number, numbers
from invariscope.transforms.machinery.deforming import Deforming, Size
from invariscope.transforms.machinery.traits import traits_of_draws
from invariscope.transforms.machinery.warping import folds

PRESETS = ("petrini2021",)
_MOST_ATTEMPTS = 200
_Pair = tuple[float, float]


@dataclass(frozen=True)
class Diffeomorphism(Deforming):
    r"""Random smooth deformations of maximum entropy at a given size, drawn per sample.

    .. math:: (\tau x)(s) = x(s - \tau(s)), \quad
        \tau_a(u, v) = \sum_{ij} C^a_{ij} \sin(i\pi u) \sin(j\pi v), \quad
        C^a_{ij} \sim N\!\left(0, \frac{T}{i^2 + j^2}\right)

    with s = (u, v) in [0, 1]², u to the right, and modes √(i² + j²) < c + ½. The border does not move. Each
    element is one draw per sample, and fields depend only on (seed, sample key, draw).

    The size is set by the *nominal* displacement in pixels, δ = (n/2)√(πT ln c), by the *exact* rms
    displacement over the image, δ = n√(T·S/2) with S = Σ 1/(i² + j²), or by the temperature T itself. Here n
    is the number of pixels along each axis. On the grid of n points, the rms displacement is s·((n −
    1)/n)·√(T·S/2), with s the factor that converts displacements to pixels (see `preset`).

    Caveats: the nominal displacement is not the actual one, which is 0.84 pixels at δ = 1 and c = 3.
    Interpolation blurs; Gaussian interpolation does so even where nothing moves (see `baseline`). Fields may
    fold (see `folded`): a third of them do at T2 and c = 3. If folded fields are rejected, the others are
    smaller than the temperature suggests. There is no inverse and no group table.

    Args:
        draws: number of fields per sample.
        delta_px: displacement in pixels, one number or (x, y); 1 unless a temperature is given.
        temperature: T, instead of a displacement.
        c: largest number of half waves.
        cutoff: "code", √(i² + j²) < c + ½, or "paper", i² + j² ≤ c².
        displacement: whether delta_px is "nominal" or "exact".
        reject_folded: redraw folded fields until none folds.
        preset: "petrini2021" sets `scale="n"`, as the published code does.
    Raises:
        TypeError: the inputs are not images, or an inverse is requested.
        ValueError: invalid options, c = 1 with the nominal displacement, images too small for c.
    Warns:
        UserWarning: the temperature is outside `allowed_range`.
    Source:
        Petrini et al. 2021, arXiv:2105.02468, section 2 and appendix.

    >>> Diffeomorphism(2).labels
    ('draw 1', 'draw 2')
    >>> _ = torch.manual_seed(0)
    >>> Diffeomorphism(2).orbit(torch.rand(3, 1, 28, 28)).shape
    torch.Size([3, 2, 1, 28, 28])
    >>> [round(t, 7) for t in Diffeomorphism().temperatures((32, 28))]
    [0.0014783, 0.0011318]
    """

    draws: int = 8
    _: KW_ONLY
    delta_px: float | Sequence[float] | None = None
    temperature: float | None = None
    c: int = 3
    cutoff: str = "code"
    displacement: str = "nominal"
    reject_folded: bool = False
    preset: str | None = None

    temperature_of = staticmethod(ensemble.temperature_of)
    displacement_of = staticmethod(ensemble.displacement_of)
    allowed_range = staticmethod(ensemble.allowed_range)

    @classmethod
    def from_coefficients(
        cls, coefficients: Any, *, interpolation: str = "bilinear", scale: str | None = None
    ) -> Transform:
        """Return fields with given coefficients instead of drawn ones; see `Deformation`."""
        return Deformation(coefficients, interpolation=interpolation, scale=scale)

    @classmethod
    def augmentation(cls, **options: Any) -> Transform:
        """Return fields of random temperature and cutoff for training; see `DiffeomorphismAugmentation`."""
        return DiffeomorphismAugmentation(**options)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return fields of the published size, large fields that do not fold, and an exact displacement."""
        return (
            cls(2, preset="petrini2021"),
            cls(3, temperature=0.012, reject_folded=True, interpolation="cubic"),
            cls(2, delta_px=1.5, displacement="exact", c=1),
        )

    def _traits(self) -> Traits:
        sizes: dict[str, float]
        if self.temperature is not None:
            sizes = {"temperature": self.temperature}
        elif isinstance(self.delta_px, tuple):
            sizes = dict(zip(("delta_x_px", "delta_y_px"), self.delta_px, strict=True))
        else:
            sizes = {"delta_px": self._deltas[0]}
        return traits_of_draws("draw", self.draws, sizes)

    def temperatures(self, size: Size) -> _Pair:
        """Return the temperatures along (x, y) on images of (H, W) pixels."""
        if self.temperature is not None:
            return self.temperature, self.temperature
        return self._converted(ensemble.temperature_of, self._deltas, size)

    def typical_displacement(self, size: Size) -> _Pair:
        """Return the nominal or exact displacement along (x, y), in pixels, on images of (H, W) pixels."""
        return self._converted(ensemble.displacement_of, self.temperatures(size), size)

    def _converted(self, convert: Callable[..., float], values: Sequence[float], size: Size) -> _Pair:
        """Convert between displacements and temperatures, along (x, y) on images of (H, W) pixels."""
        x, y = (
            convert(value, n, self.c, displacement=self.displacement, cutoff=self.cutoff)
            for value, n in zip(values, size[::-1], strict=True)
        )
        return x, y

    @property
    def _deltas(self) -> _Pair:
        x, y = np.broadcast_to(np.array(self.delta_px, float), 2).tolist()
        return x, y

    @property
    def _modes(self) -> int:
        return len(ensemble.spectrum(self.c, self.cutoff))

    def _checked(self) -> dict[str, Any]:
        if self.preset is not None:
            choice("preset", self.preset, PRESETS)
        if self.delta_px is not None and self.temperature is not None:
            raise ValueError(
                f"delta_px={self.delta_px} and temperature={self.temperature} both set the size of the "
                "fields: give only one."
            )
        kept: dict[str, Any] = {"draws": integer("draws", self.draws, least=1, most=MOST_DRAWS)}
        if self.temperature is not None:
            ensemble.displacement_of(self.temperature, 3, self.c, displacement="exact", cutoff=self.cutoff)
            kept["temperature"] = float(self.temperature)
        else:
            kept["delta_px"] = _delta(1.0 if self.delta_px is None else self.delta_px)
            deltas = np.broadcast_to(kept["delta_px"], 2).tolist()
            self._converted(ensemble.temperature_of, deltas, (3, 3))  # raises for invalid options
        if self.preset is not None and self.scale is None:
            kept["scale"] = "n"
        return kept

    def _draw(self, elements: np.ndarray, draws: Draws, size: Size | None) -> Tensor:
        if size is None and self.temperature is None:
            raise ValueError(
                "the temperature for a displacement in pixels depends on the image size: give size=(H, W)."
            )
        temperatures = self.temperatures(size or (3, 3))
        if size is not None:
            self._warn_outside(temperatures, size)
        spread = np.sqrt(temperatures)[:, None, None] * ensemble.spectrum(self.c, self.cutoff)
        found = ensemble.drawn_coefficients(draws, spread)
        if self.reject_folded:
            found = _unfolded(found, draws, spread)
        return torch.from_numpy(found)

    def _warn_outside(self, temperatures: _Pair, size: Size) -> None:
        if self.c == 1:  # the range is not defined: both ends divide by ln c
            return
        for temperature, n in zip(temperatures, size[::-1], strict=True):
            wrong = ensemble.outside(temperature, n, self.c, may_fold=not self.reject_folded)
            if wrong:
                warnings.warn(wrong, stacklevel=2)


def _unfolded(found: np.ndarray, draws: Draws, spread: np.ndarray) -> np.ndarray:
    """Redraw every folded field, each under its own key, until none folds."""
    flat = folds(torch.from_numpy(found).flatten(0, 1)).numpy().reshape(found.shape[:2])
    for attempt in range(1, _MOST_ATTEMPTS):
        if not flat.any():
            return found
        rows = np.flatnonzero(flat.any(axis=1))
        again = draws.take(rows).under(attempt, stream=Stream.REDRAWN_FIELD)
        redrawn = ensemble.drawn_coefficients(again, spread)
        fresh = np.where(flat[rows][:, :, None, None, None], redrawn, found[rows])
        found[rows] = fresh
        flat[rows] = folds(torch.from_numpy(fresh).flatten(0, 1)).numpy().reshape(fresh.shape[:2])
    raise ValueError(
        f"{int(flat.sum())} fields folded in each of {_MOST_ATTEMPTS} draws: at this temperature nearly all "
        "fields fold. Lower the temperature (allowed_range gives T2), or set reject_folded=False."
    )


def _delta(value: Any) -> float | tuple[float, ...]:
    if not isinstance(value, list | tuple | np.ndarray):
        return number("delta_px", value)
    if len(value) != 2:
        raise ValueError(f"delta_px must be one number or a pair (x, y); got {len(value)} numbers.")
    return numbers("delta_px", value)
