"""Identify samples, and order them for the walk (the pass over all samples): keys, ranks, pairs and groups.

Results must not depend on the order in which data are stored. Each sample has a 64-bit key; its rank is its
position when samples are sorted by a hash of seed and key. Pairs, jackknife groups, subsets and draws depend
only on keys and ranks.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from invariscope.common.draws import Stream, drawn_words
from invariscope.common.samples import Inputs, is_structured, sample_digest
from invariscope.intervals import GROUPS
from invariscope.statistics.pairs import partners

CONTENT, IDS, INDEX = "content", "ids", "index"


@dataclass(frozen=True, eq=False)
class Order:
    """Order in which samples are walked (read and measured), with their pairs and groups.

    Args:
        keys: (sample,) keys, by position in the data.
        walk: (rank,) positions in the data.
        pairs: (rank,) pair numbers, ascending: the samples of a pair are adjacent.
        partners: (rank,) rank of each sample's partner, -1 for none.
        groups: (rank,) jackknife groups.
        clusters: (rank,) cluster numbers; None if there are no clusters.
        contents: (sample,) digests of the inputs, by position in the data; None if they are not known.
        kind: origin of the keys: "content", "ids" or "index".
        arrival: whether samples are walked in stored order instead of by rank.
    """

    keys: np.ndarray
    walk: np.ndarray
    pairs: np.ndarray
    partners: np.ndarray
    groups: np.ndarray
    clusters: np.ndarray | None = None
    kind: str = INDEX
    arrival: bool = False
    contents: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.walk)

    def first(self, samples: int) -> Order:
        """Return the order of the first samples of the walk, with new pairs."""
        clusters = None if self.clusters is None else self.clusters[:samples]
        if self.arrival:
            mates = without_own_cluster(partners(samples), clusters)
            cut = {"walk": self.walk[:samples], "groups": self.groups[:samples], "clusters": clusters}
            return replace(self, **cut, partners=mates, pairs=pair_numbers(samples))
        known = Identities(self.keys, self.kind, contents=self.contents)
        return _order(known, self.walk[:samples], clusters)


@dataclass(frozen=True, eq=False)
class Identities:
    """Keys of all samples by position, and their clusters.

    Args:
        keys: (sample,) int64, all different.
        kind: see `Order`.
        clusters: (sample,) int64, equal for samples that belong together; None if there are no clusters.
        contents: see `Order`.
    """

    keys: np.ndarray
    kind: str
    clusters: np.ndarray | None = None
    contents: np.ndarray | None = None

    def ranked(self, seed: int, samples: int | None = None) -> Order:
        """Return the order by rank of all samples, or of the first ones only."""
        own = drawn_words(self.keys, seed, Stream.RANK)
        if self.clusters is None:
            walk = np.lexsort((self.keys, own))[:samples]
            return _order(self, walk, None)
        cluster = drawn_words(self.clusters, seed, Stream.CLUSTER_RANK)
        walk = np.lexsort((self.keys, own, self.clusters, cluster))[:samples]
        return _order(self, walk, _runs(self.clusters[walk]))

    def arrived(self, seed: int) -> Order:
        """Return the stored order of all samples, for a stream that is held in memory."""
        known = _order(self, np.arange(len(self.keys)), None)
        mates = without_own_cluster(known.partners, self.clusters)
        groups = arrival_groups(known.pairs, self.clusters, seed)
        return replace(known, clusters=self.clusters, arrival=True, partners=mates, groups=groups)


def without_own_cluster(mates: np.ndarray, clusters: np.ndarray | None) -> np.ndarray:
    """Return the partners, with -1 for those from the sample's own cluster."""
    if clusters is None:
        return mates
    return np.where((mates >= 0) & (clusters[mates] != clusters), mates, -1)


def arrival_groups(pairs: np.ndarray, clusters: np.ndarray | None, seed: int) -> np.ndarray:
    """Draw the (sample,) jackknife groups of a stream, keeping pairs or clusters whole.

    >>> groups = arrival_groups(np.repeat(np.arange(4), 2), None, 0)
    >>> bool((groups[::2] == groups[1::2]).all())
    True
    """
    words = drawn_words(pairs if clusters is None else clusters, seed, Stream.GROUP)
    return (words % np.uint64(GROUPS)).astype(np.int64)


