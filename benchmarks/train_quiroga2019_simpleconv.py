"""Train the two SimpleConv networks of Quiroga et al. 2019 on full MNIST: upright and randomly rotated.

usage: python benchmarks/train_quiroga2019_simpleconv.py --data-dir FOLDER --out FOLDER

Training is as published: 32 filters, fc 64, Adam with lr 1e-3, batches of 256, 5 epochs upright and 15
rotated, with inputs standardised by the mean and standard deviation of the training images. Rotations are
uniform over the circle and padded with the border, which is black, as if images were rotated before
standardising. Writes OUT/plain and OUT/rotated (weights and card). An interrupted run is resumed.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch

from invariscope.transforms import Rotation
from invariscope.zoo import Card, Progress, build, evaluate, load, save_network, train


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-dir", type=Path, required=True, help="folder with the four MNIST files")
    parser.add_argument("--out", type=Path, required=True, help="new or empty folder for the two networks")
    parser.add_argument("--epochs-plain", type=int, default=5)
    parser.add_argument("--epochs-rotated", type=int, default=15)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def report(step: Progress) -> None:
    if step.batch == step.batches:
        print(f"epoch {step.epoch}/{step.epochs}, last loss {step.loss:.4f}", flush=True)


def main(args: argparse.Namespace) -> None:
    torch.set_num_threads(args.threads)
    data = load("mnist", split="train", data_dir=args.data_dir).standardized()
    test = load("mnist", split="test", data_dir=args.data_dir).standardized(data.mean, data.std)
    # Steps of 1° with a jitter of ±0.5° make the angles uniform.
    circle = Rotation.circle(360, jitter_deg=0.5, padding="border")
    for name, epochs, augmentation in (
        ("plain", args.epochs_plain, None),
        ("rotated", args.epochs_rotated, circle),
    ):
        model = build("simple_conv", input_shape=data.shape, classes=len(data.classes), seed=args.seed)
        trained = train(
            model,
            data,
            epochs=epochs,
            augmentation=augmentation,
            seed=args.seed,
            channels_last=True,
            test=test,
            checkpoint=args.out / f"{name}.checkpoint",
            progress=report,
        )
        card = Card(
            network="simple_conv",
            input_shape=data.shape,
            classes=data.classes,
            seed=args.seed,
            training=trained.describe(),
        )
        folder = save_network(args.out / name, model, card, overwrite=True)
        accuracies = {
            "network": str(folder),
            "upright": evaluate(model, test),
            "rotated": evaluate(model, test, transform=circle),
            "minutes": round(trained.seconds / 60, 1),
        }
        print(json.dumps(accuracies), flush=True)


if __name__ == "__main__":
    main(options())
