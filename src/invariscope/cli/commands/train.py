"""`invariscope train`."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from invariscope.cli import options as shared
from invariscope.cli.console import notice, show, show_line
from invariscope.cli.errors import Debug, Interrupted, command
from invariscope.cli.folders import staged_folder
from invariscope.cli.options import flag, opt
from invariscope.common.progress import terminal_bars
from invariscope.common.publishing import beside, kind_of, written

if TYPE_CHECKING:
    from torch import nn

    from invariscope.monitor import Monitor
    from invariscope.zoo import Card, ImageData, Training

_CURVES = "monitor"


@dataclass(frozen=True, kw_only=True)
class TrainSettings:
    """Options of `zoo.train`."""

    epochs: Annotated[int, opt("Passes over the data.", "INT")] = 5
    batch_size: Annotated[int, opt("Images per step.", "INT")] = 256
    optimizer: Annotated[str, opt("`adam`, or `sgd` with Nesterov momentum.", "NAME")] = "adam"
    lr: Annotated[float, opt("Learning rate; with a schedule, its peak.", "FLOAT")] = 1e-3
    schedule: Annotated[str, opt("Learning rate schedule: `constant`, `cosine` or `one_cycle`.", "NAME")] = (
        "constant"
    )
    weight_decay: Annotated[
        float,
        opt("Weight decay of `sgd`, except for biases and normalisation.", "FLOAT", "--weight-decay"),
    ] = 0.0
    label_smoothing: Annotated[
        float, opt("Share of each target spread over all classes.", "FLOAT", "--label-smoothing")
    ] = 0.0
    flip: Annotated[bool, flag("Mirror images left to right at random.", "--flip")] = False
    crop_px: Annotated[int, opt("Shift images at random by up to this many pixels.", "INT", "--crop")] = 0
    ema: Annotated[float, opt("Decay of a moving average of the weights, below 1.", "FLOAT", "--ema")] = 0.0
    precision: Annotated[
        str, opt("`float32`, `bf16`, or `auto`: bf16 if it is faster on this machine.", "NAME")
    ] = "float32"
    seed: Annotated[int, opt("Seed of initial weights, sample order and augmentation.", "INT")] = 0


@command
def train(
    network: Annotated[
        str,
        typer.Argument(
            help="A network such as `simple_conv` (see `invariscope list models`), with options in brackets: "
            "`'simple_conv(filters=8)'`.",
            show_default=False,
        ),
    ],
    data: shared.Data,
    out: Annotated[Path, opt("New or empty folder for the weights and `card.json`.", "FOLDER", shown=False)],
    settings: TrainSettings,
    augmentation: Annotated[
        str | None,
        opt(
            "Transform each training image at random, such as by `Rotation.circle(16)`.",
            "TEXT",
            "--augmentation",
            "-a",
            shown="none",
        ),
    ] = None,
    test: Annotated[
        str | None, opt("Data for the test accuracy.", "DATA", shown="the data set's test split")
    ] = None,
    standardize: Annotated[
        bool, flag("Scale each channel to mean 0 and standard deviation 1.", "--standardize")
    ] = False,
    samples: Annotated[
        int | None, opt("Use a seeded subset of the training images.", "INT", shown="all")
    ] = None,
    device: Annotated[str, opt("`cpu`, `cuda:0`, ...", "NAME")] = "cpu",
    data_dir: shared.DataDir = None,
    monitor: Annotated[
        bool, flag("Measure the layers before training and after each epoch.", "--monitor")
    ] = False,
    monitor_transform: Annotated[
        str, opt("Transform for `--monitor`.", "TRANSFORM", "--monitor-transform")
    ] = "Rotation.circle(16)",
    monitor_every: Annotated[int, opt("Epochs between measurements.", "INT", "--monitor-every")] = 1,
    resume: Annotated[bool, flag("Resume an interrupted run.", "--resume")] = False,
    overwrite: shared.Overwrite = False,
    debug: Debug = False,
) -> None:
    """Train a network of the zoo, with or without random transforms of its images.

    Writes `weights.safetensors` and `card.json` to `--out`; `measure` takes that folder as MODEL. After each
    epoch, and once a minute, the training state is saved next to the folder for `--resume`. With `--monitor`,
    the curves over epochs are printed at the end and stored in the card, and full results are written to the
    subfolder `monitor`.

    Examples:

        invariscope train simple_conv mnist_subset --out nets/plain
        invariscope train simple_conv mnist_subset --out nets/rotated \\
            --epochs 15 --augmentation 'Rotation.circle(16)' --monitor --monitor-every 5
        invariscope train 'resnet9(width=32)' cifar10 --out nets/resnet9 --standardize --epochs 14 \\
            --optimizer sgd --lr 0.4 --schedule one_cycle --weight-decay 5e-4 --label-smoothing 0.1 \\
            --flip --crop 4 --precision auto
    """
    from invariscope.cli.expressions import read_transform

    checkpoint, curves = beside(out, ".safetensors"), beside(out, ".monitor")
    _refuse_unfinished(out, checkpoint, resume=resume, overwrite=overwrite)
    options = vars(settings) | {"checkpoint": checkpoint}
    watch, removes = None, () if monitor else (_CURVES,)
    try:
        with (
            staged_folder(out, overwrite=overwrite, last="card.json", removes=removes) as stage,
            _resumable(checkpoint, curves),
        ):
            images, held_out = _images(data, test, data_dir, standardize)
            images = images if samples is None else images.subset(samples, seed=settings.seed)
            card, moved = _card(network, images, settings.seed), augmentation and read_transform(augmentation)
            watched = read_transform(monitor_transform) if monitor else None
            model = card.build().to(device)
            if not resume:  # only now that nothing is wrong with the data and options
                checkpoint.unlink(missing_ok=True)
                shutil.rmtree(curves, ignore_errors=True)
            if watched is not None:
                probes = images if held_out is None else held_out
                watch = _monitor(probes, watched, monitor_every, settings.seed, curves)
                options["monitor"] = partial(_visit, watch, settings.epochs)
            trained = _trained(card, model, images, held_out, moved, options)
            _put(model, replace(card, training=trained.describe()), watch, stage, out)
    except KeyboardInterrupt:
        raise Interrupted(_left(checkpoint)) from None
    checkpoint.unlink(missing_ok=True)
    shutil.rmtree(curves, ignore_errors=True)
    _show(trained, watch, out)


@contextmanager
def _resumable(checkpoint: Path, curves: Path) -> Iterator[None]:
    """Let errors say where the state of an unfinished run is; remove curves without such a state."""
    for path, wanted in ((checkpoint, "a file"), (curves, "a folder")):
        if os.path.lexists(path) and (kind := kind_of(path)) != wanted:
            raise FileExistsError(f"{path}, where the training state is saved, is {kind}; move it away")
    try:
        yield
    except OSError as error:
        if checkpoint.exists():
            error.add_note(f"The same command with --resume continues from {checkpoint}.")
        raise
    finally:
        if not checkpoint.exists():
            shutil.rmtree(curves, ignore_errors=True)


def _put(model: nn.Module, card: Card, watch: Monitor | None, stage: Path, out: Path) -> None:
    """Write the network and its curves to the scratch folder of `out`."""
    from invariscope import zoo

    with written(out):
        if watch is not None:
            watch.save(stage / _CURVES)
        zoo.save_network(stage, model, card, overwrite=True)


def _refuse_unfinished(out: Path, checkpoint: Path, *, resume: bool, overwrite: bool) -> None:
    """Raise FileExistsError for the state of an interrupted run, unless an option says what to do with it."""
    if checkpoint.is_file() and not resume and not overwrite:
        raise FileExistsError(
            f"{checkpoint} holds an interrupted run of {out}: add --resume to continue it, or --overwrite to "
            "start again from the beginning"
        )


def _images(data: str, test: str | None, data_dir: Path | None, standardize: bool) -> tuple[Any, Any]:
    """Return the training images, and the test images or None."""
    from invariscope.cli.data import load_data
    from invariscope.zoo import DATASETS

    named = data.removeprefix("zoo:") in DATASETS
    images = _as_images(load_data(data, split="train" if named else None, data_dir=data_dir), data)
    if test is not None:
        held_out = _as_images(load_data(test), test)
    else:
        held_out = load_data(data, split="test", data_dir=data_dir) if named else None
    for note in dict.fromkeys(one.note for one in (images, held_out) if one is not None and one.note):
        notice(f"note: {note}")
    if standardize:
        images = images.standardized()
        held_out = held_out and held_out.standardized(images.mean, images.std)
    return images, held_out


def _as_images(data: Any, name: str) -> ImageData:
    from invariscope.data.files.held import FileData
    from invariscope.zoo import ImageData
    from invariscope.zoo.image_data import as_image_data

    pair = (data.images, data.labels) if isinstance(data, FileData) else data
    if isinstance(data, FileData) and data.labels is None:
        raise ValueError(f"{name} has no labels; training needs an array y with one integer per sample")
    images = as_image_data(pair)
    names = images.classes or tuple(map(str, range(int(images.labels.max()) + 1)))
    return images if isinstance(data, ImageData) else replace(images, name=Path(name).name, classes=names)


def _card(network: str, images: ImageData, seed: int) -> Card:
    from invariscope.cli.models import read_network
    from invariscope.zoo import Card

    name, options = read_network(network.removeprefix("zoo:"))
    return Card(network=name, input_shape=images.shape, classes=images.classes, options=options, seed=seed)


def _trained(
    card: Card,
    model: Any,
    images: ImageData,
    held_out: ImageData | None,
    moved: Any,
    options: dict[str, Any],
) -> Training:
    from invariscope import zoo

    with terminal_bars() as bar:
        tick = bar(f"training {card.network}")
        trained = zoo.train(
            model,
            images,
            augmentation=moved,
            test=held_out,
            progress=lambda at: tick((at.epoch - 1) * at.batches + at.batch, at.epochs * at.batches),
            **options,
        )
    return trained


def _monitor(data: ImageData, transform: Any, every: int, seed: int, folder: Path) -> Monitor:
    from invariscope.monitor import Monitor

    return Monitor(data, transform, every=every, seed=seed, folder=folder)


def _visit(monitor: Monitor, epochs: int, model: Any, epoch: int) -> Any:
    """Measure the network if a measurement is due after this epoch, and always after the last epoch."""
    return monitor.measure(model, epoch) if epoch == epochs else monitor(model, epoch)


def _left(checkpoint: Path) -> str:
    if checkpoint.exists():
        return f"no network was written; the same command with --resume continues from {checkpoint}."
    return "nothing was written."


def _show(trained: Training, watch: Monitor | None, out: Path) -> None:
    from invariscope.cli.curves import curve_tables, overhead_text

    if watch is not None:
        for table in curve_tables(watch.history):
            show(table)
        notice(overhead_text(watch.history))
    notice(f"accuracy over the batches of the last epoch: {trained.accuracy:.1%}")
    if trained.test_accuracy is not None:
        notice(f"accuracy on the test data: {trained.test_accuracy:.1%}")
    show_line(str(out))
