"""Train a small network to be invariant to rotation, with penalties or with augmentation.

    python examples/penalty_rotation.py
    python examples/penalty_rotation.py --weights 0.3 3 --epochs 10

The same network is trained several times: on upright digits; on upright digits with a penalty at several
weights, either the normalized variance of a layer or the divergence of the predicted probabilities along the
orbit; and on rotated digits. Prints the accuracy on upright and on rotated test digits and, with intervals,
the normalized variance of the last hidden layer and the divergence of predictions.
"""

from __future__ import annotations

import argparse
import math
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

import invariscope as iv
from invariscope import zoo
from invariscope.penalties import Penalty

CIRCLE = iv.Rotation.circle(16)
HIDDEN = "features"
DIVERGENCE = iv.EquivarianceDeviation(kind="output")


@dataclass(frozen=True)
class Way:
    """One way to train.

    Args:
        name: the name in the table.
        penalty: the term that is added to the loss, multiplied by the weight.
        weight: the weight of the penalty.
        rotated: whether to train on randomly rotated digits.
    """

    name: str
    penalty: Penalty | None = None
    weight: float = 0.0
    rotated: bool = False


def main() -> None:
    """Train a network in each way, and print a line for each."""
    options = _options()
    train = zoo.load("mnist_subset", split="train", samples=options.samples)
    test = zoo.load("mnist_subset", split="test", samples=options.test)
    print("| trained on | weight | upright | rotated | normalized variance | divergence, nats |")
    print("|---|---|---|---|---|---|")
    for way in _ways(options):
        model = trained(way, train, epochs=options.epochs, seed=options.seed)
        weight = f"{way.weight:g}" if way.penalty else ""
        print(f"| {way.name} | {weight} | {' | '.join(judged(model, test))} |", flush=True)


def _ways(options: argparse.Namespace) -> Iterator[Way]:
    drawn = {"elements": 4, "seed": options.seed}
    variance = iv.penalties.NormalizedVariance(CIRCLE, layers=HIDDEN, **drawn)
    fixed = iv.penalties.NormalizedVariance(CIRCLE, layers=HIDDEN, fixed_denominator=True, **drawn)
    divergence = iv.penalties.EquivarianceDeviation(CIRCLE, kind="output", **drawn)
    yield Way("upright digits")
    yield from (Way("upright digits, variance", variance, weight) for weight in options.weights)
    yield Way("upright digits, variance, SV fixed", fixed, options.weights[0])
    yield from (Way("upright digits, divergence", divergence, weight) for weight in options.weights)
    yield Way("rotated digits", rotated=True)


def small_network() -> nn.Sequential:
    """Return a network of two convolutions and two fully connected layers."""
    return nn.Sequential(
        OrderedDict(
            conv1=nn.Conv2d(1, 8, 5, stride=2, padding=2),
            relu1=nn.ReLU(),
            conv2=nn.Conv2d(8, 16, 5, stride=2, padding=2),
            relu2=nn.ReLU(),
            flatten=nn.Flatten(),
            fc=nn.Linear(16 * 49, 64),
            features=nn.ReLU(),
            head=nn.Linear(64, 10),
        )
    )


def trained(way: Way, train: zoo.ImageData, *, epochs: int, seed: int) -> nn.Module:
    """Return a network trained in this way, in eval mode."""
    torch.manual_seed(seed)
    model, generator = small_network(), torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    step = 0
    for _ in range(epochs):
        for chosen in torch.randperm(len(train), generator=generator).split(64):
            x, y = train.images[chosen], train.labels[chosen]
            seen = CIRCLE.random(x, generator=generator) if way.rotated else x
            loss: Tensor = functional.cross_entropy(model(seen), y)
            if way.penalty is not None:
                loss = loss + way.weight * way.penalty(model, x, step=step)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return model.eval()


def judged(model: nn.Module, test: zoo.ImageData) -> list[str]:
    """Return both accuracies, the normalized variance and the divergence on test digits as text."""
    wanted = [iv.NormalizedVariance(), iv.Prediction(), DIVERGENCE]
    result = iv.measure(model, test, CIRCLE, measures=wanted, layers=HIDDEN, progress=False)
    table, curves = result.table.set_index("measure"), result.curves
    upright = curves[(curves.measure == "prediction.accuracy") & (curves.element == 0)].value.item()
    variance, divergence = table.loc["normalized_variance"], table.loc[DIVERGENCE.row_name("")]
    return [
        f"{upright:.1%}",
        f"{table.loc['prediction.accuracy'].value:.1%}",
        estimate(variance.value_ratio, variance.ratio_low, variance.ratio_high),
        estimate(divergence.value, divergence.ci_low, divergence.ci_high),
    ]


def estimate(value: float, low: float, high: float) -> str:
    """Return a value as text, with its interval if it has one. A layer that never responds has neither."""
    if math.isnan(value):
        return "none: the layer is dead"
    within = "" if math.isnan(low) else f" ({rounded(low)} to {rounded(high)})"
    return rounded(value) + within


def rounded(value: float) -> str:
    """Return a number with three decimals, without a sign before zero."""
    return f"{round(value, 3) + 0.0:.3f}"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--weights", type=float, nargs="+", default=[0.1, 1.0, 10.0], help="penalty weights")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, help="train on this many digits (default: all)")
    parser.add_argument("--test", type=int, help="test and measure on this many digits (default: all)")
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


if __name__ == "__main__":
    main()
