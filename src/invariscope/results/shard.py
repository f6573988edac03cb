"""One process's share of a measurement: the sums from which `iv.merge` computes the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invariscope.common.publishing import filling, undisturbed, written
from invariscope.common.sealing import BLANKS, read_sealed_json, seal, verified, write_sealed_json

SHARD_NAME, SUMS_NAME = "shard.json", "sums.safetensors"
SHARD_SCHEMA = 2


@dataclass(frozen=True, eq=False)
class Shard:
    """Sums over the samples of one of `count` processes, and what is needed to evaluate all of them.

    Args:
        index: number of the process, from 0.
        count: number of processes.
        document: plain data.
        arrays: the sums by name.
    """

    index: int
    count: int
    document: Mapping[str, Any]
    arrays: Mapping[str, np.ndarray]

    def __repr__(self) -> str:
        """Return one line that says which part of the measurement this is."""
        counted, every = self.document["samples"], self.document["total"]
        return f"shard {self.index} of {self.count} ({counted:,} of {every:,} samples)"

    @property
    def remedy(self) -> str:
        """How to get rows."""
        return (
            "It has no rows of its own. Save all shards, and join them: iv.merge([folder, ...]), or "
            "`invariscope merge FOLDER...`"
        )

    def refuse(self, what: str) -> None:
        """Raise ValueError for anything that needs rows."""
        raise ValueError(f"no {what}: this is {self!r}. {self.remedy}")

    def save(self, folder: Path, **options: Any) -> Path:
        """Write shard.json and sums.safetensors to `folder`: either both or neither.

        Options are those of `common.publishing.filling`.
        """
        from safetensors.numpy import save_file

        with filling(folder, last=SHARD_NAME, **options) as scratch, written(folder):
            save_file(dict(self.arrays), scratch / SUMS_NAME, BLANKS)
            parts = {"schema": SHARD_SCHEMA, "shard": [self.index, self.count]}
            parts |= {"files": {SUMS_NAME: seal(scratch / SUMS_NAME)}}
            write_sealed_json(scratch / SHARD_NAME, parts | {"document": self.document})
        return folder


def load_shard(folder: Path, *, sums: bool = True) -> Shard:
    """Load a shard from the folder that `Result.save` wrote. Safe for untrusted files: nothing is executed.

    Args:
        sums: whether to load the sums; if not, their file is not read.
    Raises:
        FileNotFoundError: the folder holds no shard.
        ValueError: the files are damaged, or of a newer version.
    """
    return undisturbed(folder, (SHARD_NAME, SUMS_NAME), lambda: _read(folder, sums=sums))


def _read(folder: Path, *, sums: bool) -> Shard:
    path = folder / SHARD_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"no {SHARD_NAME} in {folder}; give the folders that `measure --shard` or Result.save wrote"
        )
    found = read_sealed_json(path, newest=SHARD_SCHEMA, what="a shard").document
    try:
        (index, count), document = found["shard"], dict(found["document"])
        arrays = read_arrays(folder / SUMS_NAME, found.get("files"), SHARD_NAME) if sums else {}
        return Shard(int(index), int(count), document, arrays)
    except (KeyError, TypeError, OSError) as error:
        raise ValueError(f"{folder} is damaged or not a shard ({error}); measure this shard again") from error


def read_arrays(path: Path, digests: Any, index: str) -> dict[str, np.ndarray]:
    """Read a safetensors file next to the JSON file `index`, which holds its digest.

    Args:
        path: the safetensors file.
        digests: digests by file name; None for files of earlier versions, which have no digests.
        index: name of the JSON file, for error messages.
    Raises:
        FileNotFoundError: no such file.
        ValueError: damaged, not a safetensors file, or of another result than the JSON file.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    digest = verified(path)
    if isinstance(digests, dict) and digests.get(path.name) != digest:
        raise ValueError(
            f"{path} is damaged or does not match its {index}, which records another SHA-256. Were files of "
            "two results mixed?"
        )
    try:
        return load_file(path)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged or does not match its {index}: {error}") from error


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as JSON would hold it, so that shards in memory and on disk are the same.

    Raises:
        TypeError, ValueError: it holds something else than plain data.
    """
    return json.loads(json.dumps(document, allow_nan=False))
