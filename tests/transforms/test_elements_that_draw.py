"""Callables that draw random numbers, or mix samples, are refused; `Drawn` keys their draws by sample."""

from __future__ import annotations

import functools
import random

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import invariscope as iv
from invariscope.transforms import Compose, Drawn, Elements, Grid, Inverse, Rotation

pytestmark = pytest.mark.usefixtures("seeded")


def images(samples: int = 6) -> Tensor:
    return torch.rand(samples, 1, 8, 8, generator=torch.Generator().manual_seed(3))


def torch_noise(x: Tensor) -> Tensor:
    return x + 0.3 * torch.randn_like(x)


def numpy_gain(x: Tensor) -> Tensor:
    return x * float(np.random.uniform(0.5, 1.5))


def python_gain(x: Tensor) -> Tensor:
    return x * random.uniform(0.5, 1.5)


def rarely(x: Tensor) -> Tensor:
    return -x if random.random() < 0.3 else x


class Augmentation:
    """As libraries write them: with a generator of its own."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)

    def __call__(self, x: Tensor) -> Tensor:
        return x + float(self.rng.normal())


def with_own_generator() -> functools.partial[Tensor]:
    generator = torch.Generator().manual_seed(1)

    def add(x: Tensor, scale: float) -> Tensor:
        return x + scale * torch.randn(x.shape, generator=generator)

    return functools.partial(add, scale=0.5)


DRAWING = [
    torch_noise,
    numpy_gain,
    python_gain,
    rarely,
    Augmentation(),
    with_own_generator(),
    nn.Dropout(0.5).train(),
]


def states() -> tuple[object, ...]:
    return torch.get_rng_state().tolist(), str(np.random.get_state()), random.getstate()


@pytest.mark.parametrize("function", DRAWING)
def test_a_callable_that_draws_is_refused_by_name_and_leaves_the_generators_alone(function) -> None:
    before = states()
    with pytest.raises(ValueError, match=r"element 'drawing' draws random numbers.*iv\.Drawn\(f, draws=8\)"):
        Elements([torch.neg, function], labels=["negative", "drawing"]).orbit(images())
    assert states() == before


@pytest.mark.parametrize(
    "transform",
    [
        [torch.neg, torch_noise],
        Compose([Rotation([0, 20]), [torch.neg, torch_noise]]),
        Grid([torch.neg, torch_noise], Rotation([0, 20])),
        Inverse(Elements([torch.neg, torch.neg], inverses=[torch.neg, torch_noise])),
    ],
)
def test_they_are_found_wherever_callables_can_stand(transform) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(ValueError, match="draws random numbers"):
        iv.measure(model, images(), transform, progress=False)


def test_assertions_and_penalties_refuse_them_too() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    with pytest.raises(ValueError, match="draws random numbers"):
        iv.assert_invariant(model, images(), [torch.neg, torch_noise], below=0.1)
    with pytest.raises(ValueError, match="draws random numbers"):
        iv.penalties.NormalizedVariance([torch.neg, torch_noise])(model, images())


@pytest.mark.parametrize(
    "function",
    [lambda x: x - x.mean(), lambda x: x.flip(0), lambda x: x + torch.arange(len(x)).view(-1, 1, 1, 1)],
)
def test_a_callable_that_mixes_samples_is_refused(function) -> None:
    with pytest.raises(
        ValueError, match=r"element '#1' depends on the batch: .* alone than in a batch.*one sample at a time"
    ):
        Elements([torch.neg, function]).orbit(images())


def test_a_callable_that_needs_company_is_refused() -> None:
    alone = nn.BatchNorm1d(4).train()
    with pytest.raises(
        ValueError, match=r"'#1' fails on a single sample, but not on 3.*one sample at a time"
    ):
        Elements([torch.neg, alone], labels=["negative", "#1"]).orbit(images().flatten(1)[:, :4])


def test_rounding_that_depends_on_the_batch_size_is_none() -> None:
    weights = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    orbit = Elements([lambda x: x @ weights, torch.neg]).orbit(images().flatten(1))
    assert orbit.shape == (6, 2, 64)


def test_a_generator_that_moves_without_an_effect_is_let_in() -> None:
    def turned(x: Tensor) -> Tensor:  # as a library's class with a single angle to choose from
        return x.rot90(random.randint(1, 1), (2, 3))

    assert Elements([turned]).orbit(images()).shape == (6, 1, 1, 8, 8)


def test_callables_are_tried_once_on_one_sample_and_once_on_several() -> None:
    calls: list[int] = []

    def counted(x: Tensor) -> Tensor:
        calls.append(len(x))
        return x

    transform = Elements([counted])
    transform.orbit(images(1))
    assert calls == [1, 1, 1]
    transform.orbit(images(1))
    assert calls == [1, 1, 1, 1]
    calls.clear()
    transform.orbit(images(5))
    assert calls == [3, 3, 1, 5]
    transform.orbit(images(5))
    assert calls == [3, 3, 1, 5, 5]


@pytest.mark.parametrize("function", DRAWING)
def test_drawn_does_not_depend_on_the_batch_the_order_or_the_generators(function) -> None:
    x, transform = images(), Drawn(function, 4)
    before = states()
    whole = transform.orbit(x, seed=5)
    assert states() == before
    torch.manual_seed(1), np.random.seed(1), random.seed(1)
    order = torch.tensor([4, 0, 5])
    assert torch.equal(transform.orbit(x[order], indices=order.numpy(), seed=5), whole[order])
    assert not torch.equal(transform.orbit(x, seed=6), whole)


def test_draws_of_elements_and_samples_are_of_the_functions_distribution() -> None:
    draws = Drawn(torch_noise, 25).orbit(torch.zeros(80, 3))
    assert abs(float(draws.std()) - 0.3) < 0.01  # 6,000 values: 0.003 is one standard error
    flat = draws.double().flatten(0, 1)
    assert len(flat.unique(dim=0)) == 2000
    assert abs(float(torch.corrcoef(draws[:, :2, 0].T)[0, 1])) < 0.4


def test_a_held_generator_is_where_it_was_after_drawn() -> None:
    held = Augmentation()
    before = held.rng.bit_generator.state
    Drawn(held).orbit(images())
    assert held.rng.bit_generator.state == before


def test_measured_draws_are_the_same_for_every_batch_size() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 3))
    found = [
        iv.measure(model, images(32), Drawn(torch_noise, 4), progress=False, batch_size=size, seed=seed)
        for size, seed in ((4, 0), (64, 0), (64, 1))
    ]
    first, second, other = (result.table["value"].iloc[-1] for result in found)
    assert first == pytest.approx(second, rel=1e-6)
    assert abs(first - other) > 1e-4


class Counter:
    calls = 0

    def __call__(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x + self.calls


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (Counter(), ValueError, "two calls with the same seed gave different"),
        (lambda x: x.long(), TypeError, r"'draw 1' must return floating-point values; it returned int64"),
        (lambda x: x.numpy(), TypeError, "'draw 1' must return a tensor"),
        (lambda x: x[0, 0], ValueError, "one result per sample"),
        (lambda x: x[..., : random.randint(1, 8)], ValueError, "same shape and dtype"),
    ],
)
def test_what_is_not_a_draw_is_refused(function, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Drawn(function, 20).orbit(images())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (([torch_noise],), TypeError, "wraps a function from batch to batch; got list"),
        ((Rotation([0, 20]),), TypeError, "Rotation is already a transform"),
        ((torch_noise, 0), ValueError, "draws must be an integer, at least 1"),
    ],
)
def test_what_cannot_be_wrapped_is_refused(arguments, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        Drawn(*arguments)


def test_draws_are_labelled_by_the_function_or_as_asked() -> None:
    assert Drawn(torch_noise, 2).labels == ("torch_noise 1", "torch_noise 2")
    assert Drawn(lambda x: x, 1).labels == ("draw 1",)
    assert Drawn(torch_noise, 1, label="noise").labels == ("noise 1",)
