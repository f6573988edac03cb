"""Weights on disk: safetensors with a JSON card, and state dicts of a user's own model."""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from invariscope.common.publishing import entries, filling, settle, undisturbed, written
from invariscope.common.reading import refuse_zip_bomb
from invariscope.common.sealing import NAME, read_sealed_json, write_sealed_json
from invariscope.common.versions import versions
from invariscope.zoo.formats.pickles import refuse_costly
from invariscope.zoo.image_data import ImageData
from invariscope.zoo.networks import build
from invariscope.zoo.tensors import differences, is_pickle, read_tensors, write_tensors

SCHEMA = 2
_LEGACY_PICKLES = 5  # at the start of a file in torch's format before version 1.6
WEIGHTS, CARD = "weights.safetensors", "card.json"


@dataclass(frozen=True, kw_only=True)
class Card:
    """Everything needed to rebuild a network, and the record of its training.

    Args:
        network: registry name of the architecture.
        input_shape: (C, H, W).
        classes: names of the classes, in the order of the outputs.
        options: options of the architecture.
        seed: seed of the initial weights.
        training: `Training.describe()`: data, augmentation, epochs, accuracy, history and so on; None for
            random weights.
        versions: versions of invariscope, torch and Python.
        schema: version of the card's format.
    """

    network: str
    input_shape: tuple[int, ...]
    classes: tuple[str, ...]
    options: dict[str, Any] = field(default_factory=dict)
    seed: int = 0
    training: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=partial(versions, "torch"))
    schema: int = SCHEMA

    def __repr__(self) -> str:
        """Return one line on the network and its training."""
        options = "".join(f", {name}={value!r}" for name, value in self.options.items())
        shape, trained = " × ".join(map(str, self.input_shape)), self.training or {}
        epochs, data = trained.get("epochs"), (trained.get("data") or {}).get("name", "data")
        history = f"{epochs} epochs on {data}" if self.training else "random weights"
        return f"<Card {self.network}{options}: {shape} to {len(self.classes)} classes, {history}>"

    def build(self) -> nn.Module:
        """Build the network with its initial, untrained weights."""
        return build(
            self.network,
            input_shape=self.input_shape,
            classes=len(self.classes),
            seed=self.seed,
            **self.options,
        )

    def prepared(self, data: ImageData) -> ImageData:
        """Return the data, standardised in the same way as the training data."""
        trained_on = (self.training or {}).get("data", {})
        mean, std = trained_on.get("mean"), trained_on.get("std")
        return data.standardized(mean, std) if mean and not data.mean else data


def save_network(folder: str | Path, model: nn.Module, card: Card, *, overwrite: bool = False) -> Path:
    """Write weights.safetensors and card.json to `folder`, and return the folder.

    The card is written last, so a folder with a card is complete. Matrices and filters that float16
    represents exactly, such as those of `round_to_float16`, are stored in float16.

    Raises:
        FileExistsError: the folder is not empty and `overwrite` is not set.
        ValueError: the card does not describe this model.
    """
    folder = Path(folder)
    if found := differences(_shapes(card), model.state_dict()):
        raise ValueError(f"the card describes another network ({card.network}, {card.options}). {found}.")
    check = partial(_refuse_used, folder, overwrite)
    with filling(folder, last=CARD, check=check) as scratch, written(folder):
        digest = write_tensors(
            scratch / WEIGHTS, {name: _compact(t) for name, t in model.state_dict().items()}
        )
        document = {**asdict(card), "schema": SCHEMA, "files": {WEIGHTS: digest}}
        write_sealed_json(scratch / CARD, document)
    return folder


