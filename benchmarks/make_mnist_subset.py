"""Create the package's MNIST subset from the four full IDX files.

usage: python benchmarks/make_mnist_subset.py MNIST_FOLDER [DEST]

The same number of images per digit is drawn without replacement with a fixed seed and shuffled. Training
images come from the training file, test images from the test file. The same input gives the same bytes.
"""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import numpy as np

from invariscope.zoo.formats.idx import read_idx

SEED = 2019
PER_CLASS = {"train": 800, "t10k": 200}
DEST = Path(__file__).resolve().parents[1] / "src/invariscope/zoo/data/mnist_subset"


def balanced(labels: np.ndarray, per_class: int, rng: np.random.Generator) -> np.ndarray:
    """Return shuffled indices of `per_class` samples per class."""
    drawn = [rng.choice(np.flatnonzero(labels == c), per_class, replace=False) for c in np.unique(labels)]
    return rng.permutation(np.concatenate(drawn))


def write_idx(path: Path, values: np.ndarray) -> None:
    """Write uint8 values as compressed IDX without a time stamp, so that equal values give equal files."""
    header = bytes([0, 0, 8, values.ndim]) + np.array(values.shape, dtype=">u4").tobytes()
    path.write_bytes(gzip.compress(header + values.tobytes(), compresslevel=9, mtime=0))


def main(source: Path, dest: Path) -> None:
    rng = np.random.default_rng(SEED)
    dest.mkdir(parents=True, exist_ok=True)
    for part, per_class in PER_CLASS.items():
        labels = read_idx(source / f"{part}-labels-idx1-ubyte.gz", ndim=1)
        images = read_idx(source / f"{part}-images-idx3-ubyte.gz", ndim=3)
        chosen = balanced(labels, per_class, rng)
        write_idx(dest / f"{part}-images-idx3-ubyte.gz", images[chosen])
        write_idx(dest / f"{part}-labels-idx1-ubyte.gz", labels[chosen])
    for path in sorted(dest.glob("*.gz")):
        print(f"{path.stat().st_size:>9,} bytes  {path.name}")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) == 3 else DEST)
