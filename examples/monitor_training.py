"""Monitor the layers of SimpleConv while it learns digits, and measure the cost of monitoring.

    python examples/monitor_training.py                      # the digits that come with the package
    python examples/monitor_training.py --data mnist         # all of MNIST, from INVARISCOPE_DATA
    python examples/monitor_training.py --augment            # rotated digits instead

Prints the normalized variance of every layer under rotation, epoch by epoch, and the time spent measuring as
a share of an epoch. Writes the curves, a heat map (layers over epochs) and, if TensorBoard is installed,
event files.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import invariscope as iv
from invariscope import zoo
from invariscope.monitor import Monitor, TensorBoardWriter


def main() -> None:
    """Train, measure, print and save."""
    options = _options()
    train = zoo.load(options.data, split="train", samples=options.samples)
    probes = zoo.load(options.data, split="test")
    folder = Path(options.out)
    monitor = Monitor(
        probes,
        iv.Rotation.circle(16),
        every=options.every,
        samples=options.probes,
        folder=folder / "curves",
        writers=_writers(folder),
    )
    model = zoo.build(
        "simple_conv", input_shape=train.shape, classes=len(train.classes), filters=options.filters
    )
    trained = zoo.train(
        model,
        train,
        epochs=options.epochs,
        batch_size=options.batch_size,
        augmentation=iv.Rotation.circle(360) if options.augment else None,
        test=probes.subset(min(len(probes), 1000)),
        monitor=monitor,
    )
    _show(monitor, trained)
    plot = iv.plot("epoch_heatmap", monitor.results.values())
    plot.savefig(folder / "layers_over_epochs.png", dpi=150)
    print(f"curves, heat map and events are in {folder}")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--data", default="mnist_subset", help="mnist_subset or mnist")
    parser.add_argument("--samples", type=int, help="train on this many digits (default: all)")
    parser.add_argument("--probes", type=int, default=256, help="measure on this many test digits")
    parser.add_argument("--filters", type=int, default=32, help="filters of the first layers")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--every", type=int, default=1, help="number of epochs between measurements")
    parser.add_argument("--augment", action="store_true", help="train on randomly rotated digits")
    parser.add_argument(
        "--out", default="runs/monitor_training", help="folder for the results, which must not exist yet"
    )
    return parser.parse_args()


def _writers(folder: Path) -> list[TensorBoardWriter]:
    try:
        return [TensorBoardWriter(folder / "events", images=False)]
    except ImportError as error:
        print(f"no event files: {error}")
        return []


def _show(monitor: Monitor, trained: zoo.Training) -> None:
    curves = monitor.table.pivot(index="epoch", columns="layer", values="value")
    print(curves[list(dict.fromkeys(monitor.table["layer"]))].T.round(3).to_string())
    print(f"accuracy on test digits: {trained.test_accuracy:.1%}")
    epoch = trained.seconds / len(trained.history)
    each = monitor.times.query("measured and epoch > 0")["measuring_seconds"].mean()
    print(f"an epoch took {epoch:.1f} s, a measurement {each:.2f} s: {each / epoch:.1%} of an epoch")
    print(f"overhead over the whole run: {monitor.overhead:.1%}")


if __name__ == "__main__":
    main()
