"""Digests of the published files of data sets, to tell whether files are the original ones."""

from __future__ import annotations

import functools
import gzip
import hashlib
from collections.abc import Sequence
from pathlib import Path

# Of the unpacked files: MD5 in hexadecimal has 32 digits, SHA-1 has 40.
_ALGORITHMS = {32: "md5", 40: "sha1"}

# MNIST: LeCun, Cortes and Burges; Fashion-MNIST: Xiao, Rasul and Vollgraf; CIFAR-10: Krizhevsky, whose binary
# and Python batches have the digests that MXNet and torchvision check.
PUBLISHED: dict[str, dict[str, str]] = {
    "mnist": {
        "train-images-idx3-ubyte": "6bbc9ace898e44ae57da46a324031adb",
        "train-labels-idx1-ubyte": "a25bea736e30d166cdddb491f175f624",
        "t10k-images-idx3-ubyte": "2646ac647ad5339dbf082846283269ea",
        "t10k-labels-idx1-ubyte": "27ae3e4e09519cfbb04c329615203637",
    },
    "fashion_mnist": {
        "train-images-idx3-ubyte": "f4a8712d7a061bf5bd6d2ca38dc4d50a",
        "train-labels-idx1-ubyte": "9018921c3c673c538a1fc5bad174d6f9",
        "t10k-images-idx3-ubyte": "8181f5470baa50b63fa0f6fddb340f0a",
        "t10k-labels-idx1-ubyte": "15d484375f8d13e6eb1aabb0c3f46965",
    },
    "cifar10": {
        "data_batch_1.bin": "aadd24acce27caa71bf4b10992e9e7b2d74c2540",
        "data_batch_2.bin": "c0ba65cce70568cd57b4e03e9ac8d2a5367c1795",
        "data_batch_3.bin": "1dd00a74ab1d17a6e7d73e185b69dbf31242f295",
        "data_batch_4.bin": "aab85764eb3584312d3c7f65fd2fd016e36a258e",
        "data_batch_5.bin": "26e2849e66a845b7f1e4614ae70f4889ae604628",
        "test_batch.bin": "67eb016db431130d61cd03c7ad570b013799c88c",
        "data_batch_1": "c99cafc152244af753f735de768cd75f",
        "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
        "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
        "data_batch_4": "634d18415352ddfa80567beed471001a",
        "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
        "test_batch": "40351d587109b95175f43aff81a1287e",
    },
}

_CHUNK = 1 << 20
_MOST_UNPACKED = 1 << 31  # bytes; the largest published file has 47 million


def note_unless_original(name: str, paths: Sequence[Path]) -> str:
    """Return a sentence that names the files that differ from the published ones; "" if none does.

    Args:
        name: name of the data set; for one without published files, the answer is "".
        paths: its files, compressed or not.
    """
    known = PUBLISHED.get(name, {})
    names = {path: path.name.removesuffix(".gz") for path in paths}
    other = [names[path] for path in paths if names[path] in known and not _matches(path, known[names[path]])]
    if not other:
        return ""
    difference = "differs from the published file" if len(other) == 1 else "differ from the published files"
    return f"not the original {name}: {', '.join(other)} {difference}"


def unpacked_digest(path: Path, algorithm: str) -> str:
    """Return the digest of the unpacked content of a file, which compression does not change.

    Raises:
        ValueError: more than 2 GB.
        OSError, EOFError, zlib.error: damaged compressed data.
    """
    digest, size = hashlib.new(algorithm, usedforsecurity=False), 0
    with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            size += len(chunk)
            if size > _MOST_UNPACKED:
                raise ValueError(f"{path} has more than {_MOST_UNPACKED:,} bytes, unlike any published file")
            digest.update(chunk)
    return digest.hexdigest()


def _matches(path: Path, published: str) -> bool:
    state = path.stat()
    return _digest(path, state.st_size, state.st_mtime_ns, _ALGORITHMS[len(published)]) == published


@functools.lru_cache(maxsize=64)
def _digest(path: Path, size: int, changed_ns: int, algorithm: str) -> str:
    return unpacked_digest(path, algorithm)