def pair_numbers(count: int) -> np.ndarray:
    """Return (rank,) pair numbers 0, 0, 1, 1, ...; if the count is odd, the last three share a number.

    >>> pair_numbers(7).tolist()
    [0, 0, 1, 1, 2, 2, 2]
    """
    return np.minimum(np.arange(count) // 2, max(count // 2 - 1, 0))


def _order(known: Identities, walk: np.ndarray, runs: np.ndarray | None) -> Order:
    """Pair and group the samples of a walk; `runs` (rank,) numbers the clusters along it."""
    place = np.arange(len(walk)) if runs is None else runs
    starts = np.flatnonzero(np.diff(place, prepend=-1))
    sizes = np.diff(starts, append=len(walk))
    pairs = pair_numbers(len(starts))
    mate = partners(len(starts))[place]
    within = np.arange(len(walk)) - starts[place]
    found = np.where(mate < 0, -1, starts[mate] + within % sizes[mate])
    groups = pairs[place] % GROUPS
    return Order(known.keys, walk, pairs[place], found, groups, runs, known.kind, contents=known.contents)


def _runs(clusters: np.ndarray) -> np.ndarray:
    """Number the runs of equal values: (rank,) 0 for the first run, 1 for the next, ..."""
    return np.cumsum(np.append(False, clusters[1:] != clusters[:-1])).astype(np.int64)


def content_digests(inputs: Iterable[Any]) -> np.ndarray:
    """Return (sample,) digests of the samples' bytes."""
    return np.frombuffer(b"".join(map(_digest, inputs)), np.int64)


def content_keys(digests: np.ndarray, *, apart: Sequence[np.ndarray] = ()) -> np.ndarray:
    """Return (sample,) keys: digests, made unique for equal samples by a running number.

    Args:
        digests: (sample,) digests of the samples' bytes.
        apart: (sample,) integers that number equal samples, most important first; samples that are equal in
            these too are numbered as they are stored, which no result can show.
    """
    order = np.lexsort((*reversed(apart), digests))
    runs = _runs(digests[order]) if len(digests) else digests
    starts = np.flatnonzero(np.diff(runs, prepend=-1))
    occurrence = np.empty(len(digests), np.int64)
    occurrence[order] = np.arange(len(digests)) - starts[runs]
    again = drawn_words(digests, 0, Stream.OCCURRENCE) + occurrence.astype(np.uint64)
    return np.where(occurrence == 0, digests, again.view(np.int64))


def class_order(labels: np.ndarray, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return two columns that order samples by class: a digest of the class's samples, and its number.

    The first depends on what a class contains, not on its name, so renaming classes orders samples
    differently only if two classes contain equal samples.

    Args:
        labels, digests: (sample,) labels, and digests of the samples' bytes.
    """
    numbers = np.unique(labels, return_inverse=True)[1]
    contained = np.zeros(len(labels), np.uint64)
    np.add.at(contained, numbers, drawn_words(digests, 0, Stream.OCCURRENCE))
    return contained[numbers], numbers


def _digest(sample: Any) -> bytes:
    return hashlib.blake2b(sample, digest_size=8).digest()


def input_digests(inputs: Inputs) -> np.ndarray:
    """Return (sample,) digests of the samples in a batch, from their bytes."""
    if is_structured(inputs):
        return content_digests(map(sample_digest, inputs))
    rows = inputs.detach().cpu().contiguous().reshape(len(inputs), -1)
    if rows.dtype == torch.bfloat16 or not rows.shape[1]:
        rows = rows.view(torch.uint8) if rows.shape[1] else torch.zeros(len(rows), 1)
    return content_digests(rows.numpy())


def given_keys(given: Any, samples: int | None, *, name: str) -> np.ndarray:
    """Return (sample,) int64 keys: the given integers, or digests of the given strings.

    Args:
        given: integers or strings, one per sample.
        samples: required number of entries; None if unknown.
        name: name of the option, for errors.
    Raises:
        ValueError: wrong length, or neither integers nor strings.
    """
    array = given.detach().cpu().numpy() if isinstance(given, Tensor) else np.asarray(given)
    if array.dtype == object and all(isinstance(entry, str) for entry in array.ravel()):
        array = array.astype(str)
    if array.ndim != 1 or array.dtype.kind not in "iuUS":
        raise ValueError(
            f"{name} must be one integer or string per sample, got {array.dtype} of shape {array.shape}"
        )
    if samples is not None and len(array) != samples:
        raise ValueError(f"{name} has {len(array)} entries for {samples} samples; give one per sample")
    if array.dtype.kind in "US":
        array = np.char.decode(array, "utf-8", "backslashreplace") if array.dtype.kind == "S" else array
        words = (str(word).encode() for word in array.tolist())
        return np.frombuffer(b"".join(map(_digest, words)), np.int64)
    return array.astype(np.uint64).view(np.int64) if array.dtype.kind == "u" else array.astype(np.int64)


def refuse_repeated_ids(keys: np.ndarray) -> None:
    """Raise ValueError if two samples have the same key."""
    if len(np.unique(keys)) < len(keys):
        repeated = len(keys) - len(np.unique(keys))
        raise ValueError(
            f"ids must all be different, but {repeated} of {len(keys)} repeat an earlier one. If equal ids "
            "mark samples that belong together, give them as clusters="
        )
