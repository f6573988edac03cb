"""Noise: Gaussian, shot, impulse and speckle noise."""

from __future__ import annotations

import numpy as np

from invariscope.transforms.machinery.corruptions.kinds import Chance, kind


@kind("noise", imagenet=(0.08, 0.12, 0.18, 0.26, 0.38), cifar10=(0.04, 0.06, 0.08, 0.09, 0.10), random=True)
def gaussian_noise(image: np.ndarray, deviation: float, chance: Chance) -> np.ndarray:
    """Add independent noise of a standard deviation."""
    return image + deviation * chance.normal(0, *image.shape)


@kind("noise", imagenet=(60, 25, 12, 5, 3), cifar10=(500, 250, 100, 75, 50), random=True)
def shot_noise(image: np.ndarray, photons: float, chance: Chance) -> np.ndarray:
    """Count photons, whose expected number is `photons` in white."""
    return poisson(image * photons, chance.uniform(0, *image.shape)) / photons


def poisson(mean: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Return the quantiles of Poisson distributions: the least k for which P(at most k) reaches `uniform`."""
    probability = np.exp(-mean)
    reached, count = probability.copy(), np.zeros_like(mean)
    most = float(mean.max())
    for k in range(1, int(most + 12 * most**0.5) + 30):  # more have a probability below the rounding error
        more = uniform > reached
        if not more.any():
            break
        count += more
        probability *= mean / k
        reached += probability
    return count


@kind("noise", imagenet=(0.03, 0.06, 0.09, 0.17, 0.27), cifar10=(0.01, 0.02, 0.03, 0.05, 0.07), random=True)
def impulse_noise(image: np.ndarray, share: float, chance: Chance) -> np.ndarray:
    """Set this share of the values, each independently, to black or white."""
    chosen = chance.uniform(0, *image.shape)
    return np.where(chosen < share / 2, 0.0, np.where(chosen < share, 1.0, image))


@kind("noise", imagenet=(0.15, 0.2, 0.35, 0.45, 0.6), cifar10=(0.06, 0.1, 0.12, 0.16, 0.2), random=True)
def speckle_noise(image: np.ndarray, deviation: float, chance: Chance) -> np.ndarray:
    """Add noise in proportion to the value."""
    return image * (1 + deviation * chance.normal(0, *image.shape))
