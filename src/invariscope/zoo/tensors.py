"""Named tensors in safetensors files: written atomically, and read without executing code."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from invariscope.common.files import replacing
from invariscope.common.publishing import written
from invariscope.common.reading import refuse_irregular
from invariscope.common.sealing import BLANKS, seal, verified
from invariscope.common.wording import listed

_PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> str:
    """Write tensors and text with a digest, and return the digest.

    Atomic: the file is created, or replaced, only when it is complete.
    """
    # Copies, because safetensors rejects tensors that share memory, such as tied weights.
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    with written(path), replacing(path) as scratch:
        save_file(own, scratch, {**BLANKS, **(metadata or {})})
        return seal(scratch)


def is_pickle(path: Path) -> bool:
    """Return whether a file starts like a pickle, or like the zip archives in which torch stores pickles.

    The length of the header, with which a safetensors file starts, may have the bytes of a pickle.

    Raises:
        FileNotFoundError: no such file.
        ValueError: not a regular file.
    """
    refuse_irregular(path)
    with path.open("rb") as stream:
        head = stream.read(9)
    size = int.from_bytes(head[:8], "little")
    return head.startswith(_PICKLES) and not (head[8:] == b"{" and size <= path.stat().st_size - 8)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the text of a safetensors file; the text includes its digest, if there is one.

    Raises:
        FileNotFoundError: no such file.
        ValueError: truncated, damaged, not equal to its digest, a pickle, or another format.
    """
    if is_pickle(path):
        raise ValueError(
            f"{path} is a pickle (.pt, .pth), not a safetensors file. It was not opened, because unpickling "
            "can run any code. For a state dict of your own model, use "
            "invariscope.zoo.load_weights(model, path)."
        )
    verified(path)
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, TypeError, RuntimeError) as error:
        raise ValueError(f"{path} is truncated, damaged or not a safetensors file ({error}).") from error


def differences(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor]) -> str:
    """Describe how two state dicts differ in names and shapes; empty if they agree."""
    missing = [name for name in wanted if name not in found]
    extra = [name for name in found if name not in wanted]
    shapes = [
        f"{name} {tuple(found[name].shape)} instead of {tuple(wanted[name].shape)}"
        for name in wanted
        if name in found and found[name].shape != wanted[name].shape
    ]
    parts = (("missing", missing), ("not expected", extra), ("other shapes", shapes))
    return "; ".join(f"{what}: {listed(names, limit=6)}" for what, names in parts if names)
