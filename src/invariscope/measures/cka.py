"""CKA: similarity of a layer's representation before and after the transformation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from invariscope.block import Block
from invariscope.common.checks import set_integers
from invariscope.common.draws import Stream
from invariscope.measures.base import KnownAnswer, Measure
from invariscope.measures.values import ElementValues, LayerContext, LayerValues, Output, Values
from invariscope.statistics.counts.bin_pilot import chosen_units, responses_of
from invariscope.statistics.kept.drawn_subset import DrawnState, DrawnStatistic
from invariscope.statistics.kept.sample_table import SampleTable
from invariscope.statistics.probes import Untransformed

_FEWEST = 4  # the unbiased estimate divides by n − 3
_ROUNDING = 1e-20  # relative to the sum of squares: size of rounding errors after centring equal responses


@dataclass(frozen=True, kw_only=True)
class CKA(Measure):
    """Whether samples keep their relative positions in a layer when all of them are transformed.

    Linear centred kernel alignment between φ(X) and φ(gX), debiased.

    .. math:: \\mathrm{CKA}_g = \\frac{\\mathrm{HSIC}(K, L_g)}
            {\\sqrt{\\mathrm{HSIC}(K, K)\\,\\mathrm{HSIC}(L_g, L_g)}}, \\quad
        \\mathrm{HSIC}(K, L) = \\frac{1}{n(n-3)} \\Big[\\mathrm{tr}(\\tilde K \\tilde L) +
            \\frac{1^T \\tilde K 1\\, 1^T \\tilde L 1}{(n-1)(n-2)} -
            \\frac{2}{n-2} 1^T \\tilde K \\tilde L 1\\Big]

    with K = φ(X)φ(X)ᵀ and L_g = φ(gX)φ(gX)ᵀ; a tilde means that the diagonal is set to zero.

    Shapes: activations (sample, element, unit...) to one number per layer, the mean over the elements other
    than the identity, and one number per element in `result.curves` (`by_element`). The null pairs each
    sample with another one; it is 0 on average, since HSIC is unbiased.

    All pairs among at most `samples` samples, selected by a hash, are compared in at most `units` units of a
    layer, also selected by a hash. Memory therefore does not grow with the data; the interval reflects the
    selected samples only.

    Caveats: CKA ignores scale and rotations of the representation: 1 means that samples keep their mutual
    distances, not that responses stay the same. A permutation of channels has CKA 1. A few directions of
    large variance dominate it.

    Reading:
        1: the transformed samples have the same geometry as the untransformed ones. 0: they are as unrelated
        as different samples. It does not measure invariance: a rotation of the whole representation leaves it
        at 1.

    Args:
        samples: number of samples compared, at least 4.
        units: number of units used in larger layers.
        seed: seed of both selections.

    Raises:
        ValueError: fewer than 4 samples, or no units.

    Source:
        Kornblith et al. 2019, arXiv:1905.00414; unbiased HSIC: Song et al. 2012, JMLR 13, 1393-1434.

    >>> x = np.random.default_rng(0).normal(size=(9, 3))
    >>> turned = np.stack([x, 5 * x[:, [1, 2, 0]] + 7], axis=1)  # permuted axes, another scale and origin
    >>> print(CKA().oracle(turned, None)[""].round(9))
    1.0
    """

    samples: int = 128
    units: int = 512
    seed: int = 0

    def __post_init__(self) -> None:
        set_integers(self, samples=_FEWEST, units=1)

    def outputs(self) -> dict[str, Output]:
        """Describe the mean alignment of the layer, and the alignment by element."""
        return {
            "": Output("alignment", (-1.0, 1.0), ideal=1.0),
            "by_element": Output("alignment by element", (-1.0, 1.0), ideal=1.0),
        }

    def statistics(self) -> tuple[KeptResponses]:
        """Return the responses of a subset of samples."""
        return (KeptResponses(self.samples, self.units, self.seed),)

    def evaluate(self, finals: Any, layer: LayerContext) -> dict[str, Values]:
        """Return CKA of the layer and of each element."""
        (table,) = finals
        grams = _grams(table["rest"], table["orbits"])
        places = SampleTable({"place": np.arange(len(table["rest"]))}, table.group, table.groups)

        def by_element(part: SampleTable) -> np.ndarray:
            own = grams[:, part["place"][:, None], part["place"]]
            return _alignments(own, own[1:])

        values, moved = places.replicates(by_element), table["moving"].all(axis=0)
        shifted = np.roll(places["place"], 1)  # in the order of hashes, so an arbitrary other sample
        null = _alignments(grams, grams[1:, shifted[:, None], shifted])
        return {
            "": LayerValues(values[:, moved].mean(axis=1), float(null[moved].mean())),
            "by_element": ElementValues(values, counted=layer.moved(values.shape[1])),
        }

    def oracle(self, activations: np.ndarray, labels: np.ndarray | None) -> dict[str, np.ndarray]:
        """Compute the definition term by term; valid if all samples and units are kept."""
        flat = activations.reshape(*activations.shape[:2], -1)
        kernels = [part @ part.T for part in (flat - flat.mean(axis=0)).swapaxes(0, 1)]
        own = [_naive_hsic(kernel, kernel) for kernel in kernels]
        found = [
            _naive_hsic(kernels[0], kernel) / np.sqrt(own[0] * o)
            for kernel, o in zip(kernels, own, strict=True)
        ]
        return {"": np.array(np.mean(found[1:])), "by_element": np.array(found)}

    @classmethod
    def examples(cls) -> tuple[CKA, ...]:
        """Return instances with two seeds, which are equivalent if all samples are kept."""
        return (cls(), cls(seed=1))

    @classmethod
    def known_answers(cls) -> tuple[KnownAnswer, ...]:
        """Return four samples in two pairs of equal responses; the last element pairs them differently."""
        pairs, across = np.array([1.0, 1, -1, -1]), np.array([1.0, -1, 1, -1])
        # Off the diagonal, K is 1 within a pair and −1 between pairs. After U-centring, each row has the
        # entries 2/3·(2, −1, −1) there. The other pairing has the 2 in another place, so its CKA is −1/2.
        activations = np.stack([pairs, -3 * pairs + 2, across], axis=1)[..., None]
        return (
            KnownAnswer({}, activations, [1.0, 1.0, -0.5], output="by_element"),
            KnownAnswer({}, activations, 0.25),
        )


def _grams(rest: np.ndarray, orbits: np.ndarray) -> np.ndarray:
    """Return (1 + element, sample, sample) inner products, those of the untransformed responses first."""
    responses = np.concatenate([rest[:, None], orbits], axis=1).swapaxes(0, 1)
    centred = responses - responses.mean(axis=1, keepdims=True)
    left = np.square(centred).sum(axis=(1, 2)) > _ROUNDING * np.square(responses).sum(axis=(1, 2))
    return centred @ centred.swapaxes(1, 2) * left[:, None, None]


def _alignments(grams: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return (element,) CKA of the first Gram matrix with each of the others; NaN if nothing varies."""
    if grams.shape[1] < _FEWEST:
        return np.full(len(others), np.nan)
    first = _u_centred(grams[0])
    kernels = [_u_centred(gram) for gram in others]
    sizes = np.array([np.square(kernel).sum() for kernel in kernels]) * np.square(first).sum()
    products = np.array([(first * kernel).sum() for kernel in kernels])
    found = np.full(len(kernels), np.nan)
    np.divide(products, np.sqrt(sizes), out=found, where=sizes > 0)
    return np.clip(found, -1, 1)


