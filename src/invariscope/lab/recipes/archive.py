"""An archive of finished cells in a repository: one zip file per cell, named after its key."""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
import tempfile
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from invariscope.common.files import replacing, scratch_beside
from invariscope.common.reading import parsed_json, read_json, refuse_zip_bomb
from invariscope.lab.recipes.cells import Cell

if TYPE_CHECKING:
    from invariscope.lab.recipes.store import Store

CELLS, DATA = "cells", "data.json"
MANIFEST, LEFT_OUT = "cell.json", "left_out"
MAPS = "result/maps.safetensors"
_WEIGHTS = "weights.safetensors"
_EPOCH_OF_ZIP = (1980, 1, 1, 0, 0, 0)

MB = 1_000_000
FILE_BYTES, TOTAL_BYTES, WEIGHTS_BYTES, MAPS_BYTES = 2 * MB, 40 * MB, 13 * MB, 10 * MB

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Archive:
    """Finished cells as files `cells/KEY.zip`, small enough to be committed.

    Each file contains the result or the network, and `cell.json`, a manifest with the SHA-256 of every other
    file. Archiving the same cell again gives the same bytes. If a cell exceeds the size limits, its
    weights are left out, and if necessary also its maps; the manifest lists the files left out, with their
    SHA-256, under "left_out". Weights are also left out once the weights of all networks would exceed
    `weights_bytes`, and maps once all maps would exceed `maps_bytes`, which reserves space for the results of
    later cells. `make_room` leaves out the weights of networks that nothing needs any more.

    `data.json` contains the digests of the data files that the cells read, and a note on the variant of the
    data. With the digests, the keys of cells can be computed without the data files.

    Args:
        root: the folder.
        file_bytes, total_bytes: size limits of each file and of all files together.
        weights_bytes, maps_bytes: size limits of all weights and of all maps.
        report: called with a message about each damaged file.
    """

    root: Path
    file_bytes: int = FILE_BYTES
    total_bytes: int = TOTAL_BYTES
    weights_bytes: int = WEIGHTS_BYTES
    maps_bytes: int = MAPS_BYTES
    report: Callable[[str], None] = _LOG.warning
    _damaged: set[str] = field(default_factory=set, repr=False)

    def place(self, key: str) -> Path:
        """Return the path of a cell's file, whether or not it exists."""
        return self.root / CELLS / f"{key}.zip"

    def manifest(self, key: str) -> dict[str, Any] | None:
        """Return the manifest of a cell; None if the cell is missing or damaged."""
        read = self._read(key)
        return None if read is None else read[0]

    def get(self, key: str, folder: Path) -> bool:
        """Create `folder` with the files of a cell atomically, and return whether the cell was found."""
        read = self._read(key)
        if read is None:
            return False
        with scratch_beside(folder) as part:
            for name, content in read[1].items():
                (part / name).parent.mkdir(parents=True, exist_ok=True)
                (part / name).write_bytes(content)
            appear(part, folder)
        return True

    def add(self, store: Store, cell: Cell, *, dispensable: Collection[str] = ()) -> Path:
        """Add a finished cell unless the archive has it, and return its file.

        Args:
            store, cell: the cell.
            dispensable: keys of archived networks whose weights may be left out to make room for those of
                this one.
        Raises:
            ValueError: the cell is unfinished or damaged, was run on another variant of the data, or is too
                large even without weights and maps.
        """
        key = store.key(cell)
        if self.manifest(key) is not None:
            return self.place(key)
        manifest = store.manifest(cell)
        if manifest is None:
            raise ValueError(f"{cell.name} is not finished: run it before archiving it")
        self._note_data(store.data_known(cell))
        weights = [store.folder(cell) / name for name in _weights(manifest)]
        if weights:
            self.make_room(dispensable, sum(path.stat().st_size for path in weights))
        content = self._small_enough(store.folder(cell), manifest)
        _write(self.place(key), content)
        self._damaged.discard(key)
        return self.place(key)

    def merge(self, other: Archive) -> list[str]:
        """Add the cells of another archive that are missing here, and return their keys.

        Raises:
            ValueError: the other archive was run on another variant of the data, or a cell does not fit.
        """
        self._note_data(other.data())
        found = []
        for key in (path.stem for path in other._files()):
            manifest = None if self.manifest(key) else other.manifest(key)
            if manifest is None:
                continue
            with tempfile.TemporaryDirectory() as scratch:
                folder = Path(scratch) / key
                other.get(key, folder)
                content = self._small_enough(folder, manifest)
            _write(self.place(key), content)
            found.append(key)
        return found

    def make_room(self, dispensable: Collection[str], more: int = 0) -> list[str]:
        """Leave out weights of archived networks until all weights, and `more` bytes, fit `weights_bytes`.

        Args:
            dispensable: keys of the networks whose weights may be left out; the largest are left out first.
            more: bytes to be added later.
        Returns:
            Keys of the networks whose weights were left out.
        """
        sizes = {path.stem: _bytes_in(path, _WEIGHTS) for path in self._files()}
        excess, found = sum(sizes.values()) + more - self.weights_bytes, []
        for key in sorted(set(dispensable) & set(sizes), key=lambda key: (-sizes[key], key)):
            if excess <= 0 or not sizes[key]:
                break
            if self._leave_out_weights(key):
                excess -= sizes[key]
                found.append(key)
        return found

    def used(self) -> int:
        """Return the total size of all cells in bytes."""
        return sum(path.stat().st_size for path in self._files())

    def data(self) -> dict[str, dict[str, Any]]:
        """Return, for each "NAME/SPLIT", the digests of its files and a note on their variant.

        Raises:
            ValueError: `data.json` is damaged.
        """
        path = self.root / DATA
        try:
            return read_json(path) if path.exists() else {}
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): restore it from the repository") from error

    def _files(self) -> list[Path]:
        return sorted((self.root / CELLS).glob("*.zip"))

    def _read(self, key: str) -> tuple[dict[str, Any], dict[str, bytes]] | None:
        """Return manifest and verified contents of all files of a cell; None if it is missing or damaged."""
        path = self.place(key)
        if not path.exists():
            return None
        try:
            return _checked(path, key)
        except Exception as error:  # a damaged archive can fail in any way
            if key not in self._damaged:
                self._damaged.add(key)
                self.report(f"{path} is damaged and not used: {error}")
            return None

    def _note_data(self, found: Mapping[str, Mapping[str, Any]]) -> None:
        known = self.data()
        for name, entry in found.items():
            if name in known and known[name]["digests"] != entry["digests"]:
                raise ValueError(
                    f"the archived cells were run on another variant of {name}: use that variant, or another "
                    "archive"
                )
        kept = {name: entry for name, entry in known.items() if entry["note"]}
        if (merged := {**known, **found, **kept}) != known:
            text = json.dumps(merged, indent=1, sort_keys=True)
            _write(self.root / DATA, f"{text}\n".encode())

    def _leave_out_weights(self, key: str) -> bool:
        """Archive a network again without its weights; return whether it was there and undamaged."""
        manifest = self.manifest(key)
        if manifest is None:
            return False
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch) / key
            self.get(key, folder)
            content = _zipped(folder, manifest, _weights(manifest))
        _write(self.place(key), content)
        return True

    def _small_enough(self, folder: Path, manifest: Mapping[str, Any]) -> bytes:
        """Return the cell as a zip file, leaving out weights and maps that do not fit."""
        weights = _weights(manifest)
        maps = [name for name in manifest["files"] if name == MAPS]
        used, size = self.used(), 0
        for left_out in dict.fromkeys([(), (*weights,), (*weights, *maps)]):
            content = _zipped(folder, manifest, left_out)
            size = len(content)
            fits = size <= self.file_bytes and used + size <= self.total_bytes
            if fits and self._has_room(content):
                return content
        raise ValueError(
            f"{manifest['name']} does not fit into the archive: {size / MB:.2f} MB without weights and maps. "
            f"The limit is {self.file_bytes / MB:g} MB per file and {self.total_bytes / MB:g} MB in total, "
            f"of which {used / MB:.2f} MB are used. Measure fewer layers or classes in this cell."
        )

    def _has_room(self, content: bytes) -> bool:
        """Return whether the weights and the maps of all cells stay within their limits."""
        for ending, limit in ((_WEIGHTS, self.weights_bytes), (MAPS, self.maps_bytes)):
            own = _bytes_in(io.BytesIO(content), ending)
            if own and own + sum(_bytes_in(path, ending) for path in self._files()) > limit:
                return False
        return True


