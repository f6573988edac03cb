"""Read files that may be damaged or malicious: only regular files of limited size and nesting."""

from __future__ import annotations

import json
import os
import stat
import tomllib
import zipfile
from pathlib import Path
from typing import Any

VARIABLE = "INVARISCOPE_MAX_GB"
_GB = 1_000_000_000
_DEEPEST = 100  # nesting of our own files: 6
_TOO_DEEP = "its values are nested too deeply"
_LIST_BYTES, _ENTRY_BYTES = 100, 40  # memory of a parsed list or object, and of each entry
_EXPANSION = 20  # archives that unpack to at most this many times their size are safe, however large


def memory_limit() -> int:
    """Return the memory limit for reading a file, in bytes: 1 GB, or INVARISCOPE_MAX_GB if it is set.

    Raises:
        ValueError: the environment variable is not a positive number.
    """
    text = os.environ.get(VARIABLE, "1")
    try:
        limit = float(text)
    except ValueError:
        limit = 0.0
    if not 0 < limit < float("inf"):
        raise ValueError(f"{VARIABLE} must be a positive number of gigabytes; got {text!r}")
    return int(limit * _GB)


def refuse_irregular(path: Path) -> None:
    """Raise ValueError unless a path is a regular file.

    Raises:
        FileNotFoundError: the path does not exist.
        OSError: the path cannot be accessed.
        ValueError: the path is a folder, a pipe, a socket or a device.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise FileNotFoundError(f"no such file: {path}") from None
    except OSError as error:  # no permission, or a loop of symbolic links
        raise OSError(f"{path} cannot be read ({error.strerror})") from error
    if stat.S_ISREG(mode):
        return
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    raise ValueError(f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file")


def refuse_large(path: Path, size: int, limit: int) -> None:
    """Raise ValueError if loading a file would take more than `limit` bytes of memory."""
    if size > limit:
        raise ValueError(
            f"{path} would take {size / _GB:,.1f} GB of memory; the limit is {limit / _GB:,.2f} GB. If the "
            f"file is what you expect, raise the limit with the environment variable {VARIABLE}"
        )


def read_bytes(path: Path, limit: int | None = None) -> bytes:
    """Return the contents of a regular file of at most `limit` bytes (default: `memory_limit()`).

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, or too large.
    """
    refuse_irregular(path)
    size = path.stat().st_size
    refuse_large(path, size, memory_limit())
    most = memory_limit() if limit is None else limit
    if size <= most:
        with path.open("rb") as stream:
            content = stream.read(most + 1)
        if len(content) <= most:  # files in /proc report a size of 0
            return content
    raise ValueError(f"{path} has more than {most:,} bytes, too many for a file of this kind")


def read_text(path: Path, limit: int | None = None, *, form: str = "UTF-8 text") -> str:
    """Return the UTF-8 text of a regular file, with "\\r\\n" replaced by "\\n".

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, too large, or not UTF-8 text. The message says that it is not `form`.
    """
    try:
        text = read_bytes(path, limit).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not {form} ({error}); it may be truncated") from error
    return text.replace("\r\n", "\n")


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file, not valid JSON, nested too deeply, or too large.
    """
    return parsed_json(read_text(path, form="valid JSON"), path)


def parsed_json(text: str, path: Path) -> Any:
    """Parse the JSON text of a file.

    Raises:
        ValueError: not valid JSON, nested too deeply, or too large.
    """
    values = sum(text.count(mark) for mark in "[{")
    refuse_large(path, len(text) + _LIST_BYTES * values + _ENTRY_BYTES * text.count(","), memory_limit())
    try:
        found = json.loads(text)
        _refuse_deep(found)
    except (ValueError, RecursionError) as error:
        why = _TOO_DEEP if isinstance(error, RecursionError) else f"{error}; it may be truncated"
        raise ValueError(f"{path} is not valid JSON ({why})") from error
    return found


def read_toml(text: str) -> dict[str, Any]:
    """Parse TOML.

    Raises:
        ValueError: not valid TOML, or nested too deeply.
    """
    try:
        found = tomllib.loads(text)
        _refuse_deep(found)
    except RecursionError:
        raise ValueError(_TOO_DEEP) from None
    return found


def _refuse_deep(value: Any) -> None:
    """Raise RecursionError for values nested more than 100 levels deep, before recursive functions fail."""
    level = [value]
    for _ in range(_DEEPEST):
        values = (list(one.values()) if isinstance(one, dict) else one for one in level)
        level = [value for some in values for value in some if isinstance(value, dict | list)]
        if not level:
            return
    raise RecursionError


def refuse_zip_bomb(path: Path, archive: zipfile.ZipFile) -> None:
    """Raise ValueError for a zip archive that would unpack to far more than its own size."""
    declared = sum(entry.file_size for entry in archive.infolist())
    refuse_large(path, declared, max(memory_limit(), _EXPANSION * path.stat().st_size))
