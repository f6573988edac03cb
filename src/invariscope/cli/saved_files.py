"""Find the files that this package wrote, and check each against its digests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from invariscope.common.reading import refuse_irregular
from invariscope.common.sealing import read_sealed_json, verified

_SUFFIX = ".safetensors"
OK, NO_DIGEST, WRONG = "ok", "no digest", "wrong"


@dataclass(frozen=True)
class _Kind:
    """A JSON file that this package writes.

    Args:
        what: what it is, for error messages.
        newest: the newest schema.
        read: reads the file, and raises ValueError if it is malformed.
    """

    what: str
    newest: int
    read: Callable[[Path], Any]


@cache
def _kinds() -> dict[str, _Kind]:
    """Return the kinds of JSON files by name."""
    from invariscope.monitor import saved as histories
    from invariscope.results import shard as shards
    from invariscope.results import storage
    from invariscope.zoo import weights

    def result(path: Path) -> Any:
        return storage.load(path.parent, maps=False)

    def shard(path: Path) -> Any:
        return shards.load_shard(path.parent, sums=False)

    return {
        storage.JSON_NAME: _Kind("a saved result", storage.SCHEMA, result),
        shards.SHARD_NAME: _Kind("a shard", shards.SHARD_SCHEMA, shard),
        weights.CARD: _Kind("the card of a network", weights.SCHEMA, weights.read_card),
        histories.JSON_NAME: _Kind("the index of a monitor", histories.SCHEMA, histories.read_index),
    }


@dataclass(frozen=True)
class Finding:
    """The state of one file.

    Args:
        path: the file.
        state: "ok", "no digest" or "wrong".
        why: what is wrong.
    """

    path: Path
    state: str
    why: str = ""

    @property
    def wrong(self) -> bool:
        """Whether the file is damaged or missing."""
        return self.state == WRONG

    def __str__(self) -> str:
        """Return one line."""
        return f"{self.state:<9}  {self.path}{f': {self.why}' if self.why else ''}"


def findings(path: Path) -> Iterator[Finding]:
    """Yield the state of a file, or of every file of this package in a folder and below it.

    Raises:
        FileNotFoundError: nothing has this path.
        ValueError: a pipe or a device, or a JSON file of another kind.
    """
    if not path.is_dir():
        refuse_irregular(path)
        if path.suffix == ".json" and path.name not in _kinds():
            raise ValueError(f"{path} is not a file with a digest; these are {', '.join(_kinds())}")
        yield _state(path)
        return
    for folder in sorted({path, *(found for found in path.rglob("*") if found.is_dir())}):
        if not any(part.startswith(".") for part in folder.relative_to(path).parts):  # unfinished
            yield from _in_folder(folder)


def _in_folder(folder: Path) -> Iterator[Finding]:
    for path in sorted(folder.iterdir()):
        if path.name in _kinds() or (path.suffix == _SUFFIX and not path.name.startswith(".")):
            yield _state(path)
    missing = {name for name in _recorded(folder) if not (folder / name).exists()}
    yield from (Finding(folder / name, WRONG, "missing") for name in sorted(missing))


def _state(path: Path) -> Finding:
    try:
        digest = _json_digest(path) if path.name in _kinds() else _tensors_digest(path)
    except (ValueError, OSError) as error:
        return Finding(path, WRONG, str(error).removeprefix(f"{path} "))
    return Finding(path, OK if digest else NO_DIGEST)


def _json_digest(path: Path) -> str:
    kind = _kinds()[path.name]
    digest = read_sealed_json(path, newest=kind.newest, what=kind.what).digest
    kind.read(path)
    return digest


def _tensors_digest(path: Path) -> str:
    from safetensors import SafetensorError, safe_open

    digest = verified(path)
    try:
        with safe_open(path, framework="numpy") as file:
            file.keys()
    except SafetensorError as error:
        raise ValueError(f"is truncated, damaged or not a safetensors file ({error})") from error
    recorded = _recorded(path.parent).get(path.name, digest)
    if recorded != digest:
        raise ValueError("has another SHA-256 than the one recorded in the JSON file next to it")
    return digest


def _recorded(folder: Path) -> dict[str, str]:
    """Return the digests of files that the JSON files of a folder contain; none from damaged ones."""
    found: dict[str, str] = {}
    for name, kind in _kinds().items():
        try:
            document = read_sealed_json(folder / name, newest=kind.newest, what=kind.what).document
        except (ValueError, OSError):
            continue
        files = document.get("files", {})
        found |= files if isinstance(files, dict) else {}
    return found