@torch.no_grad()
def round_to_float16(model: nn.Module) -> nn.Module:
    """Round matrices and filters in place to the nearest float16 values, and return the model.

    Parameters keep their dtype. Biases, parameters of normalisation layers and running statistics, which take
    little space, do not change. `save_network` then stores the network in half the space, without loss.

    Raises:
        ValueError: a weight beyond the range of float16, 65,504.
    """
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            rounded = parameter.half().to(parameter.dtype)
            if not torch.isfinite(rounded).all():
                largest = float(parameter.abs().max())
                raise ValueError(f"{name} has weights up to {largest:.3g}, beyond float16's 65,504.")
            parameter.copy_(rounded)
    return model


def _compact(tensor: Tensor) -> Tensor:
    """Convert to float16 if that is smaller and lossless."""
    if tensor.dim() < 2 or tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if torch.equal(half.to(tensor.dtype), tensor) else tensor


def load_network(path: str | Path) -> tuple[nn.Module, Card]:
    """Load a network saved by `save_network`, in eval mode, and its card.

    Safe for untrusted files: nothing in them is executed.

    Args:
        path: the folder, or one of its two files.
    Raises:
        FileNotFoundError: the folder, or one of its files, does not exist.
        ValueError: a damaged or newer card, an unknown network, damaged weights, a pickle, or weights of
            another architecture; the message lists the names and shapes that differ.
    """
    path = Path(path)
    folder = path.parent if path.is_file() or path.name in (WEIGHTS, CARD) else path
    if not folder.is_dir():
        raise FileNotFoundError(f"there is no folder {folder}{_neighbours(folder)}")
    if path.is_file() and path.name not in (WEIGHTS, CARD):
        read_tensors(path)  # raises a more specific error for a pickle or a damaged file
        raise ValueError(
            f"{path} has no card; give a folder with {WEIGHTS} and {CARD}, as written by save_network."
        )
    return undisturbed(folder, (CARD, WEIGHTS), lambda: _read_network(folder))


