"""Numbers out of any range end in one short line, without taking memory or time."""

import resource

import pytest
import torch

import invariscope as iv
from invariscope import zoo
from invariscope.common.checks import MOST_ELEMENTS

HUGE = 10**9
LIMIT_MB = 400
IDENTITY = [[1, 0, 0], [0, 1, 0]]
CASES = {
    "circle": lambda: iv.Rotation.circle(10**8),
    "circle of 10^30": lambda: iv.Rotation.circle(10**30),
    "negative circle": lambda: iv.Rotation.circle(-1),
    "rotations drawn": lambda: iv.Rotation.uniform(HUGE),
    "range": lambda: iv.Rotation.range(0, 90, HUGE),
    "endless list": lambda: iv.Rotation(range(10**12)),
    "list": lambda: iv.Rotation([0.0] * 10**6),
    "angle": lambda: iv.Rotation([1e300]),
    "angle of an int": lambda: iv.Rotation([10**400]),
    "rotations within": lambda: iv.Rotation.within(30, HUGE),
    "hues": lambda: iv.Hue.circle(HUGE),
    "brightness": lambda: iv.Brightness([1e300]),
    "blur": lambda: iv.Blur([HUGE]),
    "gamma": lambda: iv.Gamma([HUGE]),
    "crop": lambda: iv.Crop(10**30),
    "crop by much": lambda: iv.Crop.shifts(8, HUGE),
    "crop rotations": lambda: iv.Crop.rotations(8, 30, HUGE + 1),
    "gains": lambda: iv.Gain(range(10**12)),
    "pitch window": lambda: iv.PitchShift(window=10**30),
    "scales": lambda: iv.Scale.range(0.5, 2, HUGE),
    "scales drawn": lambda: iv.Scale.uniform(HUGE, 0.5, 2),
    "tiny scale": lambda: iv.Scale([1e-300]),
    "shears": lambda: iv.Shear.range(0, 1, HUGE),
    "shears drawn": lambda: iv.Shear.uniform(HUGE, 0.2),
    "shifts": lambda: iv.Translation(range(10**12)),
    "grid of shifts": lambda: iv.Translation.grid(10**6),
    "shifts in range": lambda: iv.Translation.range(0, 4, HUGE),
    "shifts drawn": lambda: iv.Translation.uniform(HUGE, 2),
    "shift": lambda: iv.Translation([(10**30, 0)]),
    "periodic": lambda: iv.PeriodicTranslation(HUGE, HUGE),
    "callables": lambda: iv.Elements([abs] * 10**6),
    "matrices": lambda: iv.Affine([IDENTITY] * 10**6),
    "combinations": lambda: iv.Grid(*[iv.Rotation.circle(1000)] * 3),
    "deformations": lambda: iv.Diffeomorphism(HUGE),
    "modes": lambda: iv.Diffeomorphism(2, delta_px=1, c=HUGE),
    "augmentations": lambda: iv.DiffeomorphismAugmentation(HUGE),
    "ladder": lambda: iv.DeformationLadder.spanning((32, 32), HUGE),
    "permutations": lambda: iv.RandomPermutations(HUGE),
    "cycles": lambda: iv.Permutations.cyclic(HUGE),
    "all permutations": lambda: iv.Permutations.all(HUGE),
    "orthogonal": lambda: iv.RandomOrthogonal(HUGE),
    "turns": lambda: iv.Orthogonal.turns(HUGE),
    "noise": lambda: iv.Noise(HUGE),
    "loud noise": lambda: iv.Noise(norm=1e300),
    "drawn": lambda: iv.Drawn(torch.abs, HUGE),
    "filters": lambda: zoo.build("simple_conv", filters=10**7),
    "filters of 10^30": lambda: zoo.build("simple_conv", filters=10**30),
    "negative filters": lambda: zoo.build("simple_conv", filters=-3),
    "kernel": lambda: zoo.build("simple_conv", kernel_size=HUGE + 1),
    "image": lambda: zoo.build("simple_conv", input_shape=(1, HUGE, HUGE)),
    "classes": lambda: zoo.build("resnet18", classes=10**12),
    "depth": lambda: zoo.build("fully_connected", depth=10**8),
    "width": lambda: zoo.build("resnet50", width=10**7),
    "fields": lambda: zoo.build("c4_conv", fields=10**8),
    "orbits": lambda: zoo.build("orbit_pooling", orbits=10**8),
    "local filters": lambda: zoo.build("min_lcn", filters=10**7),
}
OPTIONS = {
    "samples": 10**12,
    "batch_size": 0,
    "units": 0,
    "draws": HUGE,
    "repeats": HUGE,
    "memory_gb": 1e300,
    "shard": (1, HUGE),
    "width": float("nan"),
    "seed": -1,
}


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def refused(make) -> str:
    """The message of the error, after checking that it came without memory."""
    before = peak_mb()
    with pytest.raises((ValueError, TypeError)) as raised:
        make()
    assert peak_mb() - before < LIMIT_MB
    return str(raised.value)


@pytest.mark.parametrize("name", CASES)
def test_a_number_out_of_range_is_refused_in_one_short_line(name):
    text = refused(CASES[name])
    assert "\n" not in text
    assert 10 < len(text) < 300


@pytest.mark.parametrize("name", OPTIONS)
def test_an_option_out_of_range_is_refused_in_one_short_line(name):
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    model = torch.nn.Flatten()
    text = refused(
        lambda: iv.measure(model, images, iv.QuarterTurns(), progress=False, **{name: OPTIONS[name]})
    )
    assert "\n" not in text
    assert len(text) < 300


@pytest.mark.parametrize("memory", [1e-9, -1, 0, float("nan"), "much"])
def test_a_budget_that_is_no_amount_of_memory_is_refused(memory):
    images = torch.rand(32, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ValueError, match=r"memory_gb|budget"):
        iv.measure(torch.nn.Flatten(), images, iv.QuarterTurns(), progress=False, memory_gb=memory)


@pytest.mark.parametrize(
    "make",
    [
        lambda: iv.Affine([[[10**400, 0, 0], [0, 1, 0]]]),
        lambda: iv.Orthogonal([[[10**400]]]),
        lambda: iv.Diffeomorphism(draws=99_999),
        lambda: iv.Noise(draws=99_999),
        lambda: iv.Drawn(torch.clone, draws=99_999),
        lambda: iv.RandomOrthogonal(draws=99_999),
    ],
)
def test_absurd_matrices_and_draws_are_refused(make):
    with pytest.raises((TypeError, ValueError), match=r"fit into float64|at most 10,000"):
        make()


def test_as_many_elements_as_are_allowed_are_made():
    assert len(iv.Rotation([0.0] * MOST_ELEMENTS)) == MOST_ELEMENTS


@pytest.mark.parametrize("lr", [1e300, float("inf"), float("nan")])
def test_a_learning_rate_out_of_range_is_refused(lr):
    data = torch.zeros(32, 1, 28, 28), torch.arange(32) % 10
    with pytest.raises(ValueError, match="lr must be"):
        zoo.train(zoo.build("simple_conv", filters=1), data, epochs=1, lr=lr)
