"""The catalogue of data sets: their files, file layouts and download locations."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from invariscope.zoo.download import Remote
from invariscope.zoo.formats.cifar import read_binary_batch, read_python_batch
from invariscope.zoo.formats.idx import read_idx
from invariscope.zoo.image_data import ImageData

Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class FileLayout:
    """A layout of a data set's files in a folder.

    Args:
        files: file names per split; files may also have the suffix `.gz`.
        folders: subfolders to search, below the folder that the user gives.
        read: function that takes the paths in that order and returns uint8 images (n, C, H, W) and labels
            (n,).
    """

    files: dict[str, tuple[str, ...]]
    folders: tuple[str, ...]
    read: Callable[[Sequence[Path]], Arrays]


@dataclass(frozen=True)
class Dataset:
    """The entry of a data set in the catalogue.

    Args:
        summary: one sentence.
        classes: names, in the order of the labels.
        layouts: accepted file layouts, preferred first; none for generated images.
        remote: where the files are published; None for bundled data.
        hint: another way to get the files, for the error message about missing files.
        make: function that generates the images of a split, for data without files.
    """

    summary: str
    classes: tuple[str, ...]
    layouts: tuple[FileLayout, ...]
    remote: Remote | None = None
    hint: str = ""
    make: Callable[[str], ImageData] | None = None


def _read_idx_pair(paths: Sequence[Path]) -> Arrays:
    images, labels = read_idx(paths[0], ndim=3), read_idx(paths[1], ndim=1)
    if images.shape[1:] != (28, 28) or not len(images):
        raise ValueError(f"{paths[0]} contains images of shape {images.shape}, expected (n, 28, 28).")
    return images[:, None], labels


def _read_with(read: Callable[[Path], Arrays]) -> Callable[[Sequence[Path]], Arrays]:
    def batches(paths: Sequence[Path]) -> Arrays:
        images, labels = zip(*map(read, paths), strict=True)
        return np.concatenate(images), np.concatenate(labels)

    return batches


def _idx_layout(*folders: str) -> FileLayout:
    files = {
        split: (f"{part}-images-idx3-ubyte", f"{part}-labels-idx1-ubyte")
        for split, part in (("train", "train"), ("test", "t10k"))
    }
    return FileLayout(files, folders, _read_idx_pair)


def _cifar_layout(ending: str, folder: str, read: Callable[[Path], Arrays]) -> FileLayout:
    files = {
        "train": tuple(f"data_batch_{number}{ending}" for number in range(1, 6)),
        "test": (f"test_batch{ending}",),
    }
    return FileLayout(files, (folder, "cifar10", f"cifar10/{folder}"), _read_with(read))


_DIGITS = tuple("0123456789")
_GARMENTS = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat",
    "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
_OBJECTS = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

_MNIST = Remote(
    mirrors=(
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    sha256={
        "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    },
)
_FASHION = Remote(
    mirrors=(
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
    sha256={
        "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    },
)
_CIFAR = Remote(
    mirrors=("https://www.cs.toronto.edu/~kriz/",),
    sha256={"cifar-10-binary.tar.gz": "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd"},
    archive=True,
)

_MADE = {"train": 4096, "test": 1024}


def _make_scale_detection(split: str) -> ImageData:
    from invariscope.lab.training.scale_detection import scale_detection

    return scale_detection(_MADE[split], split=split)


DATASETS: dict[str, Dataset] = {
    "mnist_subset": Dataset(
        "8,000 training and 2,000 test digits from MNIST, included in the package.",
        _DIGITS,
        (_idx_layout(),),
    ),
    "mnist": Dataset(
        "60,000 training and 10,000 test digits, 28 x 28, grey.",
        _DIGITS,
        (_idx_layout("mnist", "MNIST/raw"),),
        _MNIST,
    ),
    "fashion_mnist": Dataset(
        "60,000 training and 10,000 test photographs of clothes, 28 x 28, grey.",
        _GARMENTS,
        (_idx_layout("fashion_mnist", "fashion-mnist", "FashionMNIST/raw"),),
        _FASHION,
        hint=" (Debian's package dataset-fashion-mnist has them in /usr/share/datasets/fashion-mnist)",
    ),
    "cifar10": Dataset(
        "50,000 training and 10,000 test photographs, 32 x 32, in colour.",
        _OBJECTS,
        (
            _cifar_layout(".bin", "cifar-10-batches-bin", read_binary_batch),
            _cifar_layout("", "cifar-10-batches-py", read_python_batch),
        ),
        _CIFAR,
    ),
    "scale_detection": Dataset(
        "4,096 training and 1,024 test images with two bright pixels, near or far, 16 x 16, grey; generated.",
        ("near", "far"),
        (),
        make=_make_scale_detection,
    ),
}
