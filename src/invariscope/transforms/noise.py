"""Isotropic noise of a given norm."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.checks import MOST_DRAWS, integer
from invariscope.common.draws import Draws, Stream, sample_keys
from invariscope.transforms.base import Motion, Traits, Transform, no_inverse
from invariscope.transforms.diffeomorphism import Diffeomorphism
from invariscope.transforms.machinery.checks import need_floating, need_tensor, positive
from invariscope.transforms.machinery.given import as_transform
from invariscope.transforms.machinery.traits import traits_of_draws

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True)
class Noise(Transform):
    r"""Gaussian noise with a given norm, or with the norm of another transform's displacement.

    .. math:: t_j x = x + r_{ij}\,\frac{\eta_{ij}}{\|\eta_{ij}\|}, \quad \eta_{ij} \sim N(0, I), \quad
        r_{ij} = \rho \text{ or } \|t'_j x - x\|

    with Euclidean norms over whole samples. Directions depend only on (seed, sample key, draw) and are
    independent of the draws of `like`. With the same seed, the noise of element j is as large as the
    displacement by element j of `like`.

    Caveats: noise has high frequencies, so a network that blurs its input may be stable to noise for that
    reason alone. Noise also changes black borders. It has no inverse and no action on feature maps.

    Args:
        draws: number of draws per sample, 8 by default; with `like`, the number of its elements.
        norm: the norm of the noise; 1 unless `like` is given.
        like: a transform whose displacement of each sample determines the norm. Gradients treat the norm as a
            constant.
    Raises:
        TypeError: the input is not a floating-point tensor; an inverse or an action on feature maps is
            requested.
        ValueError: `norm` or `draws` with `like`, a norm that is not positive, a `like` that changes shapes.
    Source:
        Petrini et al. 2021, arXiv:2105.02468: noise with the norm of a diffeomorphism's displacement.

    >>> moved = Noise(3, norm=2.0).orbit(torch.zeros(5, 10))
    >>> bool(torch.allclose(moved.norm(dim=2), torch.tensor(2.0)))
    True
    """

    draws: int | None = None
    _: KW_ONLY
    norm: float | None = None
    like: Any = None

    def __post_init__(self) -> None:
        if self.like is not None and (self.norm is not None or self.draws is not None):
            raise ValueError("like determines the norm and the number of draws: leave out norm and draws.")
        if self.like is not None:
            self._keep(like=as_transform(self.like))
            return
        norm = positive("norm", 1.0 if self.norm is None else self.norm)
        self._keep(
            norm=norm,
            draws=8 if self.draws is None else integer("draws", self.draws, least=1, most=MOST_DRAWS),
        )

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        """Return noise of norm 3, and noise as large as a smooth deformation's displacement."""
        return cls(3, norm=3), cls(like=Diffeomorphism(2))

    def check(self, x: Any) -> None:
        """Raise TypeError unless `x` is a floating-point tensor that `like`, if given, can act on."""
        need_tensor("Noise", x)
        need_floating(
            "Noise", x, "Convert first, e.g. x.float() / 255. For token indices, transform their embeddings."
        )
        if self.like is not None:
            self.like.check(x)

    def inverse(self) -> Transform:
        """Raise TypeError: the noise depends on the draw and, with `like`, on the sample."""
        raise no_inverse(self, "Keep the untransformed samples, or declare the inverses of your own noise")

    def table(self) -> None:
        """Return None: a sum of two noise vectors has a different norm."""

    def _traits(self) -> Traits:
        if self.like is None:
            return traits_of_draws("noise", self.draws or 0, {"norm": self.norm or 0})
        own = traits_of_draws("noise", len(self.like))
        labels = tuple(f"noise like {label}" for label in self.like.labels)
        likewise = {f"like_{name}": values for name, values in self.like.parameters.items()}
        about = {"parameters": {**own.parameters, **likewise}, "added_by": self.like.traits.added_by}
        return replace(own, labels=labels, **about)

    def apply(self, values: Tensor, motion: Motion) -> Tensor:
        """Add the noise of each draw to its sample."""
        if motion.on_maps or motion.inverse:
            raise TypeError(
                "Noise only acts on inputs: it has no inverse and no action on feature maps. Declare the "
                "action that you mean: Elements([...], actions=[...])."
            )
        return values + _directed(values, motion.draws, self._radii(values, motion))

    def _radii(self, values: Tensor, motion: Motion) -> Tensor:
        if self.like is None:
            return torch.full(values.shape[:2], float(self.norm or 0))
        with torch.no_grad():
            moved = self.like.apply(values, motion)
            if moved.shape != values.shape:
                raise ValueError(
                    f"like must keep the shape of samples; it turned {tuple(values.shape[2:])} into "
                    f"{tuple(moved.shape[2:])}."
                )
            return (moved.double() - values.double()).flatten(2).norm(dim=2)


def isotropic_noise(
    x: Float[Tensor, "sample ..."], radius: Any, indices: Any = None, seed: int = 0, draws: int = 1
) -> Float[Tensor, "sample draw ..."]:
    """Return noise with uniformly distributed direction and the given norm, to be added to x.

    Args:
        x: the samples, of which only the shape, dtype and device are used.
        radius: the norm: one number, one per sample, or (sample, draw).
        indices: keys of the samples; 0, 1, 2, ... by default. Directions depend only on (seed, key, draw).
        seed: seed of the draws.
        draws: number of draws per sample.
    Raises:
        ValueError: radii with a wrong shape, or non-finite radii.

    >>> isotropic_noise(torch.zeros(2, 5), 3.0, draws=4).norm(dim=2)[0].round(decimals=4)
    tensor([3., 3., 3., 3.])
    """
    Noise(draws).check(x)
    radii = torch.as_tensor(radius).detach()
    if tuple(radii.shape) not in ((), (len(x),), (len(x), draws)) or not torch.isfinite(radii).all():
        raise ValueError(
            f"radius must be finite, of shape (), ({len(x)},) or ({len(x)}, {draws}); got shape "
            f"{tuple(radii.shape)}" + ("." if torch.isfinite(radii).all() else ", not all finite.")
        )
    spread = (radii[:, None] if radii.ndim == 1 else radii).expand(len(x), draws)
    keys = Draws(seed=seed, keys=sample_keys(indices, len(x)), slots=draws)
    return _directed(x[:, None].expand(-1, draws, *x.shape[1:]), keys, spread)


def _directed(values: Tensor, draws: Draws, radii: Tensor) -> Tensor:
    """Return noise (sample, draw, ...) with these norms and the shape, dtype and device of the values."""
    own = draws.under(stream=Stream.NOISE_DIRECTION)
    found = own.normal(int(np.prod(values.shape[2:])))
    found /= np.linalg.norm(found, axis=2, keepdims=True)
    dtype = torch.float64 if values.dtype == torch.float64 else torch.float32
    units = torch.from_numpy(found).to(values.device, dtype)
    return (units * radii.to(values.device, dtype)[..., None]).view(values.shape).to(values.dtype)
