"""Download published files, verified by checksum and stored atomically."""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import shutil
import tarfile
import urllib.request
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from invariscope.common.files import scratch_beside

_LOG = logging.getLogger(__name__)
_CHUNK = 1 << 20
_TIMEOUT_S = 20.0


class DownloadFailed(OSError):
    """Raised if no mirror provided the file with the right checksum; the message gives the reasons."""


@dataclass(frozen=True)
class Remote:
    """Location of a published data set.

    Args:
        mirrors: addresses of folders, tried in order.
        sha256: checksum of each file, by its name.
        archive: whether the files are tar archives, whose members are extracted.
    """

    mirrors: tuple[str, ...]
    sha256: dict[str, str]
    archive: bool = False


def fetch(remote: Remote, name: str, folder: Path) -> None:
    """Download a published file, or the members of an archive, to `folder`.

    The file is downloaded to a scratch folder next to `folder`, and moved only if its checksum is right.

    Raises:
        DownloadFailed: no mirror could be reached, or none has a file with this checksum.
    """
    with scratch_beside(folder) as scratch:
        got = scratch / name
        _from_any(remote, name, got)
        files = list(_unpacked(got, scratch / "members")) if remote.archive else [got]
        folder.mkdir(parents=True, exist_ok=True)
        for path in files:
            os.replace(path, folder / path.name)


def _from_any(remote: Remote, name: str, target: Path) -> None:
    reasons = []
    for mirror in remote.mirrors:
        url = f"{mirror.rstrip('/')}/{name}"
        try:
            _LOG.info("downloading %s", url)
            found = _save(url, target)
        except (OSError, http.client.HTTPException) as error:
            reasons.append(f"{url}: {getattr(error, 'reason', None) or error}")
            continue
        if found == remote.sha256[name]:
            return
        reasons.append(f"{url}: checksum {found[:12]}... instead of {remote.sha256[name][:12]}...")
    raise DownloadFailed("; ".join(reasons))


def _save(url: str, target: Path) -> str:
    """Download `url` to `target`, and return its SHA-256."""
    digest = hashlib.sha256()
    with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as source, target.open("wb") as out:
        for chunk in _chunks(source):
            digest.update(chunk)
            out.write(chunk)
    return digest.hexdigest()


def _chunks(source: BinaryIO) -> Iterator[bytes]:
    while chunk := source.read(_CHUNK):
        yield chunk


def _unpacked(archive: Path, folder: Path) -> Iterable[Path]:
    """Extract the regular files of a tar archive under their bare names, so that none lands elsewhere."""
    folder.mkdir()
    with tarfile.open(archive) as tar:
        for member in tar:
            content = tar.extractfile(member) if member.isfile() else None
            if content is not None:
                target = folder / Path(member.name).name
                with target.open("wb") as out:
                    shutil.copyfileobj(content, out)
                yield target
