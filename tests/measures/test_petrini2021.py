"""The complete published convention of 2021, reimplemented by hand: fields, images, noise, medians."""

import functools

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.common.draws import Draws, Stream

SAMPLES, DRAWS, SIDE, SEED = 20, 3, 14, 4
IMAGES = zoo.load("mnist_subset", samples=SAMPLES).images[..., ::2, ::2].contiguous()
TRANSFORM = iv.Diffeomorphism(DRAWS, delta_px=1.0, preset="petrini2021")

KEYS = np.arange(SAMPLES)
OPTIONS = {"layers": "3", "seed": SEED, "ids": KEYS, "intervals": False, "progress": False}


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(432, 4)).eval()


def displaced(image, coefficients):
    """One image under the field with these coefficients: sines at each pixel, then its four neighbours."""
    out = np.empty((SIDE, SIDE))
    for row in range(SIDE):
        for column in range(SIDE):
            u, v = column / (SIDE - 1), row / (SIDE - 1)
            # Displacements in units of the image's side correspond to `n` pixels, not n − 1.
            dx, dy = (
                SIDE
                * sum(
                    c * np.sin((i + 1) * np.pi * u) * np.sin((j + 1) * np.pi * v)
                    for (i, j), c in np.ndenumerate(part)
                )
                for part in coefficients
            )
            x, y = np.clip([column - dx, row - dy], 0, SIDE - 1)
            left, top = min(int(x), SIDE - 2), min(int(y), SIDE - 2)
            a, b = x - left, y - top
            above = (1 - a) * image[top, left] + a * image[top, left + 1]
            below = (1 - a) * image[top + 1, left] + a * image[top + 1, left + 1]
            out[row, column] = (1 - b) * above + b * below
    return out


def drawn_coefficients():
    """(sample, draw, 2, i, j): normal, of variance T/(i² + j²) below the cutoff, T for one nominal pixel."""
    temperature = 4 / (np.pi * SIDE**2 * np.log(3))
    i, j = np.meshgrid([1, 2, 3], [1, 2, 3], indexing="ij")
    deviation = np.where(np.hypot(i, j) < 3.5, np.sqrt(temperature / (i**2 + j**2)), 0)
    normal = Draws(seed=SEED, keys=KEYS, slots=DRAWS).normal(18)
    return normal.reshape(SAMPLES, DRAWS, 2, 3, 3) * deviation


@functools.cache
def by_hand():
    """D, G and R of the output."""
    model = net().double()
    x = IMAGES.double().numpy()[:, 0]
    fields = drawn_coefficients()
    moved = np.array([[displaced(image, c) for c in own] for image, own in zip(x, fields, strict=True)])
    norm = np.mean([np.linalg.norm(moved[i, k] - x[i]) for i in range(SAMPLES) for k in range(DRAWS)])
    noise = Draws(SEED, KEYS, DRAWS, Stream.EQUAL_NOISE).normal(SIDE * SIDE)
    noise *= norm / np.linalg.norm(noise, axis=2, keepdims=True)
    noisy = x[:, None] + noise.reshape(SAMPLES, DRAWS, SIDE, SIDE)

    def answers(images):
        with torch.no_grad():
            return model(torch.from_numpy(images.reshape(-1, 1, SIDE, SIDE))).numpy()

    rest = answers(x)
    above = []
    for versions in (moved, noisy):
        squares = (answers(versions).reshape(SAMPLES, DRAWS, -1) - rest[:, None]) ** 2
        above.append(sum(np.median(squares[..., u]) for u in range(4)))
    apart = 0.0
    for u in range(4):  # the lower median of all n² pairs, including those of a sample with itself
        pairs = sorted((a - b) ** 2 for a in rest[:, u] for b in rest[:, u])
        apart += pairs[(len(pairs) - 1) // 2]
    return {"D": above[0] / apart, "G": above[1] / apart, "R": above[0] / above[1]}


def test_both_presets_together_are_the_published_convention():
    measure = iv.Stability(preset="petrini2021")
    table = iv.measure(net(), IMAGES, TRANSFORM, measures=measure, **OPTIONS).table.set_index("measure")
    for output, expected in by_hand().items():
        assert table.value[f"stability.petrini2021.{output}"] == pytest.approx(expected, rel=1e-3), output


@pytest.mark.parametrize(
    ("transform", "measure"),
    [
        (iv.Diffeomorphism(DRAWS, delta_px=1.0), iv.Stability(preset="petrini2021")),
        (TRANSFORM, iv.Stability(average="unitwise_median", radius="mean")),
        (TRANSFORM, iv.Stability(average="unitwise_median", pairs="all")),
        (TRANSFORM, iv.Stability(pairs="all", radius="mean")),
    ],
)
def test_without_any_one_of_the_conventions_the_numbers_are_others(transform, measure):
    table = iv.measure(net(), IMAGES, transform, measures=measure, **OPTIONS).table.set_index("measure")
    off = [abs(table.value[measure.row_name(name)] / value - 1) for name, value in by_hand().items()]
    assert max(off) > 0.005