def _u_centred(gram: np.ndarray) -> np.ndarray:
    """Return the U-centred matrix. The entries of the product of two such matrices sum to n(n − 3)·HSIC."""
    n = len(gram)
    kernel = gram - np.diag(np.diag(gram))
    rows = kernel.sum(axis=0) / (n - 2)
    kernel = kernel - rows - rows[:, None] + kernel.sum() / ((n - 1) * (n - 2))
    np.fill_diagonal(kernel, 0)
    # Equal responses far from the common mean leave rounding errors.
    return kernel * (np.square(kernel).sum() > _ROUNDING * np.square(gram).sum())


def _naive_hsic(first: np.ndarray, second: np.ndarray) -> float:
    n, ones = len(first), np.ones(len(first))
    a, b = (kernel - np.diag(np.diag(kernel)) for kernel in (first, second))
    middle = (ones @ a @ ones) * (ones @ b @ ones) / ((n - 1) * (n - 2))
    return float((np.trace(a @ b) + middle - 2 / (n - 2) * (ones @ a @ b @ ones)) / (n * (n - 3)))


@dataclass(frozen=True)
class KeptResponses(DrawnStatistic):
    """Untransformed and transformed responses of a few samples.

    The final table has the columns "rest" (sample, unit), "orbits" (sample, element, unit) and "moving"
    (sample, element), which is 0 for the identity.

    Args:
        size: number of samples kept per stratum.
        units: number of units kept in larger layers, also selected by a hash.
        seed: seed of both selections.
    """

    stream = Stream.KEPT_RESPONSE
    reads = (Untransformed(),)
    size: int
    units: int
    seed: int

    def bucket_bytes(self, units: int, elements: int) -> int:
        """Return the bytes needed for the orbits of `size` samples."""
        return 4 * self.size * (1 + elements) * min(units, self.units)

    def facts(self, block: Block) -> dict[str, np.ndarray]:
        """Return the selected units, and a mask of the elements other than the identity."""
        units = int(np.prod(block.values.shape[1:]))
        chosen = chosen_units(units, self.units, seed=self.seed)
        return {"chosen": chosen, "moving": block.moving.astype(float)}

    def rows(self, block: Block, samples: np.ndarray, facts: dict[str, np.ndarray]) -> np.ndarray:
        """Return (sample, 1 + element, unit) responses, those of the untransformed input first."""
        columns = np.array([*block.probes["identity"], *range(block.elements)])
        return responses_of(block.values, facts["chosen"])[block.rows_of(samples, columns)]

    def finalize(self, state: DrawnState, groups: list[list[int]]) -> SampleTable:
        """Return the kept samples of the stratum, with the jackknife group of each."""
        rows, group = self.drawn(state, groups)
        responses, moving = rows.astype(np.float64), state.facts["moving"]
        columns = {
            "rest": responses[:, 0],
            "orbits": responses[:, 1:],
            "moving": np.broadcast_to(moving, (len(rows), len(moving))),
        }
        return SampleTable(columns, group, len(groups))
