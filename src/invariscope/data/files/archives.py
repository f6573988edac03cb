"""Samples in webdataset `.tar` archives, in which the files of a sample share their name up to a dot."""

from __future__ import annotations

import io
import json
import re
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from invariscope.common.reading import refuse_large
from invariscope.common.wording import listed
from invariscope.data.files.arrays import most_memory
from invariscope.data.files.columns import ARRAY, IMAGE, LABELS, OTHER, TEXT, chosen_columns
from invariscope.data.files.held import FileData, Texts
from invariscope.data.image_set import ENDINGS, Encoded, ImageSet

_NAME = re.compile(r"((?:.*/)?[^./][^./]*)\.([^/]+)")
_KINDS = {"npy": ARRAY, "txt": TEXT, "text": TEXT, "cls": TEXT, "json": OTHER}
_MOST_TEXT = 1 << 20  # bytes


class Member(NamedTuple):
    """Place of a file in an archive."""

    archive: Path
    name: str
    offset: int
    size: int

    def read(self) -> bytes:
        """Return the bytes of the file."""
        with self.archive.open("rb") as stream:
            stream.seek(self.offset)
            content = stream.read(self.size)
        if len(content) < self.size:
            raise ValueError(f"{self.archive} is truncated at {self.name}")
        return content


@dataclass(frozen=True)
class _Archive:
    """The samples of one or several archives: for each, its files by ending."""

    name: str
    samples: list[dict[str, Member]] = field(default_factory=list)

    def column(self, ending: str) -> list[Member]:
        """Return one kind of file of all samples.

        Raises:
            ValueError: some samples lack it.
        """
        found = [sample[ending] for sample in self.samples if ending in sample]
        if missing := len(self.samples) - len(found):
            raise ValueError(
                f"{missing:,} of {len(self.samples):,} samples in {self.name} have no .{ending} file; leave "
                "those samples out"
            )
        return found


def read_archives(paths: list[Path], name: str, inputs: str | None = None, labels: str | None = None) -> Any:
    """Return the samples in archives.

    Images (`.jpg`, `.png`, ...), arrays (`.npy`) or texts (`.txt`) are the inputs, and `.cls` or an entry
    "label" of `.json` holds the label.

    Args:
        paths: the archives, whose samples are joined.
        name: name of the data.
        inputs: ending of the files with the inputs.
        labels: ending of the files with the labels, or name of an entry in `.json`.
    Raises:
        ValueError: a damaged or compressed archive, no samples, or samples with different files.
    """
    found = _Archive(name, [sample for path in paths for sample in _samples(path)])
    if not found.samples:
        raise ValueError(f"{name} holds no samples, which are files such as 000.jpg and 000.cls")
    endings = {ending: _kind(ending) for sample in found.samples for ending in sample}
    entry = labels if labels is not None and labels not in endings and "json" in endings else None
    choice = chosen_columns(endings, name, inputs, None if entry else labels)
    targets = _labels(found, choice.labels, entry)
    members = found.column(choice.inputs[0])
    kind = endings[choice.inputs[0]]
    if kind == IMAGE:
        return ImageSet(Members(members), name, targets)
    refuse_large(Path(name), sum(member.size for member in members), most_memory())
    if kind == ARRAY:
        return FileData.of(name, _stacked(members, name), None if targets is None else np.asarray(targets))
    texts = Texts((_text(member) for member in members), name)
    return texts if targets is None else (texts, targets)


def _samples(path: Path) -> Iterator[dict[str, Member]]:
    """Yield the files of each sample by ending, in the order of the archive."""
    found: dict[str, dict[str, Member]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for entry in archive:
                match = _NAME.fullmatch(entry.name.removeprefix("./"))
                if match is None or not entry.isreg() or entry.issparse():
                    continue
                member = Member(path, entry.name, entry.offset_data, entry.size)
                found.setdefault(match[1], {})[match[2].lower()] = member
    except tarfile.TarError as error:
        raise ValueError(
            f"cannot read samples from {path} ({error}). It may be damaged, or compressed: samples are read "
            "in any order, so decompress it to a plain .tar file"
        ) from error
    yield from found.values()


def _kind(ending: str) -> str:
    last = ending.rpartition(".")[2]
    return IMAGE if f".{last}" in ENDINGS else _KINDS.get(last, OTHER)


def _labels(found: _Archive, ending: str | None, entry: str | None) -> list[Any] | None:
    """Return the labels in a kind of file or, if there is none, in an entry of the `.json` files."""
    if ending is not None and not ending.endswith("json"):
        return _integers([_text(member).strip() for member in found.column(ending)])
    if not any("json" in sample for sample in found.samples):
        return None
    values = [_document(member) for member in found.column("json")]
    known = (
        [entry] if entry else [name for name in LABELS if isinstance(values[0], dict) and name in values[0]]
    )
    if not known:
        return None
    missing = sum(not isinstance(value, dict) or known[0] not in value for value in values)
    if missing:
        raise ValueError(
            f"{missing:,} of {len(values):,} .json files in {found.name} have no entry {known[0]!r}; it "
            "would be the label"
        )
    return [value[known[0]] for value in values]


def _integers(words: list[str]) -> list[Any]:
    """Return labels as integers if all of them are, otherwise as words."""
    return (
        [int(word) for word in words] if all(word.isascii() and word.isdigit() for word in words) else words
    )


def _text(member: Member) -> str:
    if member.size > _MOST_TEXT:
        raise ValueError(f"{member.name} in {member.archive} has {member.size:,} bytes, too large for a text")
    try:
        return member.read().decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{member.name} in {member.archive} is not UTF-8 text ({error})") from error


def _document(member: Member) -> Any:
    try:
        return json.loads(_text(member))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{member.name} in {member.archive} is not valid JSON ({error})") from error


def _stacked(members: list[Member], name: str) -> np.ndarray:
    arrays = [_loaded(member) for member in members]
    shapes = sorted({array.shape for array in arrays})
    if len(shapes) > 1:
        shown = listed(map(str, shapes), limit=3)
        raise ValueError(f"the arrays in {name} have different shapes: {shown}; give all the same shape")
    return np.stack(arrays)


def _loaded(member: Member) -> np.ndarray:
    try:
        return np.load(io.BytesIO(member.read()), allow_pickle=False)
    except Exception as error:  # a damaged array can fail in any way
        raise ValueError(f"{member.name} in {member.archive} cannot be read as an array ({error})") from error


@dataclass(frozen=True, eq=False)
class Members(Encoded):
    """Image files in archives."""

    members: list[Member]

    def __len__(self) -> int:
        return len(self.members)

    def read(self, place: int) -> bytes:
        """Return the bytes of an image."""
        return self.members[place].read()

    def where(self, place: int) -> str:
        """Return the name of an image and its archive."""
        return f"{self.members[place].name} in {self.members[place].archive}"