def _read_network(folder: Path) -> tuple[nn.Module, Card]:
    for name in (CARD, WEIGHTS):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"no {name} in {folder}; give the folder that save_network wrote.")
    card, digest = _read_card(folder / CARD)
    tensors, metadata = read_tensors(folder / WEIGHTS)
    if digest is not None and metadata.get(NAME) != digest:
        raise ValueError(
            f"{folder / WEIGHTS} is damaged or does not match its {CARD}, which records another SHA-256. "
            "Were files of two networks mixed?"
        )
    try:
        shapes = _shapes(card)
    except (TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{folder / CARD} describes a network that cannot be built: {error}") from error
    _refuse_misfit(shapes, tensors, folder / WEIGHTS, f"{card.network} as {CARD} describes it")
    model = card.build()
    model.load_state_dict(tensors)
    return model.eval(), card


def load_card(folder: str | Path) -> Card:
    """Load only the card of a folder written by `save_network`; the weights are not needed.

    Raises:
        FileNotFoundError: no card.
        ValueError: a damaged or newer card.
    """
    settle(Path(folder))
    if not (Path(folder) / CARD).is_file():
        raise FileNotFoundError(f"no {CARD} in {folder}; give the folder that save_network wrote.")
    return read_card(Path(folder) / CARD)


def _neighbours(folder: Path) -> str:
    """Return a hint for a missing folder: which networks are next to it."""
    beside = sorted(found.parent.name for found in folder.parent.glob(f"*/{CARD}"))
    if beside:
        return f"; networks next to it: {', '.join(beside)}"
    return "; `invariscope demo` or `train` creates one"


def load_weights(model: nn.Module, path: str | Path) -> nn.Module:
    """Load a file's weights into your own model, and return the model.

    Args:
        model: the model.
        path: a state dict: safetensors, or a .pt file, which is read with `weights_only=True` and may contain
            only tensors and plain containers.
    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is damaged, contains more than tensors, or is not a state dict of this
            architecture.
    """
    path = Path(path)
    tensors = _read_pickled(path) if is_pickle(path) else read_tensors(path)[0]
    _refuse_misfit(model.state_dict(), tensors, path, type(model).__name__)
    model.load_state_dict(tensors)
    return model


def read_card(path: Path) -> Card:
    """Read a card from a JSON file.

    Raises:
        ValueError: not JSON, entries missing or unknown, or written by a newer version.
    """
    return _read_card(path)[0]


def _read_card(path: Path) -> tuple[Card, str | None]:
    """Return the card, and the digest of the weights that it records; None for cards of earlier versions."""
    found = read_sealed_json(path, newest=SCHEMA, what="the card of a network")
    entries = found.document
    files = entries.pop("files", {})
    digest = files.get(WEIGHTS) if isinstance(files, dict) else None
    missing = {"network", "input_shape", "classes"} - set(entries)
    extra = set(entries) - {f.name for f in fields(Card)}
    if missing or extra:
        raise ValueError(
            f"{path} is not the card of a network: missing {sorted(missing)}, unknown {sorted(extra)}."
        )
    shape, classes = entries.pop("input_shape"), entries.pop("classes")
    if not isinstance(shape, list) or not isinstance(classes, list):
        raise ValueError(f"{path}: input_shape and classes must be lists, got {shape!r} and {classes!r}.")
    if not isinstance(entries.get("options", {}), dict) or not isinstance(
        entries.get("training") or {}, dict
    ):
        raise ValueError(f"{path}: options and training must be objects with names and values.")
    card = Card(input_shape=tuple(shape), classes=tuple(classes), **entries)
    return card, (str(digest) if found.digest else None)


def _shapes(card: Card) -> dict[str, Tensor]:
    """Return the state dict of the card's network on the meta device, so that no card can exhaust memory."""
    with torch.device("meta"):
        return card.build().state_dict()


def _refuse_misfit(wanted: Mapping[str, Tensor], found: Mapping[str, Tensor], path: Path, what: str) -> None:
    if text := differences(wanted, found):
        raise ValueError(f"{path} does not fit {what}. {text}.")
    for name, tensor in wanted.items():
        given = found[name].dtype
        if tensor.is_floating_point() != given.is_floating_point or tensor.is_complex() != given.is_complex:
            raise ValueError(
                f"{path} does not fit {what}. {name} is {given} in the file and {tensor.dtype} there: "
                "convert it before saving."
            )


def _read_pickled(path: Path) -> dict[str, Tensor]:
    try:
        _refuse_costly(path)
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or forged pickle can fail in any way
        # Without torch's own message, which recommends loading with weights_only=False.
        raise ValueError(
            f"{path} is truncated, or contains objects that could run code{_culprit(error)}; it was not "
            "loaded. Save only the state dict, preferably as safetensors."
        ) from None
    if isinstance(content, dict) and isinstance(content.get("state_dict"), dict):
        content = content["state_dict"]
    if not isinstance(content, dict) or not all(isinstance(value, Tensor) for value in content.values()):
        raise ValueError(
            f"{path} is not a state dict: expected names and tensors, got {type(content).__name__}."
        )
    return content


def _refuse_costly(path: Path) -> None:
    """Raise an exception for a file of torch whose pickles take long, or whose archive expands greatly."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            refuse_zip_bomb(path, archive)
            if damaged := archive.testzip():  # torch does not compare checksums
                raise ValueError(f"the CRC-32 of {damaged} is wrong")
            for name in archive.namelist():
                if name.endswith(".pkl"):
                    refuse_costly(io.BytesIO(archive.read(name)))
        return
    with path.open("rb") as stream:
        for _ in range(_LEGACY_PICKLES):
            refuse_costly(stream)


def _culprit(error: Exception) -> str:
    """Return the name of the object that torch refuses to load, in parentheses; empty if there is none."""
    found = re.search(r"GLOBAL ([\w.]+)", str(error))
    return f" (it refers to {found[1]})" if found else ""


def _refuse_used(folder: Path, overwrite: bool) -> None:
    if not overwrite and folder.exists() and entries(folder):
        raise FileExistsError(f"{folder} is not empty. Give an empty or new folder, or overwrite=True.")
