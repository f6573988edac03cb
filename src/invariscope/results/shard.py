"""One process's share of a measurement: the sums from which `iv.merge` computes the rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from invariscope.common.files import read_json, write_json
from invariscope.common.publishing import filling, settle, written

SHARD_NAME, SUMS_NAME = "shard.json", "sums.safetensors"
SHARD_SCHEMA = 1


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
            save_file(dict(self.arrays), scratch / SUMS_NAME)
            parts = {"schema": SHARD_SCHEMA, "shard": [self.index, self.count]}
            write_json(scratch / SHARD_NAME, parts | {"document": self.document})
        return folder


def load_shard(folder: Path, *, sums: bool = True) -> Shard:
    """Load a shard from the folder that `Result.save` wrote. Safe for untrusted files: nothing is executed.

    Args:
        sums: whether to load the sums; if not, their file is not read.
    Raises:
        FileNotFoundError: the folder holds no shard.
        ValueError: the files are damaged, or of a newer version.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    settle(folder)
    path = folder / SHARD_NAME
    if not path.is_file():
        raise FileNotFoundError(
            f"no {SHARD_NAME} in {folder}; give the folders that `measure --shard` or Result.save wrote"
        )
    found = read_json(path)
    try:
        schema, (index, count), document = found["schema"], found["shard"], dict(found["document"])
        if schema > SHARD_SCHEMA:
            raise ValueError(f"{path} has schema {schema}, but this version reads up to {SHARD_SCHEMA}")
        return Shard(int(index), int(count), document, load_file(folder / SUMS_NAME) if sums else {})
    except (KeyError, TypeError, OSError, SafetensorError) as error:
        raise ValueError(f"{folder} is damaged or not a shard ({error}); measure this shard again") from error


def plain(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as JSON would hold it, so that shards in memory and on disk are the same.

    Raises:
        TypeError, ValueError: it holds something else than plain data.
    """
    return json.loads(json.dumps(document, allow_nan=False))
