"""Per-sample draws belong to (seed, sample index, element), never to a place in a batch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from invariscope.common.draws import _GOLDEN, Draws, Stream, _mix
from invariscope.transforms import Compose, Grid, Rotation


def uniform(seed: int = 0, samples: int = 2000, slots: int = 16, **options: Any) -> np.ndarray:
    return Draws(seed=seed, keys=np.arange(samples), slots=slots, **options).uniform()


def noise(samples: int) -> torch.Tensor:
    return torch.randn(samples, 1, 9, 9, generator=torch.Generator().manual_seed(0))


def test_draws_are_uniform_on_the_unit_interval() -> None:
    values = np.sort(uniform().ravel())
    assert 0 <= values[0] < values[-1] < 1
    expected = (np.arange(values.size) + 0.5) / values.size
    assert np.abs(values - expected).max() < 1.63 / np.sqrt(values.size)  # Kolmogorov's bound at 1 %


@pytest.mark.parametrize(
    "other",
    [
        uniform(seed=1),
        uniform(seed=-1),
        uniform(path=(1,)),
        uniform(stream=Stream.RANK),
        uniform(path=(0,), stream=Stream.RANK),
        np.roll(uniform(), 1, axis=0),
        np.roll(uniform(), 1, axis=1),
    ],
    ids=["seed", "negative seed", "path", "stream", "both", "neighbouring sample", "neighbouring element"],
)
def test_draws_of_another_key_are_unrelated(other: np.ndarray) -> None:
    correlation = np.corrcoef(uniform().ravel(), other.ravel())[0, 1]
    assert abs(correlation) < 4 / np.sqrt(other.size)


def test_the_hash_is_splitmix64_as_published() -> None:
    state = np.array([1234567], dtype=np.uint64)
    found = []
    for _ in range(3):
        state = state + _GOLDEN
        found.append(int(_mix(state)[0]))
    assert found == [6457827717110365317, 3203168211198807973, 9817491932198370423]


def test_draws_are_the_same_on_every_machine_and_release() -> None:
    values = Draws(seed=2024, keys=np.array([0, 1, 10**12]), slots=2).uniform()
    expected = [
        [0.7347480565204487, 0.24238410025469614],
        [0.448194622639814, 0.7420278210670479],
        [0.07120083319678328, 0.36017625727835456],
    ]
    np.testing.assert_array_equal(values, expected)


@given(
    indices=st.lists(st.integers(0, 2**62), min_size=2, max_size=6, unique=True),
    cut=st.integers(1, 5),
    seed=st.integers(-(2**70), 2**70),
)
@settings(max_examples=30, deadline=None)
def test_jittered_orbits_do_not_depend_on_how_samples_are_batched(
    indices: list[int], cut: int, seed: int
) -> None:
    x, keys = noise(len(indices)), np.array(indices)
    rotation = Rotation.circle(3, jitter_deg=10)
    whole = rotation.orbit(x, indices=keys, seed=seed)
    parts = [slice(0, cut), slice(cut, None)] if cut < len(indices) else [slice(None)]
    split = [rotation.orbit(x[part], indices=torch.from_numpy(keys[part]), seed=seed) for part in parts]
    assert torch.equal(torch.cat(split), whole)


def test_every_sample_and_element_has_a_jitter_of_its_own() -> None:
    """One angle shared by a whole batch is what peers do."""
    x = noise(1).expand(30, -1, -1, -1)
    orbit = Rotation([0] * 5, jitter_deg=20).orbit(x)
    assert len({tuple(image.flatten().tolist()) for image in orbit.flatten(0, 1)}) == 150


def test_jitter_stays_within_its_half_width_and_fills_it() -> None:
    rotation = Rotation([30], jitter_deg=2)
    draws = Draws(seed=0, keys=np.arange(4000), slots=1)
    matrices = rotation._matrices(np.zeros(1, dtype=int), draws)
    degrees = np.rad2deg(np.arctan2(matrices[..., 0, 1], matrices[..., 0, 0]))
    assert [degrees.min(), degrees.max()] == pytest.approx([28, 32], abs=0.01)
    assert (np.abs(degrees - 30) <= 2).all()
    assert degrees.mean() == pytest.approx(30, abs=0.1)


def test_two_jittered_parts_draw_independently() -> None:
    jittered = Rotation([0, 0], jitter_deg=10)
    x = noise(6)
    both = Compose([jittered, jittered.inverse()]).orbit(x)
    assert not torch.allclose(both, x[:, None].expand_as(both), atol=1e-2)


def test_each_combination_of_a_grid_draws_for_itself() -> None:
    grid = Grid(Rotation([0, 0], jitter_deg=10), Rotation([0, 0]))
    orbit = grid.orbit(noise(2))
    assert not torch.equal(orbit[:, 0], orbit[:, 1])


def test_the_inverse_of_a_jittered_element_undoes_the_very_same_draw() -> None:
    y, x = torch.meshgrid(torch.arange(31.0), torch.arange(31.0), indexing="ij")
    blob = torch.exp(-((x - 18) ** 2 + (y - 12) ** 2) / 50).expand(4, 1, -1, -1)
    rotation = Rotation([0, 50], jitter_deg=30)
    back = rotation.round_trip(blob, indices=[5, 9, 2, 3], seed=11)
    assert (back - blob[:, None])[..., 8:-8, 8:-8].abs().max() < 0.02
    wrong = rotation.act(
        rotation.orbit(blob, seed=11), inverse=True, seed=12
    )  # input and features moved by different draws: a peer's mistake
    assert (wrong - blob[:, None])[..., 8:-8, 8:-8].abs().max() > 0.1


def test_augmentation_draws_independent_elements_for_samples() -> None:
    x = noise(1).expand(400, -1, -1, -1)
    turns = Rotation([0, 90, 180, 270])
    drawn = turns.random(x, generator=torch.Generator().manual_seed(0))
    chosen = (drawn[:, None] == turns.orbit(x[:1])).flatten(2).all(dim=2).int().argmax(dim=1)
    counts = torch.bincount(chosen, minlength=4)
    assert (counts - 100).abs().max() < 4 * 9
    same_as_next = (chosen[1:] == chosen[:-1]).float().mean()
    assert same_as_next == pytest.approx(0.25, abs=0.1)


def test_augmentation_moves_only_its_generator() -> None:
    generator = torch.Generator().manual_seed(0)
    first = Rotation.circle(8).random(noise(20), generator=generator)
    second = Rotation.circle(8).random(noise(20), generator=generator)
    assert not torch.equal(first, second)


def test_augmentation_jitters_too() -> None:
    x = noise(1).expand(20, -1, -1, -1)
    drawn = Rotation([0], jitter_deg=15).random(x, generator=torch.Generator().manual_seed(0))
    assert len({tuple(image.flatten().tolist()) for image in drawn}) == 20
