"""Write and verify files that contain their own SHA-256: JSON documents and safetensors files.

The digest covers all bytes of a file, with zeros in place of the digest itself, so any change to the file is
detected. It protects against accidents only: anyone who changes a file on purpose can update the digest.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from invariscope.common.files import replacing
from invariscope.common.reading import parsed_json, read_text, refuse_irregular

NAME = "sha256"
SEALED_SINCE = 2
"""Lowest schema number of JSON documents with a digest."""

BLANK = "0" * 64
BLANKS = {NAME: BLANK}
"""Placeholder in the metadata of a safetensors file, to be filled in by `seal`."""

_HEAD = re.compile(r'\{\n "sha256": "([0-9a-f]{64})",\n')
_HEAD_BYTES = 100
_IN_HEADER = re.compile(rb'"sha256":"([0-9a-f]{64})"')
_MOST_HEADER = 100_000_000  # bytes, the limit of safetensors
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Sealed:
    """The contents of a JSON file.

    Args:
        document: the entries, without the digest.
        digest: the verified digest; "" for files of earlier versions, which have none.
    """

    document: dict[str, Any]
    digest: str


def write_sealed_json(path: Path, document: Mapping[str, Any]) -> None:
    """Atomically write plain values, including the schema number, to a JSON file with a digest.

    Raises:
        ValueError: a number is NaN or infinite.
    """
    assert document["schema"] >= SEALED_SINCE
    text = json.dumps({**BLANKS, **document}, indent=1, allow_nan=False) + "\n"
    sealed = text.replace(BLANK, _sha256(text), 1)
    with replacing(path) as scratch:
        scratch.write_text(sealed, encoding="utf-8", newline="\n")


def read_sealed_json(path: Path, *, newest: int, what: str) -> Sealed:
    """Read a JSON document with a schema number up to `newest`, and verify its digest.

    Args:
        path: the file.
        newest: the highest schema number that this version can read.
        what: what the file should be, such as "a saved result", for the error message.
    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, not JSON, damaged, or with a missing or newer schema number.
    """
    text = read_text(path, form="valid JSON")
    document = parsed_json(text, path)
    if not isinstance(document, dict) or type(document.get("schema")) is not int:
        raise ValueError(f"{path} is not {what}: it has no schema number")
    found = _HEAD.match(text)
    if found and _sha256(text.replace(found[1], BLANK, 1)) != found[1]:
        raise damaged(path)
    if document["schema"] > newest:
        raise ValueError(
            f"{path} has schema {document['schema']}, but this version reads up to {newest}: "
            "update invariscope"
        )
    if not found and (document["schema"] != 1 or NAME in document):
        raise damaged(path)
    digest = document.pop(NAME, "")
    return Sealed(document, digest)


def stated_digest(path: Path) -> str:
    """Return the digest at the start of a JSON file without verifying it; "" if there is none."""
    refuse_irregular(path)
    with path.open("rb") as stream:
        found = _HEAD.match(stream.read(_HEAD_BYTES).decode(errors="replace").replace("\r\n", "\n"))
    return found[1] if found else ""


def damaged(path: Path) -> ValueError:
    """Return the error for a file that does not match its digest."""
    return ValueError(
        f"{path} is truncated or damaged: its SHA-256 does not match the one recorded when it was written. "
        "Restore it from a backup, or create it again"
    )


def seal(path: Path) -> str:
    """Fill in the digest of a safetensors file written with `BLANKS` in its metadata, and return it."""
    place = _place(path)
    assert place is not None, "the metadata have no digest to fill in"
    digest = _digest(path, place[1])
    with path.open("r+b") as stream:
        stream.seek(place[1])
        stream.write(digest.encode())
    return digest


def verified(path: Path) -> str:
    """Verify the digest of a safetensors file and return it; "" if the file has none.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, damaged, or with an invalid header.
    """
    place = _place(path)
    if place is None:
        return ""
    if _digest(path, place[1]) != place[0]:
        raise damaged(path)
    return place[0]


def _place(path: Path) -> tuple[str, int] | None:
    """Return the digest in the header of a safetensors file and its offset; None if it has none."""
    refuse_irregular(path)
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        size = path.stat().st_size
        if length > min(size, _MOST_HEADER):
            raise ValueError(
                f"{path} is truncated, damaged or not a safetensors file: it has {size:,} bytes but "
                f"declares a header of {length:,} (at most {_MOST_HEADER:,})"
            )
        found = _IN_HEADER.search(stream.read(length))
    return (found[1].decode(), 8 + found.start(1)) if found else None


def _digest(path: Path, place: int) -> str:
    """Return the SHA-256 of a file with zeros in place of the 64 digits at offset `place`."""
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        digest.update(stream.read(place))
        digest.update(BLANK.encode())
        stream.seek(place + len(BLANK))
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
