"""Load data sets: find their files in a folder or download them, then read and check them.

>>> data = load("mnist_subset", samples=100)
>>> data.images.shape, data.labels.dtype, data.classes[:3]
(torch.Size([100, 1, 28, 28]), torch.int64, ('0', '1', '2'))
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import torch

from invariscope.common.registry import unknown
from invariscope.zoo.catalogue import DATASETS, Dataset, FileLayout
from invariscope.zoo.download import DownloadFailed, fetch
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.published import note_unless_original

VARIABLE = "INVARISCOPE_DATA"
SPLITS = ("train", "test")

_BUNDLED = Path(__file__).parent / "data" / "mnist_subset"
# MNIST and Fashion-MNIST have the same file names; these checksums of label bytes distinguish them.
_KNOWN_LABELS = {
    "1feba77c54802fa5339a11837ea4b2866434b83314ec45192930f1df69120c13": "mnist",
    "ddeff807876a9661a1110d45c266c86239a3a1b7d37da0c3716a7a683c852ff5": "mnist",
    "657fbd221bfc9f4198cc14b5619cc33ec57c58dd0e47af4d99d6650759e869a7": "fashion_mnist",
    "3d0e6c6ea990b53b6f8f500a41cac93881d981b315f84578b7d915342ade01e9": "fashion_mnist",
}


def load(
    name: str,
    *,
    split: str = "test",
    data_dir: str | Path | None = None,
    samples: int | None = None,
    seed: int = 0,
) -> ImageData:
    """Load the images, in [0, 1], and the labels of one split.

    "mnist_subset" is part of the package; "scale_detection" is generated, with a different range of values
    (see `zoo.scale_detection`). The files of the others are read from `data_dir` if it is given. Otherwise
    they are read from the folder in the environment variable INVARISCOPE_DATA, or else from the user's
    cache, and downloaded if they are missing. Nothing is ever written to `data_dir`.

    Args:
        name: "mnist_subset", "mnist", "fashion_mnist", "cifar10" or "scale_detection".
        split: "train" or "test".
        data_dir: a folder with the published files, directly or in the usual subfolder.
        samples: number of samples to draw at random; None: all.
        seed: seed of that draw.
    Raises:
        ValueError: unknown data set or split, a damaged file, or more samples than there are.
        FileNotFoundError: files are missing; the message lists them and how to get them.
    """
    make = _dataset(name).make
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    data = _read(name, split, data_dir) if make is None else make(split)
    return data if samples is None else data.subset(samples, seed=seed)


def _read(name: str, split: str, data_dir: str | Path | None) -> ImageData:
    layout, paths = _located(name, split, data_dir)
    images, labels = layout.read(paths)
    _check(name, images, labels, paths)
    scaled = torch.from_numpy(images.astype(np.float32)).div_(255)
    classes = DATASETS[name].classes
    note = note_unless_original(name, paths)
    return ImageData(name, split, scaled, torch.from_numpy(labels.astype(np.int64)), classes, note=note)


def files(name: str, *, split: str = "test", data_dir: str | Path | None = None) -> list[Path]:
    """Return the files that `load` reads for the same arguments; none for generated images.

    Raises:
        ValueError, FileNotFoundError: as for `load`.
    """
    return [] if _dataset(name).make is not None else _located(name, split, data_dir)[1]


def present(name: str, *, split: str = "test", data_dir: str | Path | None = None) -> bool:
    """Return whether the files that `load` reads for the same arguments exist, without downloading any.

    Raises:
        ValueError: unknown data set.
    """
    dataset = _dataset(name)
    return dataset.make is not None or _search(dataset, split, _place(dataset, data_dir)) is not None


def _dataset(name: str) -> Dataset:
    if name not in DATASETS:
        raise unknown("data set", name, DATASETS, hint="`invariscope list datasets` shows all.")
    return DATASETS[name]


def _check(name: str, images: np.ndarray, labels: np.ndarray, paths: list[Path]) -> None:
    if len(images) != len(labels) or labels.max(initial=0) >= len(DATASETS[name].classes):
        raise ValueError(
            f"{paths[0]} and {paths[-1]} are not the images and labels of {name}: {len(images):,} images, "
            f"{len(labels):,} labels up to {labels.max(initial=0)}. Download the original files again."
        )
    really = _KNOWN_LABELS.get(hashlib.sha256(labels.tobytes()).hexdigest(), name)
    if really != name:
        raise ValueError(
            f"{paths[0].parent} contains {really}, not {name}: give the folder of {name} as data_dir."
        )


def _located(name: str, split: str, data_dir: str | Path | None) -> tuple[FileLayout, list[Path]]:
    dataset = DATASETS[name]
    home = _place(dataset, data_dir)
    found = _search(dataset, split, home)
    if found is None and dataset.remote is not None and data_dir is None:
        _download(name, split, home)
        found = _search(dataset, split, home)
    if found is None:
        raise _missing(name, split, home)
    return found


def _place(dataset: Dataset, data_dir: str | Path | None) -> Path:
    """Return the folder in which to search for the files of a data set."""
    if dataset.remote is None:
        return _BUNDLED
    return _home() if data_dir is None else Path(data_dir).expanduser()


def _home() -> Path:
    if os.environ.get(VARIABLE):
        return Path(os.environ[VARIABLE]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "invariscope"


def _search(dataset: Dataset, split: str, home: Path) -> tuple[FileLayout, list[Path]] | None:
    for layout in dataset.layouts:
        for folder in (*layout.folders, ""):
            paths = [_variant(home / folder / file) for file in layout.files[split]]
            present = [path for path in paths if path is not None]
            if len(present) == len(paths):
                return layout, present
    return None


def _variant(path: Path) -> Path | None:
    """Return the path of the file, plain or compressed; None if neither exists."""
    return next((p for p in (path, path.with_name(f"{path.name}.gz")) if p.is_file()), None)


def _download(name: str, split: str, home: Path) -> None:
    dataset = DATASETS[name]
    remote = dataset.remote
    assert remote is not None
    wanted = {f"{file}.gz" for file in dataset.layouts[0].files[split]}
    try:
        for file in remote.sha256:
            if remote.archive or file in wanted:
                fetch(remote, file, home / name)
    except DownloadFailed as error:
        raise _missing(name, split, home, f" Downloading failed: {error}.") from error


def _missing(name: str, split: str, home: Path, more: str = "") -> FileNotFoundError:
    dataset = DATASETS[name]
    layout = dataset.layouts[0]
    remote = dataset.remote
    assert remote is not None, "a file of the package is missing"
    files = ", ".join(layout.files[split])
    gz = "" if remote.archive else " (or .gz)"
    folders = ", ".join(layout.folders)
    source = f"in {' and '.join(remote.sha256)} at" if remote.archive else "at"
    here = "" if home.is_dir() else " (there is no such folder)"
    return FileNotFoundError(
        f"no {split} files of {name} in {home}{here}, nor below it in {folders}: {files}{gz}.{more} They are "
        f"{source} {remote.mirrors[0]}{dataset.hint}; give their folder as data_dir (--data-dir) or in the "
        f"variable {VARIABLE}. The bundled 'mnist_subset' needs none."
    )
