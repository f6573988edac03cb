"""Read data from a file, a folder or a Hugging Face data set in any supported format."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from invariscope.common.reading import memory_limit, read_text, refuse_irregular, refuse_large
from invariscope.data.files.arrays import READERS, read_arrays
from invariscope.data.files.held import INPUT_NAMES, LABEL_NAMES, FileData, Texts

_MEMORY_OF_TEXT = 8  # bytes per byte of a file, for short lines
_COMPRESSED_TAR = (".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_BRACES = re.compile(r"\{([^{}]*)\}")
_RANGE = re.compile(r"(\d+)\.\.(\d+)")
HUB = "datasets:"
KINDS = (
    "a folder of images, with or without one subfolder per class; a .npz, .npy, .safetensors or .parquet "
    "file; a .txt file with one text per line; .tar archives (shard-{000..003}.tar); or a Hugging Face data "
    "set (datasets:NAME, or a folder written by save_to_disk)"
)


def read_data(
    name: str | Path,
    *,
    size: Any = None,
    inputs: str | None = None,
    labels: str | None = None,
    split: str | None = None,
) -> Any:
    """Read data from files, in a form that `iv.measure` and all other functions of this package accept.

    Samples are identified by digests of their content: results depend neither on the names of files and
    classes nor on their order, and are the same for the same images in a folder, an archive or a table.

    Args:
        name: a folder of images (one subfolder per class, or none); a `.npz`, `.npy`, `.safetensors`,
            `.parquet` or `.txt` file; `.tar` archives in the layout of webdataset; a folder of `.tar` or
            `.parquet` files, or a pattern such as `shard-{000..003}.tar` or `shard-*.tar`; a folder written
            by `Dataset.save_to_disk`, or `datasets:NAME` (`datasets:NAME:CONFIGURATION`) from the Hugging
            Face hub.
        size: for images in files, 224, (rows, columns), or "square": before the transform, each image is
            resized, keeping its aspect ratio, and cropped to its centre. None keeps the images' own sizes.
        inputs, labels: names of the array, column, or kind of file in an archive that holds the inputs or
            the labels, if it does not have one of the usual names.
        split: for Hugging Face data sets with several splits, by default "test".
    Returns:
        The images, read on demand; or arrays or texts in memory.
    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, a file of another kind, or columns that cannot be told apart.
        ImportError: reading `.parquet` needs pyarrow; Hugging Face data sets need the package datasets.

    >>> import numpy as np, tempfile, pathlib
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "bytes.npy"
    >>> np.save(path, np.full((2, 3, 4, 4), 255, np.uint8))
    >>> found = read_data(path)
    >>> found.note, float(found.images.max())
    ('the inputs are bytes (uint8), and were divided by 255', 1.0)
    """
    from invariscope.data.image_set import ImageSet

    found = _found(str(name), inputs, labels, split)
    if isinstance(found, ImageSet):
        return found.of_size(size)
    if size is not None:
        raise ValueError(f"size (--size) applies to images in files; {name} holds {_kind(found)}")
    return found


def _kind(found: Any) -> str:
    return "arrays" if isinstance(found, FileData) else "texts"


def _found(name: str, inputs: str | None, labels: str | None, split: str | None) -> Any:
    if name.startswith(HUB):
        from invariscope.data.files.hugging_face import read_hub

        return read_hub(name.removeprefix(HUB), inputs, labels, split)
    path = Path(name)
    if path.is_dir() and any((path / file).is_file() for file in ("state.json", "dataset_dict.json")):
        from invariscope.data.files.hugging_face import read_disk

        return read_disk(path, inputs, labels, split)
    if split is not None:
        raise ValueError(f"split (--split) applies to data sets, not to {name!r}")
    return _of_folder(path, inputs, labels) if path.is_dir() else _of_files(name, inputs, labels)


def _of_folder(folder: Path, inputs: str | None, labels: str | None) -> Any:
    from invariscope.data.image_folder import image_folder, images_in

    if not images_in(folder, "*") and not images_in(folder, "*/*"):
        for suffix, read in _SHARDED.items():
            if paths := sorted(folder.glob(f"*{suffix}")):
                return read(paths, folder.absolute().name, inputs, labels)
    _refuse_names(inputs, labels, "a folder of images")
    return image_folder(folder)


def _of_files(name: str, inputs: str | None, labels: str | None) -> Any:
    path = Path(name)
    if name.endswith(_COMPRESSED_TAR):
        raise ValueError(
            f"{name} is compressed; samples are read in any order, so decompress it to a .tar file"
        )
    if path.suffix in _SHARDED:
        return _SHARDED[path.suffix](_paths(name), path.name, inputs, labels)
    if path.suffix in READERS:
        return _arrays(path, inputs, labels)
    if path.suffix == ".txt":
        _refuse_names(inputs, labels, "a text file")
        return _lines(path)
    if path.exists():
        raise ValueError(f"{name} is not a data file that can be read. Give {KINDS}")
    raise FileNotFoundError(f"no such file or folder: {name}. Give {KINDS}")


def _refuse_names(inputs: str | None, labels: str | None, what: str) -> None:
    for option, name in (("inputs", inputs), ("labels", labels)):
        if name is not None:
            raise ValueError(f"{option}={name!r} names an array or column, but the data are {what}")


def _tables(paths: list[Path], name: str, inputs: str | None, labels: str | None) -> Any:
    from invariscope.data.files.tables import read_parquet

    return read_parquet(paths, name, inputs, labels)


def _archives(paths: list[Path], name: str, inputs: str | None, labels: str | None) -> Any:
    from invariscope.data.files.archives import read_archives

    return read_archives(paths, name, inputs, labels)


_SHARDED: dict[str, Callable[..., Any]] = {".tar": _archives, ".parquet": _tables}


def _paths(name: str) -> list[Path]:
    """Return the existing files that a name or pattern stands for.

    Raises:
        FileNotFoundError: a file does not exist, or none matches.
    """
    found: list[Path] = []
    for one in [name] if Path(name).exists() else expanded(name):
        path = Path(one)
        wild = not path.exists() and any(mark in path.name for mark in "*?[")
        matching = sorted(path.parent.glob(path.name)) if wild else [path]
        if not matching:
            raise FileNotFoundError(f"no file matches {one}")
        for each in matching:
            refuse_irregular(each)
        found += matching
    return found


def expanded(name: str) -> Iterator[str]:
    """Yield the names that braces stand for, as in a shell.

    >>> list(expanded("a-{008..010}.tar")), list(expanded("{train,val}.tar"))
    (['a-008.tar', 'a-009.tar', 'a-010.tar'], ['train.tar', 'val.tar'])
    """
    braces = _BRACES.search(name)
    if braces is None:
        yield name
        return
    before, after = name[: braces.start()], name[braces.end() :]
    if between := _RANGE.fullmatch(braces[1]):
        low, high = between[1], between[2]
        parts = [str(number).zfill(len(low)) for number in range(int(low), int(high) + 1)]
    else:
        parts = braces[1].split(",")
    for part in parts:
        yield from expanded(before + part + after)


def _arrays(path: Path, inputs: str | None, labels: str | None) -> FileData:
    arrays = read_arrays(path)
    own = INPUT_NAMES if inputs is None else (inputs,)
    values = _chosen(arrays, own, path)
    targets = _chosen(arrays, LABEL_NAMES if labels is None else (labels,), path)
    if values is None or (labels is not None and targets is None):
        wanted = (
            f"name the inputs {' or '.join(INPUT_NAMES)}, and the labels {' or '.join(LABEL_NAMES)}"
            if inputs is None and labels is None
            else f"it has no {inputs if values is None else labels}"
        )
        raise ValueError(f"{path} contains {sorted(arrays) or 'nothing'}; {wanted}")
    return FileData.of(path.name, values, targets)


def _chosen(arrays: Mapping[str, Any], names: tuple[str, ...], path: Path) -> Any:
    present = [name for name in names if name in arrays]
    if len(present) > 1:
        raise ValueError(f"{path} contains both {' and '.join(map(repr, present))}; keep one of them")
    return arrays[present[0]] if present else None


def _lines(path: Path) -> Texts:
    """Return the non-blank lines of a text file."""
    refuse_irregular(path)
    refuse_large(path, _MEMORY_OF_TEXT * path.stat().st_size, memory_limit())
    lines = read_text(path).removeprefix("\ufeff").splitlines()
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{path} contains no text; write one sample per line")
    return Texts(texts, path.name)
