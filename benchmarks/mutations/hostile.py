"""Files written to hang, to exhaust memory, or to fail in a library, and paths that are no files."""

from __future__ import annotations

import gzip
import os
import pickle
import struct
import zipfile
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.mutations.kinds import KINDS

Hostile = tuple[Callable[[Path], Any], Callable[[Path], Any]]

_DEEP = 200_000


def _npy(shape: str, values: bytes = b"") -> bytes:
    head = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + values


def _shared_tuples(times: int) -> bytes:
    """Return the opcodes of ((.., ..), (.., ..)), whose hash takes 2 ** times steps."""
    return b")" + b"".join(b"2\x86" for _ in range(times))


def _cifar(labels: bytes) -> bytes:
    return b"\x80\x02}(U\x04data" + _shared_tuples(1) + b"U\x06labels" + labels + b"u."


def _zip(path: Path, name: str, unpacked: int, start: bytes = b"") -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive,
        archive.open(name, "w", force_zip64=True) as stream,
    ):
        stream.write(start)
        for _ in range(unpacked >> 24):
            stream.write(bytes(1 << 24))


def _gzip_bomb(path: Path) -> None:
    """Write 3 MB that unpack to 3 GB, behind a header of an image file that large."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    head = bytes([0, 0, 8, 3]) + struct.pack(">III", 3_800_000, 28, 28)
    with path.open("wb") as stream:
        stream.write(packer.compress(head))
        for _ in range(180):
            stream.write(packer.compress(bytes(1 << 24)))
        stream.write(packer.flush())


def _sparse(path: Path, start: bytes, size: int) -> None:
    with path.open("wb") as stream:
        stream.write(start)
        stream.truncate(size)


def _png(folder: Path, side: int) -> None:
    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
        )

    packed = zlib.compress(bytes(1 << 24))
    content = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")
    (folder / "a.png").write_bytes(content)


def _torch_archive(folder: Path, content: bytes) -> None:
    with zipfile.ZipFile(folder / "w.pt", "w") as archive:
        archive.writestr("w/data.pkl", content)
        archive.writestr("w/version", "3\n")


def _idx(folder: Path, images: Callable[[Path], Any]) -> None:
    KINDS["IDX, gzip"].write(folder, 0)
    images(folder / "t10k-images-idx3-ubyte.gz")


def _instead(kind: str, name: str, make: Callable[[Path], Any]) -> Hostile:
    """Write the files of a kind, and replace one of them."""

    def write(folder: Path) -> None:
        KINDS[kind].write(folder, 0)
        (folder / name).unlink()
        make(folder / name)

    return write, KINDS[kind].read


def _content(content: bytes) -> Callable[[Path], Any]:
    return lambda path: path.write_bytes(content)


_ODD_PATHS: dict[str, Callable[[Path], Any]] = {
    "a pipe": os.mkfifo,
    "a folder": Path.mkdir,
    "a device": lambda path: path.symlink_to("/dev/zero"),
    "an empty file": Path.touch,
    "text": _content(b"not what you think\n"),
    "a link to itself": lambda path: path.symlink_to(path.name),
}
# What is rightly accepted: a text file of text, a recipe without tables; a checkpoint that is not there yet.
_FINE = {
    ("text", "d.txt"), ("an empty file", "r.toml"), ("a link to itself", "run"),
}  # fmt: skip
_FILES = {
    "result": ("result.json", "maps.safetensors"),
    "shards": ("shard-0/shard.json", "shard-1/sums.safetensors"),
    "checkpoint of a measurement": ("run",),
    "checkpoint of a training": ("run",),
    "network": ("card.json", "weights.safetensors"),
    "history of a monitor": ("monitor.json",),
    ".npy": ("d.npy",),
    ".npz": ("d.npz",),
    ".safetensors": ("d.safetensors",),
    ".txt": ("d.txt",),
    "IDX, gzip": ("t10k-images-idx3-ubyte.gz",),
    "CIFAR-10, binary": ("test_batch.bin",),
    "CIFAR-10, pickle": ("test_batch",),
    "images": ("0.png",),
    "state dict, zip": ("w.pt",),
    "recipe": ("r.toml",),
}
_JSON_BOMBS = {
    "JSON, 200,000 deep": b"[" * _DEEP + b"]" * _DEEP,
    "JSON, 500 deep": b'{"schema": 1, "rows": ' + b"[" * 500 + b"]" * 500 + b"}",
    "JSON, 60 MB of []": b"[" + b"[]," * 20_000_000 + b"0]",
    "JSON, a number of 100,000 digits": b'{"schema": ' + b"9" * 100_000 + b"}",
    "JSON, schema 1e999": b'{"schema": 1e999}',
}
_HEADERS = {
    "a header of 2**60 bytes": (1 << 60).to_bytes(8, "little") + b"{}",
    "a header of 90 MB": (90_000_000).to_bytes(8, "little") + b"[" * 90_000_000,
    "a header 200,000 deep": (2 * _DEEP).to_bytes(8, "little") + b"[" * _DEEP + b"]" * _DEEP,
    "an array of 8 TB": (80).to_bytes(8, "little")
    + b'{"x":{"dtype":"F64","shape":[1000000000000],"data_offsets":[0,8000000000000]}}  ',
}


def _hostile() -> dict[str, Hostile]:
    found: dict[str, Hostile] = {}
    for kind, names in _FILES.items():
        for name in names:
            for what, make in _ODD_PATHS.items():
                if (what, name) in _FINE:
                    continue
                found[f"{what} as {name} of {kind}"] = _instead(kind, name, make)
            bombs = _JSON_BOMBS if name.endswith(".json") else {}
            tensors = name.endswith((".safetensors", "run"))
            for what, content in (bombs | (_HEADERS if tensors else {})).items():
                found[f"{what} as {name} of {kind}"] = _instead(kind, name, _content(content))
    return found | _of_one_format()


def _put(name: str, content: bytes) -> Callable[[Path], Any]:
    """Return a function that writes a file into a folder."""
    return lambda at: (at / name).write_bytes(content)


def _of_one_format() -> dict[str, Hostile]:
    read = {name: kind.read for name, kind in KINDS.items()}
    bomb = _cifar(_shared_tuples(100))
    memo = b"\x80\x02}r\xff\xff\xff\x7f."
    key = b"\x80\x02}" + _shared_tuples(200) + b"K\x01s."
    return {
        ".npy that claims 8 TB": (_put("d.npy", _npy("(1000000000000,)")), read[".npy"]),
        ".npy of 8 TB, sparse": (
            lambda at: _sparse(at / "d.npy", _npy("(1000000000000,)"), 8_000_000_000_000), read[".npy"],
        ),
        ".npy with a negative shape": (_put("d.npy", _npy("(-4, 2)", bytes(64))), read[".npy"]),
        ".npy with a deep header": (_put("d.npy", _npy("(" * 3000 + ")" * 3000)), read[".npy"]),
        ".npy of objects": (
            lambda at: np.save(at / "d.npy", np.array([{}], object), allow_pickle=True), read[".npy"],
        ),
        ".npz that claims 8 TB": (
            lambda at: _zip(at / "d.npz", "x.npy", 1 << 24, _npy("(1000000000000,)")), read[".npz"],
        ),
        ".npz of 3 MB, 3 GB unpacked": (
            lambda at: _zip(at / "d.npz", "x.npy", 3 << 30, _npy("(402653184,)")), read[".npz"],
        ),
        "IDX of 3 MB, 3 GB unpacked": (lambda at: _idx(at, _gzip_bomb), read["IDX, gzip"]),
        "IDX of 2**96 bytes": (
            lambda at: _idx(at, _content(gzip.compress(bytes([0, 0, 8, 3]) + b"\xff" * 12))),
            read["IDX, gzip"],
        ),
        "CIFAR-10 pickle of shared tuples": (_put("test_batch", bomb), read["CIFAR-10, pickle"]),
        "CIFAR-10 pickle, hashed": (_put("test_batch", key), read["CIFAR-10, pickle"]),
        "CIFAR-10 pickle with a memo of 16 GB": (_put("test_batch", memo), read["CIFAR-10, pickle"]),
        "CIFAR-10 pickle of 60 million steps": (
            _put("test_batch", b"\x80\x02" + b"N0" * 30_000_000 + b"}."), read["CIFAR-10, pickle"],
        ),
        "CIFAR-10 binary of 3 TB, sparse": (
            lambda at: _sparse(at / "test_batch.bin", b"", 3073 * 10**9), read["CIFAR-10, binary"],
        ),
        "CIFAR-10 pickle that runs code": (
            _put("test_batch", pickle.dumps({b"data": _Harm(), b"labels": [0]})), read["CIFAR-10, pickle"],
        ),
        "state dict, hashed": (lambda at: _torch_archive(at, key), read["state dict, zip"]),
        "state dict, legacy, hashed": (_put("w.pt", key), read["state dict, zip"]),
        "state dict of 3 GB in 3 MB": (
            lambda at: _zip(at / "w.pt", "w/data.pkl", 3 << 30), read["state dict, zip"],
        ),
        "state dict that runs code": (_put("w.pt", pickle.dumps({"a": _Harm()})), read["state dict, zip"]),
        "PNG of 60,000 x 60,000 pixels": (partial(_png, side=60_000), read["images"]),
        "PNG of 9,000 x 9,000 pixels": (partial(_png, side=9_000), read["images"]),
        "TOML, 2,000 deep": (_put("r.toml", b"a = " + b"[" * 2000 + b"]" * 2000), read["recipe"]),
        "TOML, a key of 2,000 parts": (_put("r.toml", b".".join([b"a"] * 2000) + b" = 1"), read["recipe"]),
        "TOML, a number of 100,000 digits": (_put("r.toml", b"a = " + b"9" * 100_000), read["recipe"]),
        "TOML of 40 MB": (_put("r.toml", b"a = 1\n" * 7_000_000), read["recipe"]),
        "text of 10 GB, sparse": (lambda at: _sparse(at / "d.txt", b"", 10**10), read[".txt"]),
    }  # fmt: skip


class _Harm:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harm",)


HOSTILE = _hostile()
