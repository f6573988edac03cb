"""Every kind of file that is read: how to write one, and how to read the numbers in it."""

from __future__ import annotations

import gzip
import json
import pickle
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import invariscope as iv
from invariscope import zoo

SAMPLES = 64


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Args:
        write: writes the files of variant 0 or 1 to an empty folder.
        read: returns all numbers in the folder.
        sealed: whether the files have digests, so that no change may pass.
        mixed: whether one file of a variant among those of the other must be refused.
    """

    write: Callable[[Path, int], Any]
    read: Callable[[Path], Any]
    sealed: bool = False
    mixed: bool = False


def _model(variant: int) -> nn.Module:
    torch.manual_seed(variant)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 4)).eval()


def _inputs(variant: int, samples: int = SAMPLES) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(variant)
    return torch.rand(samples, 1, 8, 8, generator=generator), torch.arange(samples) % 4


def _measured(variant: int = 0, **options: Any) -> iv.Result:
    given = {"progress": False, "by_class": True, "batch_size": 16} | options
    return iv.measure(_model(variant), _inputs(variant), iv.QuarterTurns(), **given)


def _result_numbers(result: iv.Result) -> Any:
    tables = [frame.to_dict("list") for frame in (result.table, result.curves, result.baseline)]
    replicates = [[list(row.replicates), row.contrasts] for row in result.rows]
    return tables, replicates, {str(key): result.maps[key] for key in result.maps}, dict(result.examples)


def _read_result(folder: Path) -> Any:
    return _result_numbers(iv.load(folder))


def _write_unsealed(folder: Path, variant: int) -> None:
    """Write a result as earlier versions did, without digests."""
    from safetensors.numpy import load_file, save_file

    _measured(variant).save(folder)
    document = json.loads((folder / "result.json").read_text())
    del document["sha256"], document["files"]
    (folder / "result.json").write_text(json.dumps(document | {"schema": 1}, indent=1))
    save_file(load_file(folder / "maps.safetensors"), folder / "maps.safetensors")


def _write_shards(folder: Path, variant: int) -> None:
    for k in range(2):
        _measured(variant, shard=(k, 2)).save(folder / f"shard-{k}")


def _read_shards(folder: Path) -> Any:
    return _result_numbers(iv.merge(sorted(folder.iterdir())))


class _Stop(Exception):
    pass


def _write_checkpoint(folder: Path, variant: int) -> None:
    def stop(done: int, total: int | None) -> None:
        if done > SAMPLES / 2:
            raise _Stop

    try:  # an exception between two blocks saves the sums
        _measured(variant, checkpoint=folder / "run", progress=stop)
    except _Stop:
        return
    raise AssertionError("the run was not interrupted")


def _read_checkpoint(folder: Path) -> Any:
    return _result_numbers(_measured(checkpoint=folder / "run"))


def _trained(checkpoint: Path, variant: int, epochs: int) -> Any:
    model = _model(variant)
    record = zoo.train(
        model, _inputs(variant, 32), epochs=epochs, batch_size=16, seed=variant, checkpoint=checkpoint
    )
    return [{**one, "seconds": 0} for one in record.describe()["history"]], model.state_dict()


_CARD = zoo.Card(
    network="simple_conv", input_shape=(1, 28, 28), classes=("a", "b"), options={"filters": 2, "fc": 4}
)


def _write_network(folder: Path, variant: int) -> None:
    card = replace(_CARD, seed=variant)
    zoo.save_network(folder, card.build(), card)


def _read_network(folder: Path) -> Any:
    model, card = zoo.load_network(folder)
    return model.state_dict(), repr(card), card.seed


def _write_history(folder: Path, variant: int) -> None:
    monitor = iv.Monitor(_inputs(variant), iv.QuarterTurns(), folder=folder)
    for epoch in range(2):
        monitor(_model(variant + epoch), epoch)


def _read_history(folder: Path) -> Any:
    history = iv.monitor.load_history(folder)
    return (
        history.table.to_dict("list"),
        history.times.to_dict("list"),
        [_result_numbers(one) for one in history.results.values()],
    )


def _data(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        from invariscope.cli.data import load_data

        found = load_data(str(folder / name))
        return found if isinstance(found, list) else (found.images, found.labels)

    return read


def _array(variant: int) -> np.ndarray:
    return np.random.default_rng(variant).random((20, 1, 8, 8), dtype=np.float32)


def _write_safetensors(folder: Path, variant: int) -> None:
    from safetensors.numpy import save_file

    save_file({"x": _array(variant), "y": np.arange(20) % 4}, folder / "d.safetensors")


def _write_idx(folder: Path, variant: int) -> None:
    rng = np.random.default_rng(variant)
    for name, shape in (("images-idx3", (50, 28, 28)), ("labels-idx1", (50,))):
        values = rng.integers(0, 10 if len(shape) == 1 else 256, shape, dtype=np.uint8)
        head = bytes([0, 0, 8, len(shape)]) + b"".join(size.to_bytes(4, "big") for size in shape)
        (folder / f"t10k-{name}-ubyte.gz").write_bytes(gzip.compress(head + values.tobytes(), mtime=0))


def _pixels(variant: int) -> tuple[np.ndarray, list[int]]:
    rng = np.random.default_rng(variant)
    return rng.integers(0, 256, (20, 3072), dtype=np.uint8), rng.integers(0, 10, 20).tolist()


def _write_cifar_pickle(folder: Path, variant: int) -> None:
    pixels, labels = _pixels(variant)
    content = pickle.dumps({b"data": pixels, b"labels": labels, b"batch_label": b"test"}, protocol=2)
    (folder / "test_batch").write_bytes(content)


def _write_cifar_binary(folder: Path, variant: int) -> None:
    pixels, labels = _pixels(variant)
    content = np.concatenate([np.array(labels, np.uint8)[:, None], pixels], axis=1)
    (folder / "test_batch.bin").write_bytes(content.tobytes())


def _published(name: str) -> Callable[[Path], Any]:
    def read(folder: Path) -> Any:
        data = zoo.load(name, data_dir=folder)
        return data.images, data.labels

    return read


def _write_images(folder: Path, variant: int) -> None:
    from PIL import Image

    rng = np.random.default_rng(variant)
    for k, ending in enumerate(("png", "jpg", "gif", "bmp", "tif", "webp")):
        image = Image.fromarray(rng.integers(0, 256, (16, 16, 3), dtype=np.uint8))
        image.save(folder / f"{k}.{ending}")


def _read_images(folder: Path) -> Any:
    from invariscope.data.image_folder import image_folder

    found = image_folder(folder)
    assert len(found.keys) == len(found)  # keys differ with every byte, so they are no evidence
    return [np.asarray(found[k]) for k in range(len(found))]


def _state_dict(*, legacy: bool) -> Callable[[Path, int], Any]:
    def write(folder: Path, variant: int) -> None:
        torch.save(_model(variant).state_dict(), folder / "w.pt", _use_new_zipfile_serialization=not legacy)

    return write


def _read_state_dict(folder: Path) -> Any:
    return zoo.load_weights(_model(5), folder / "w.pt").state_dict()


def _write_recipe(folder: Path, variant: int) -> None:
    from invariscope.lab.recipes.recipe import FOLDER

    names = ("quiroga2020", "kvinge2022")
    (folder / "r.toml").write_bytes((FOLDER / f"{names[variant]}.toml").read_bytes())


def _read_recipe(folder: Path) -> Any:
    from invariscope.lab.recipes.text import Text

    return Text.read(folder / "r.toml").parsed()


def _read_text(folder: Path) -> Any:
    return _data("d.txt")(folder)


KINDS: dict[str, Kind] = {
    "result": Kind(lambda at, v: _measured(v).save(at), _read_result, sealed=True, mixed=True),
    "shards": Kind(_write_shards, _read_shards, sealed=True, mixed=True),
    "checkpoint of a measurement": Kind(_write_checkpoint, _read_checkpoint, sealed=True, mixed=True),
    "checkpoint of a training": Kind(
        lambda at, v: _trained(at / "run", v, 1),
        lambda at: _trained(at / "run", 0, 2),
        sealed=True,
        mixed=True,
    ),
    "network": Kind(_write_network, _read_network, sealed=True, mixed=True),
    "history of a monitor": Kind(_write_history, _read_history, sealed=True),
    "result of an earlier version": Kind(_write_unsealed, _read_result),
    ".npy": Kind(lambda at, v: np.save(at / "d.npy", _array(v)), _data("d.npy")),
    ".npz": Kind(lambda at, v: np.savez(at / "d.npz", x=_array(v)), _data("d.npz")),
    ".npz, compressed": Kind(lambda at, v: np.savez_compressed(at / "d.npz", x=_array(v)), _data("d.npz")),
    ".safetensors": Kind(_write_safetensors, _data("d.safetensors")),
    ".txt": Kind(lambda at, v: (at / "d.txt").write_text(f"one {v}\ntwo ü\n" * 20), _read_text),
    "IDX, gzip": Kind(_write_idx, _published("mnist")),
    "CIFAR-10, binary": Kind(_write_cifar_binary, _published("cifar10")),
    "CIFAR-10, pickle": Kind(_write_cifar_pickle, _published("cifar10")),
    "images": Kind(_write_images, _read_images),
    "state dict, zip": Kind(_state_dict(legacy=False), _read_state_dict),
    "state dict, legacy": Kind(_state_dict(legacy=True), _read_state_dict),
    "recipe": Kind(_write_recipe, _read_recipe),
}
