"""Spatial frequencies of feature maps."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import torch

from invariscope.block import Block, NotApplicableError
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.values import SHARE, CurveValues, LayerContext, Output, UnitValues, Values
from invariscope.statistics.probes import Untransformed
from invariscope.statistics.rounding import quotient
from invariscope.statistics.sums import BucketSums, SumStatistic

PARAMETER = "frequency_cpp"


@dataclass(frozen=True, kw_only=True)
class Spectrum(Measure):
    """Which spatial frequencies a layer's feature maps contain.

    Power of each feature map by spatial frequency, for untransformed inputs.

    .. math:: P_{cr} = \\Big\\langle \\sum_{k \\in r} \\Big|\\frac{1}{HW} \\sum_s a_c(s)\\,
        e^{-2\\pi i (k_1 s_1 / H + k_2 s_2 / W)}\\Big|^2 \\Big\\rangle_i, \\qquad
        \\sum_r P_{cr} = \\langle a_c(s)^2 \\rangle_{s,i}

    Shapes: feature maps (sample, C, H, W) to two curves over annuli r of folded frequency, in cycles per
    position of the map: `power`, the mean over channels, and `share`, the mean over channels of each
    channel's power without its constant part, normalised to sum to 1. Per channel: `mean_frequency`, the
    power-weighted mean without the constant part, and `dc`, the constant part's share of the total power.
    `result.curves` holds the curves, `result.maps["spectrum.power", layer]` the (channel, annulus) values.
    Layers without feature maps are left out.

    Annuli have a width of one cycle across the larger side. Frequencies above half a cycle per position are
    negative: k = H − 1 counts as −1. The transform is not used.

    Caveats: pooling increases the distance between positions, so that the same pattern has a higher frequency
    afterwards; a ReLU adds harmonics; padded maps have an edge, which has power at all frequencies.

    Reading:
        Frequencies are in cycles per position of the map: 0 is constant, and 0.5 alternates between
        neighbouring positions. Layers of different resolution are not directly comparable. `dc` near 1: maps
        are nearly flat.

    Source:
        Tomasini et al. 2022, arXiv:2210.01506, who relate the frequencies of filters to pooling; here applied
        to responses.

    >>> stripes = np.array([1.0, -1.0, 1.0, -1.0]).reshape(1, 1, 1, 1, 4)
    >>> found = Spectrum().oracle(np.concatenate([stripes, stripes]), None)
    >>> found["power"].round(6), found["mean_frequency"]
    (array([0., 0., 1.]), array([0.5]))
    """

    def outputs(self) -> dict[str, Output]:
        """Describe two curves per layer, and two numbers per channel."""
        return {
            "power": Output("power by frequency", floor=False),
            "share": Output("share of the power by frequency", SHARE, floor=False),
            "mean_frequency": Output("mean frequency", (0.0, 0.5**0.5), floor=False),
            "dc": Output("constant part", SHARE, floor=False),
        }

    def statistics(self) -> tuple[RingPowers]:
        """Return power by channel and annulus."""
        return (RingPowers(),)

    def evaluate(self, finals: tuple[RingMeans], layer: LayerContext) -> dict[str, Values]:
        """Return two curves per layer, and two numbers per channel."""
        (found,) = finals
        total, constant = found.power.sum(axis=2), found.power[:, :, 0]
        varied = found.power[:, :, 1:].sum(axis=2)
        silent = total[0] == 0
        flat = varied[0] <= _rounding(total[0], double=found.double)
        dc = np.where(silent, np.nan, quotient(constant, total))
        mean = np.where(flat, np.nan, quotient(found.moment, varied))
        shares = np.where(flat[:, None], np.nan, quotient(found.power[:, :, 1:], varied[:, :, None]))
        return {
            "power": _curve(found.power, found.frequency, np.ones(len(flat), bool)),
            "share": _curve(shares, found.frequency[1:], ~flat),
            "mean_frequency": UnitValues(mean, ~flat, dead=int(flat.sum())),
            "dc": UnitValues(dc, ~silent, dead=int(silent.sum())),
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition frequency by frequency; element 0 is the untransformed input."""
        maps = activations[:, 0]
        height, width = maps.shape[2:]
        rings: dict[int, list[np.ndarray]] = {}
        moment = np.zeros(maps.shape[1])
        for k, q in np.ndindex(height, width):
            wave = np.exp(
                -2j * np.pi * (k * np.arange(height)[:, None] / height + q * np.arange(width) / width)
            )
            power = np.square(np.abs((maps * wave).mean(axis=(2, 3)))).mean(axis=0)
            u, v = (f / n if 2 * f < n else f / n - 1 for f, n in ((k, height), (q, width)))
            radius = float(np.hypot(u, v))
            rings.setdefault(int(radius * max(height, width) + 0.5 + 1e-9), []).append(power)
            moment += radius * power
        whole = np.stack([np.sum(rings[ring], axis=0) for ring in sorted(rings)], axis=1)
        varied = whole[:, 1:].sum(axis=1)
        with np.errstate(invalid="ignore"):  # shares of a map that is zero are undefined
            return {
                "power": whole.mean(axis=0),
                "share": np.nanmean(whole[:, 1:] / varied[:, None], axis=0),
                "mean_frequency": moment / varied,
                "dc": whole[:, 0] / whole.sum(axis=1),
            }

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return 1 + a cosine of 3 cycles on 4 positions, which aliases to −1 cycle, and a flat map."""
        wave = 1 + np.cos(2 * np.pi * 3 * np.arange(4) / 4)
        maps = np.stack([np.tile(wave, (4, 1)), np.full((4, 4), 2.0)])
        activations = np.stack([maps, maps])[:, None]
        answers = {
            "power": [2.5, 0.25, 0.0, 0.0],
            "share": [1.0, 0.0, 0.0],
            "mean_frequency": [0.25, np.nan],
            "dc": [2 / 3, 1.0],
        }
        return KnownAnswer.each({}, activations, answers)


def _rounding(total: np.ndarray, *, double: bool) -> np.ndarray:
    """Return the (channel,) largest power that counts as zero, as for the normalized variance."""
    tiny = 1e-10 if double else 32 * float(np.finfo(np.float32).eps)
    return tiny**2 * np.maximum(total, 1e-6 * total.mean())


def _curve(values: np.ndarray, frequency: np.ndarray, counted: np.ndarray) -> CurveValues:
    """Return the mean over the counted channels of (replicate, channel, ring) values."""
    mean: Any = values[:, counted].mean(axis=1) if counted.any() else np.full_like(values[:, 0], np.nan)
    labels = tuple(f"{f:.3g} cycles/position" for f in frequency)
    return CurveValues(mean, PARAMETER, tuple(map(float, frequency)), labels, units=values[0])


_VALUES = 1 << 22  # number of values that are transformed at once


@dataclass(frozen=True)
class RingMeans:
    """Mean power over samples, by channel.

    Args:
        power: (replicate, channel, ring) mean square of the part of a map with frequencies in the ring; ring
            0 is the constant part. The sum over rings is the mean square of the map.
        moment: (replicate, channel) Σ |frequency| · power, in cycles per position.
        frequency: (ring,) centre of each ring, in cycles per position.
        double: whether the activations were float64.
    """

    power: np.ndarray
    moment: np.ndarray
    frequency: np.ndarray
    double: bool


@dataclass(frozen=True)
class RingPowers(SumStatistic):
    """Σ over samples of |F(k)|²/(HW)² by ring, with F the transform of the untransformed input's maps.

    The sums are computed in float64. Frequencies are folded: those above half a cycle per position are
    negative.
    """

    reads = (Untransformed(),)

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for one number per unit, an upper bound: rings are fewer than positions."""
        return 8 * units

    def init(self, block: Block, *, buckets: int, pilot: object = None) -> BucketSums:
        """Return empty sums."""
        shape = tuple(block.values.shape[1:])
        if len(shape) != 3 or shape[1] * shape[2] < 2:
            raise NotApplicableError(
                f"a spectrum needs feature maps (C, H, W) with at least two positions; got {shape}"
            )
        rings = len(folded_rings(shape[1], shape[2])[1])
        return BucketSums.empty(block, buckets, {"power": (shape[0], rings), "moment": (shape[0],)})

    def update(self, state: BucketSums, block: Block) -> None:
        """Add the block's samples."""
        maps = block.rest().detach()
        folding = torch.from_numpy(_folding(*state.shape[1:])).to(maps.device)
        few = max(1, _VALUES // int(np.prod(state.shape)))
        for bucket, samples in block.membership:
            state.counts[bucket] += len(samples)
            for low in range(0, len(samples), few):
                chosen = torch.from_numpy(samples[low : low + few]).to(maps.device)
                squares = torch.fft.rfft2(maps[chosen].double()).abs().square().sum(dim=0)
                found = (squares.flatten(1) @ folding).cpu().numpy()
                state.sums["power"][bucket] += found[:, :-1]
                state.sums["moment"][bucket] += found[:, -1]

    def finalize(self, state: BucketSums, groups: list[list[int]]) -> RingMeans:
        """Return means over samples."""
        counts = state.samples(groups)[:, None]
        power = quotient(state.replicates("power", groups), counts[..., None])
        moment = quotient(state.replicates("moment", groups), counts)
        return RingMeans(power, moment, folded_rings(*state.shape[1:])[1], state.double)


@lru_cache(maxsize=64)
def folded_rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the ring of every frequency (height, width), and the frequency of every ring.

    With n the larger side, ring r holds the frequencies with r − ½ ≤ n·√(u² + v²) < r + ½, where u and v are
    in cycles per position from −½ to ½. Empty rings are left out.

    >>> ring, frequency = folded_rings(1, 4)
    >>> ring.tolist(), frequency.tolist()
    ([[0, 1, 2, 1]], [0.0, 0.25, 0.5])
    """
    n = max(height, width)
    # The ring of a radius of exactly r + ½ must not depend on rounding.
    radii = np.floor(n * _radius(height, width) + 0.5 + 1e-9)
    found, ring = np.unique(radii, return_inverse=True)
    return ring.reshape(height, width), found / n


def _radius(height: int, width: int) -> np.ndarray:
    return np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width))


@lru_cache(maxsize=64)
def _folding(height: int, width: int) -> np.ndarray:
    """Return weights (frequency, ring + 1) that sum power by ring and, last, power times radius."""
    ring, frequency = folded_rings(height, width)
    half = width // 2 + 1
    twice = np.full(half, 2.0)  # the other half of the plane mirrors this one
    twice[0] = 1.0
    if width % 2 == 0:
        twice[-1] = 1.0
    weight = np.broadcast_to(twice, (height, half)) / (height * width) ** 2
    own = (ring[:, :half].ravel()[:, None] == np.arange(len(frequency))) * weight.ravel()[:, None]
    return np.concatenate([own, (_radius(height, width)[:, :half] * weight).reshape(-1, 1)], axis=1)
