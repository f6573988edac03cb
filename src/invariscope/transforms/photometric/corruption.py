"""The common corruptions of ImageNet-C, with severities."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import integer
from invariscope.common.draws import Draws, Stream
from invariscope.common.registry import unknown
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.machinery.checks import choice, need_images
from invariscope.transforms.machinery.compression import refuse_gradient
from invariscope.transforms.machinery.corruptions import blur, digital, noise, weather  # noqa: F401
from invariscope.transforms.machinery.corruptions.kinds import BENCHMARKS, GROUPS, KINDS, Chance, Kind
from invariscope.transforms.machinery.each_element import by_draw, widened
from invariscope.transforms.machinery.photometric import (
    from_unit_range,
    need_channels,
    need_values,
    refuse_maps,
    unit_range,
    value_range,
)
from invariscope.transforms.machinery.traits import Inputs

_LEFT_OUT = {
    "frost": "it pastes photographs of frost, which this library does not contain",
    "spatter": "it depends on OpenCV's edge detector and distance transform",
}


@dataclass(frozen=True)
class Corruption(Transform):
    r"""The common corruptions of ImageNet-C (noise, blur, weather, digital), at severities 1 to 5.

    .. math:: t_j x_i = \mathrm{clip}\big(c_k(x_i;\, \theta_{k, s}, \omega_{ij})\big)

    for kind k and severity s of element j, with the published strengths θ. The elements are the untouched
    image ("clean", severity 0) and all combinations of kinds and severities. Random numbers ω depend only on
    (seed, sample key, element) and never on a global generator.

    - noise: gaussian_noise, shot_noise, impulse_noise, speckle_noise
    - blur: gaussian_blur, defocus_blur, glass_blur, motion_blur, zoom_blur
    - weather: snow, fog, brightness
    - digital: contrast, elastic_transform, pixelate, jpeg_compression, saturate

    Strengths in pixels are for images of 224 × 224 ("imagenet") or 32 × 32 ("cifar10"), and are not rescaled
    for other sizes. Images need 1 or 3 channels. There is no inverse, no action on feature maps and no
    gradient.

    Caveats: accuracies differ from those on the published ImageNet-C files, which were saved as JPEG of
    quality 85 after the corruption; here, values stay unrounded (except in glass_blur, snow and
    jpeg_compression). Random numbers differ. Motion blur, also in snow, follows ImageMagick's formula instead
    of calling it, and elastic deformation interpolates without OpenCV's fixed-point rounding. Frost and
    spatter are not available. Images are corrupted one by one on the CPU, which takes 1 to 300 ms per
    element and image of 224 × 224.

    Args:
        kinds: the name of a kind or group, a list of names, or "all".
        severities: whole numbers from 1 to 5; 0 adds the clean image.
        benchmark: "imagenet" or "cifar10": which strengths to use.
        low: value of black; 0 by default.
        high: value of white; 1 by default.
    Raises:
        TypeError: images without 1 or 3 channels; images that require a gradient; an inverse or an action on
            feature maps is requested.
        ValueError: unknown kinds or severities; values outside the range, as after normalisation.
    Source:
        Hendrycks and Dietterich 2019, arXiv:1903.12261; strengths from
        https://github.com/hendrycks/robustness.

    >>> Corruption("fog", (0, 1, 3)).labels
    ('clean', 'fog 1', 'fog 3')
    >>> len(Corruption("noise"))
    21
    """

    inputs: ClassVar[Inputs] = Inputs((3, 28, 28), low=0.0, high=1.0, gradients=False)
    acts_on_maps: ClassVar[bool] = False

    kinds: str | Sequence[str] = "gaussian_noise"
    severities: Sequence[int] = (0, 1, 2, 3, 4, 5)
    _: KW_ONLY
    benchmark: str = "imagenet"
    low: float = 0.0
    high: float = 1.0

    def __post_init__(self) -> None:
        choice("benchmark", self.benchmark, BENCHMARKS)
        low, high = value_range(self.low, self.high)
        self._keep(kinds=_names(self.kinds), severities=_severities(self.severities), low=low, high=high)

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return random kinds with the clean image, and deterministic kinds without it."""
        drawn = ("impulse_noise", "glass_blur", "motion_blur", "snow", "fog", "elastic_transform")
        plain = ("defocus_blur", "zoom_blur", "contrast", "pixelate", "saturate")
        return cls(drawn, (0, 1), benchmark="cifar10"), cls(plain, (2,))

    def check(self, x: Any) -> None:
        """Raise unless `x` holds floating-point images (n, C, H, W) with values from `low` to `high`."""
        need_images("Corruption", x)
        need_channels("Corruption", x, (1, 3))
        need_values("Corruption", x, self.low, self.high)

    def inverse(self) -> Transform:
        """Raise TypeError: corruptions lose information."""
        raise no_inverse(self, "Keep the untransformed samples, or declare the inverses of callables")

    def table(self) -> None:
        """Return None: corruptions do not form a group."""

    def _traits(self) -> Traits:
        levels = [(kind.name, severity) if kind else ("clean", 0) for kind, severity in self._elements]
        return Traits(
            tuple(f"{name} {severity}" if severity else name for name, severity in levels),
            {"severity": tuple(float(severity) for _, severity in levels)},
            identity=0 if 0 in self.severities else None,
            exact=tuple(severity == 0 for _, severity in levels),
            per_sample=any(kind.random for kind, _ in self._elements if kind),
            invertible=False,
            added_by=("kinds", "severities"),
        )

    @property
    def _elements(self) -> list[tuple[Kind | None, int]]:
        """The kind, None for the clean image, and the severity of each element."""
        clean: list[tuple[Kind | None, int]] = [(None, 0)] * (0 in self.severities)
        return clean + [(KINDS[name], s) for name in self.kinds for s in self.severities if s > 0]

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Corrupt each image on its own."""
        refuse_maps(self, motion)
        if motion.inverse:
            self.inverse()
        refuse_gradient("Corruption", values)
        if values.is_meta:
            return values.clone()
        elements, draws = self._elements, motion.draws.under(stream=Stream.IMAGE_CORRUPTION)

        def change(image: Tensor, element: int, row: int, column: int) -> Tensor:
            kind, severity = elements[element]
            if kind is None:
                return image
            strength = kind.strengths[self.benchmark][severity - 1]
            pixels = unit_range(widened(image), self.low, self.high).double().movedim(0, -1).cpu().numpy()
            if np.isnan(pixels).any():  # some kinds pass through bytes, which have no NaN
                return torch.full_like(image, torch.nan)
            found = kind.apply(pixels, strength, Chance(_one(draws, row, column)))
            changed = torch.from_numpy(np.ascontiguousarray(found.clip(0, 1))).movedim(-1, 0)
            return from_unit_range(changed, self.low, self.high).to(image)

        return by_draw(values, motion, change)


def _one(draws: Draws, row: int, column: int) -> Draws:
    """Return the draws of one sample and column."""
    slot = column if draws.chosen is None else int(draws.chosen[column])
    return replace(draws.take(np.array([row])), slots=1, chosen=np.array([slot]))


def _names(given: Any) -> tuple[str, ...]:
    """Return the names of kinds, with groups replaced by their kinds."""
    names = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else None
    if names is None or not all(isinstance(name, str) for name in names):
        raise TypeError(f"kinds must be a name or a list of names; got {given!r}.")
    if not names:
        raise ValueError("kinds is empty: a transform needs at least one element.")
    found: list[str] = []
    for name in names:
        if name in _LEFT_OUT:
            raise ValueError(f"{name!r} is not available: {_LEFT_OUT[name]}.")
        own = [kind.name for kind in KINDS.values() if name in (kind.name, kind.group, "all")]
        if not own:
            raise unknown("corruption", name, [*KINDS, *GROUPS, "all"])
        found += own
    return tuple(dict.fromkeys(found))


def _severities(given: Any) -> tuple[int, ...]:
    if isinstance(given, str | int | float) or not isinstance(given, Iterable):
        raise TypeError(f"severities must be a list of whole numbers from 0 to 5; got {given!r}.")
    found = tuple(integer(f"severities[{k}]", level, least=0, most=5) for k, level in enumerate(given))
    if not found or len(set(found)) < len(found):
        raise ValueError(f"severities must be different numbers from 0 to 5; got {list(found)}.")
    return found
