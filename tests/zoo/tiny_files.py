"""Tiny files in the published formats, and a pickle that does harm when it is trusted."""

from __future__ import annotations

import gzip
import os
import pickle
from pathlib import Path

import numpy as np

RNG = np.random.default_rng(0)


def idx_bytes(values: np.ndarray) -> bytes:
    shape = b"".join(int(size).to_bytes(4, "big") for size in values.shape)
    return bytes([0, 0, 8, values.ndim]) + shape + values.astype(np.uint8).tobytes()


def write_idx_pair(folder: Path, part: str, samples: int, *, compressed: bool = True) -> tuple:
    images = RNG.integers(0, 256, (samples, 28, 28), dtype=np.uint8)
    labels = np.arange(samples, dtype=np.uint8) % 10
    folder.mkdir(parents=True, exist_ok=True)
    for values, kind in ((images, "images-idx3"), (labels, "labels-idx1")):
        content = idx_bytes(values)
        name = f"{part}-{kind}-ubyte" + (".gz" if compressed else "")
        (folder / name).write_bytes(gzip.compress(content) if compressed else content)
    return images, labels


def cifar_arrays(samples: int) -> tuple[np.ndarray, np.ndarray]:
    return RNG.integers(0, 256, (samples, 3072), dtype=np.uint8), np.arange(samples) % 10


def cifar_record_bytes(pixels: np.ndarray, labels: np.ndarray) -> bytes:
    return np.concatenate([labels[:, None], pixels], axis=1).astype(np.uint8).tobytes()


def cifar_pickle(pixels: np.ndarray, labels: np.ndarray, *, keys: type = bytes) -> bytes:
    """As Python 3 writes it in protocol 2; the original files have the keys as bytes."""
    names = {"data": pixels, "labels": labels.tolist(), "batch_label": "training batch 1 of 5"}
    batch = {name.encode() if keys is bytes else name: value for name, value in names.items()}
    return pickle.dumps(batch, protocol=2)


class _Harm:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def malicious_pickle(marker: Path) -> bytes:
    """Makes the folder `marker` when something unpickles it."""
    return pickle.dumps({b"data": _Harm(marker), b"labels": [0]}, protocol=2)