def lacks_weights(manifest: Mapping[str, Any]) -> bool:
    """Return whether the cell is a network whose weights were left out."""
    return any(name.endswith(_WEIGHTS) for name in manifest.get(LEFT_OUT, {}))


def _weights(manifest: Mapping[str, Any]) -> list[str]:
    return [name for name in manifest["files"] if name.endswith(_WEIGHTS)]


def _checked(path: Path, key: str) -> tuple[dict[str, Any], dict[str, bytes]]:
    with zipfile.ZipFile(path) as file:
        refuse_zip_bomb(path, file)
        content = {name: file.read(name) for name in file.namelist()}
    manifest = parsed_json(content[MANIFEST].decode(), path)
    if manifest["key"] != key:
        raise ValueError(f"it contains the cell {manifest['key']}")
    files = dict(manifest["files"])
    if set(content) != {MANIFEST, *files}:
        raise ValueError("its files differ from those in its manifest")
    for name, digest in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise ValueError(f"{name} is outside the cell")
        if hashlib.sha256(content[name]).hexdigest() != digest:
            raise ValueError(f"{name} differs from its checksum")
    return manifest, content


def _zipped(folder: Path, manifest: Mapping[str, Any], left_out: Sequence[str]) -> bytes:
    """Return a zip file with sorted names and no times, so that the same cell gives the same bytes."""
    files = {name: digest for name, digest in manifest["files"].items() if name not in left_out}
    missing = {**manifest.get(LEFT_OUT, {}), **{name: manifest["files"][name] for name in left_out}}
    reduced = {**manifest, "files": files, **({LEFT_OUT: missing} if missing else {})}
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for name in sorted([MANIFEST, *files]):
            text = json.dumps(reduced, indent=1, sort_keys=True).encode() if name == MANIFEST else None
            entry = zipfile.ZipInfo(name, _EPOCH_OF_ZIP)
            entry.create_system, entry.external_attr = 3, 0o644 << 16
            content = (folder / name).read_bytes() if text is None else text
            file.writestr(entry, content, zipfile.ZIP_DEFLATED, 9)
    return stream.getvalue()


def _bytes_in(file: Path | io.BytesIO, ending: str) -> int:
    """Return the compressed size of the files with that suffix in a zip file; 0 for a damaged zip file."""
    try:
        with zipfile.ZipFile(file) as opened:
            return sum(e.compress_size for e in opened.infolist() if e.filename.endswith(ending))
    except (OSError, zipfile.BadZipFile):
        return 0


def appear(part: Path, folder: Path) -> None:
    """Move a complete folder to its final path, unless another process has already done so."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.rename(part, folder)
    except OSError:
        if not folder.exists():
            raise


def _write(path: Path, content: bytes) -> None:
    """Write or replace a file atomically."""
    with replacing(path) as part, part.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
