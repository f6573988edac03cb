"""The laws that every registered transform keeps; a new family is picked up by being defined."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from invariscope.transforms import TRANSFORMS, Drawn, Elements, Flip, Noise, Rotation, Transform, Translation
from invariscope.transforms.base import Traits
from invariscope.transforms.inverse import Inverse
from invariscope.transforms.machinery.affine import AffineTransform
from invariscope.transforms.machinery.matrices import linear
from invariscope.transforms.machinery.traits import Inputs
from unseeded_draws import watched


def missing(package: str) -> list[pytest.MarkDecorator]:
    """Skips the tests of a family whose optional package is not installed."""
    found = not package or importlib.util.find_spec(package) is not None
    return [] if found else [pytest.mark.skip(reason=f"needs {package}")]


EXAMPLES = [
    pytest.param(example, id=f"{name}-{k}", marks=missing(family.inputs.package))
    for name, family in TRANSFORMS.classes().items()
    for k, example in enumerate(family.examples())
    if not family.structured
]
every_example = pytest.mark.parametrize("transform", EXAMPLES)

SIDE, MARGIN = 28, 8
CHANNELS = 6  # whole vectors of two and of three entries, for families that turn those


def inner(x: Tensor) -> Tensor:
    """The values away from the border of images, or from the ends of signals."""
    middle = slice(MARGIN, -MARGIN)
    return x[..., middle, middle] if x.shape[-2] > 2 * MARGIN else x[..., middle]


def blobs(transform: Transform | None = None, samples: int = 3) -> Tensor:
    """Smooth images with little near the border, so that interpolation costs little; or smooth signals."""
    generator = torch.Generator().manual_seed(5)
    *channels, height, width = (transform.inputs if transform else Inputs()).shape
    if not channels:
        time = torch.arange(width, dtype=torch.float64)
        rates = 0.05 + 0.1 * torch.rand(samples, height, 1, generator=generator, dtype=torch.float64)
        return 0.5 * torch.sin(rates * time)
    drawn = torch.rand(samples, *channels, 2, 1, 1, generator=generator, dtype=torch.float64) - 0.5
    centres = (height - 1) / 2 + 6 * drawn, (width - 1) / 2 + 6 * drawn
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.exp(-((x - centres[1][:, :, 0]) ** 2 + (y - centres[0][:, :, 1]) ** 2) / (2 * 4.0**2))


def noise(transform: Transform | None = None, samples: int = 3) -> Tensor:
    wanted = transform.inputs if transform else Inputs()
    generator = torch.Generator().manual_seed(1)
    if wanted.low is None or wanted.high is None:
        return torch.randn(samples, *wanted.shape, generator=generator)
    uniform = torch.rand(samples, *wanted.shape, generator=generator)
    return wanted.low + (wanted.high - wanted.low) * uniform


def untouched(x: Tensor, orbit: Tensor) -> Tensor:
    """The inputs as a model sees them: their centres, for a family that crops."""
    spare = [a - b for a, b in zip(x.shape[2:], orbit.shape[3:], strict=True)]
    for axis, size in enumerate(spare):
        x = x.narrow(axis + 2, size // 2, x.shape[axis + 2] - size)
    return x


def assert_undone(transform: Transform, x: Tensor) -> None:
    """The inverse's element j undoes element j: about, or bit for bit where the element is exact."""
    inverse = transform.inverse()
    orbit = transform.orbit(x, seed=4)
    for j, exact in enumerate(transform.exact):
        back = inverse.orbit(orbit[:, j], seed=4)[:, j]
        assert (inner(back) - inner(x)).abs().max() < 0.06
        assert not exact or torch.equal(inner(back), inner(x))


def declares_an_action(transform: Transform) -> bool:
    """Whether no callable without a declared action takes part, and nothing else without one."""
    if isinstance(transform, Elements):
        return transform.actions is not None
    if isinstance(transform, Noise | Drawn) or not transform.acts_on_maps:
        return False
    parts = getattr(transform, "parts", None) or [part for part in [getattr(transform, "of", None)] if part]
    return all(declares_an_action(part) for part in parts)


def assert_table_holds(transform: Transform, x: Tensor) -> None:
    """Applying k and then j is what the table's entry [j, k] says."""
    table = transform.table()
    assert table is not None
    orbit = transform.orbit(x)
    for k in range(len(transform)):
        twice = transform.orbit(orbit[:, k])
        for j in range(len(transform)):
            expected = orbit[:, table[j, k]]
            assert (inner(twice[:, j]) - inner(expected)).abs().max() < 0.06
            if transform.exact[j] and transform.exact[k]:
                assert torch.equal(twice[:, j], expected)


@every_example
def test_labels_parameters_and_exactness_have_one_entry_an_element(transform: Transform) -> None:
    assert len(transform) == len(transform.labels) == len(transform.exact) > 0
    assert all(isinstance(label, str) and label for label in transform.labels)
    assert transform.parameters
    for values in transform.parameters.values():
        assert len(values) == len(transform)


@every_example
def test_orbit_has_sample_element_and_unit_axes_and_keeps_the_dtype(transform: Transform) -> None:
    x = blobs(transform)
    expected = transform.orbit(x)
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        orbit = transform.orbit(x.to(dtype))
        assert orbit.shape[:2] == (3, len(transform))
        assert orbit.ndim == x.ndim + 1
        assert orbit.dtype == dtype
        off = (orbit.double() - expected).abs()
        # Elements without gradients round, count or compare, so a few values may jump.
        assert (off.max() if transform.inputs.gradients else off.mean()) < 0.05


@every_example
def test_identity_element_returns_its_input_bit_for_bit(transform: Transform) -> None:
    if transform.identity is not None:
        x = noise(transform)
        orbit = transform.orbit(x)
        assert torch.equal(orbit[:, transform.identity], untouched(x, orbit))
        assert transform.exact[transform.identity]


@every_example
def test_only_the_identity_leaves_noise_as_it_is(transform: Transform) -> None:
    x = noise(transform)
    orbit = transform.orbit(x)
    seen = untouched(x, orbit)
    first = next((j for j in range(len(transform)) if torch.equal(orbit[:, j], seen)), None)
    assert first == transform.identity


@every_example
def test_orbit_of_a_batch_is_the_orbits_of_its_samples(transform: Transform) -> None:
    x, indices = noise(transform, 5), np.array([3, 11, 4, 700, 5])
    whole = transform.orbit(x, indices=indices, seed=2)
    for i in range(5):
        assert torch.equal(transform.orbit(x[i : i + 1], indices=indices[i : i + 1], seed=2)[0], whole[i])


@every_example
def test_the_same_seed_gives_the_same_orbit_and_another_seed_matters_only_to_draws(
    transform: Transform,
) -> None:
    x = noise(transform)
    assert torch.equal(transform.orbit(x, seed=3), transform.orbit(x, seed=3))
    assert torch.equal(transform.orbit(x, seed=3), transform.orbit(x, seed=4)) != transform.per_sample


@every_example
def test_draws_differ_between_samples_exactly_where_the_family_says_so(transform: Transform) -> None:
    x = noise(transform, 1).expand(2, *transform.inputs.shape)
    orbit = transform.orbit(x)
    assert torch.equal(orbit[0], orbit[1]) != transform.per_sample


@every_example
def test_inverse_undoes_every_element(transform: Transform) -> None:
    if transform.invertible:
        assert_undone(transform, blobs(transform))
        assert_undone(transform.inverse(), blobs(transform))
        assert len(transform.inverse()) == len(transform)
    else:
        with pytest.raises(TypeError, match="inverses="):
            transform.inverse()


@every_example
def test_round_trip_is_each_element_and_its_inverse(transform: Transform) -> None:
    x = blobs(transform)
    if not transform.invertible:
        with pytest.raises(TypeError, match="no known inverse"):
            transform.round_trip(x)
        return
    back, inverse = transform.round_trip(x, seed=9), transform.inverse()
    for j in range(len(transform)):
        expected = inverse.orbit(transform.orbit(x, seed=9)[:, j], seed=9)[:, j]
        torch.testing.assert_close(back[:, j], expected)


@every_example
def test_table_is_the_composition_of_elements(transform: Transform) -> None:
    table = transform.table()
    if table is None:
        return
    m = len(transform)
    assert table.shape == (m, m)
    assert all(sorted(row) == list(range(m)) for row in [*table.tolist(), *table.T.tolist()])
    assert transform.identity is not None
    assert_table_holds(transform, blobs(transform))


@every_example
def test_action_on_maps_of_the_inputs_size_is_what_happens_to_inputs(transform: Transform) -> None:
    x = blobs(transform)
    maps = x[:, None].expand(-1, len(transform), *x.shape[1:])
    if not declares_an_action(transform):
        with pytest.raises(TypeError, match="actions="):
            transform.act(maps, input_size=(SIDE, SIDE))
        return
    acted = transform.act(maps, input_size=(SIDE, SIDE), seed=6)
    torch.testing.assert_close(acted, transform.orbit(x, seed=6))
    if not transform.invertible:
        with pytest.raises(TypeError, match="no known inverse"):
            transform.act(acted, inverse=True, input_size=(SIDE, SIDE), seed=6)
        return
    back = transform.act(acted, inverse=True, input_size=(SIDE, SIDE), seed=6)
    torch.testing.assert_close(back, transform.round_trip(x, seed=6))


@every_example
def test_random_draws_an_element_for_each_sample(transform: Transform) -> None:
    x = noise(transform, 1).expand(40, *transform.inputs.shape)
    drawn = transform.random(x, generator=torch.Generator().manual_seed(3))
    again = transform.random(x, generator=torch.Generator().manual_seed(3))
    assert drawn.shape[:2] == x.shape[:2]
    assert torch.equal(drawn, again)
    assert len({tuple(image.flatten().tolist()) for image in drawn}) > 1 or len(transform) == 1
    if not transform.per_sample:
        distances = (drawn[:, None] - transform.orbit(x)).abs().flatten(2).amax(2)
        assert distances.min(dim=1).values.max() < 1e-4
        assert set(distances.argmin(dim=1).tolist()) == set(range(len(transform))) or len(transform) > 8


@every_example
@pytest.mark.parametrize("given", [{}, {"generator": None}, {"generator": 3}])
def test_random_draws_need_a_generator(transform: Transform, given: dict) -> None:
    name = type(transform).__name__
    with pytest.raises(
        TypeError, match=rf"{name}\.random needs generator=.*torch\.Generator\(\)\.manual_seed"
    ):
        transform.random(noise(transform, 2), **given)


@every_example
def test_global_generators_are_neither_read_nor_moved(transform: Transform) -> None:
    orbits = []
    for seed in (0, 1):
        with watched(seed, "a transform") as generators:
            drawn = transform.random(noise(transform), generator=torch.Generator().manual_seed(8))
            orbits.append(torch.cat([transform.orbit(noise(transform)).flatten(), drawn.flatten()]))
            assert generators.drawn() == []
    assert torch.equal(*orbits)


@every_example
def test_description_is_plain_json_that_names_the_family(transform: Transform) -> None:
    described = json.loads(json.dumps(transform.describe(), allow_nan=False))
    assert TRANSFORMS.get(described["family"]) is type(transform)
    assert described["labels"] == list(transform.labels)
    assert set(described["parameters"]) == set(transform.parameters)


@every_example
def test_equal_arguments_make_equal_frozen_transforms(transform: Transform) -> None:
    twins = [other for other in type(transform).examples() if other == transform]
    assert len(twins) == 1
    assert hash(twins[0]) == hash(transform)
    assert dataclasses.is_dataclass(transform)
    with pytest.raises(dataclasses.FrozenInstanceError):
        transform.anything = 1  # pyright: ignore[reportAttributeAccessIssue]


@every_example
def test_inputs_are_left_as_they_were_whatever_their_memory_order(transform: Transform) -> None:
    x = noise(transform)
    strided = x.transpose(-1, -2).contiguous().transpose(-1, -2)
    if x.ndim == 4:
        strided = x.to(memory_format=torch.channels_last)
    assert torch.equal(transform.orbit(strided), transform.orbit(x))
    assert torch.equal(strided, x)
    assert torch.equal(x, noise(transform))


@every_example
def test_gradients_reach_the_input(transform: Transform) -> None:
    x = blobs(transform).requires_grad_()
    if not transform.inputs.gradients:
        with pytest.raises(TypeError, match="no gradient"):
            transform.orbit(x)
        return
    transform.orbit(x).square().sum().backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert inner(x.grad).abs().max() > 0


@every_example
def test_data_of_another_kind_are_refused_with_what_came(transform: Transform) -> None:
    with pytest.raises(TypeError, match="ndarray"):
        transform.orbit(np.zeros((2, 1, 4, 4)))  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="at least one sample"):
        transform.orbit(torch.zeros(0, 1, 4, 4))
    with pytest.raises(ValueError, match="one integer"):
        transform.orbit(noise(transform), indices=[1, 2])


@every_example
def test_a_batch_on_another_device_stays_there(transform: Transform) -> None:
    """The meta device holds no values, but refuses to be mixed with any other."""
    x = noise(transform).to("meta")
    assert transform.orbit(x).device.type == "meta"
    assert transform.random(x, generator=torch.Generator()).device.type == "meta"


@every_example
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_batch_stays_on_the_gpu_and_gives_the_same_values(transform: Transform) -> None:
    x = noise(transform)
    orbit = transform.orbit(x.cuda(), seed=1)
    assert orbit.is_cuda
    expected = transform.orbit(x, seed=1)
    torch.testing.assert_close(orbit.cpu(), expected, atol=1e-4, rtol=1e-4)
    for j in np.nonzero(transform.exact)[0]:
        assert torch.equal(orbit[:, j].cpu(), expected[:, j])
    drawn = transform.random(x.cuda(), generator=torch.Generator().manual_seed(1))
    assert drawn.is_cuda


def test_the_inverse_check_rejects_an_inverse_that_goes_the_same_way() -> None:
    class _Wrong(_Minimal):
        def inverse(self) -> Transform:
            return self

    with pytest.raises(AssertionError):
        assert_undone(_Wrong((1.0, 1.2)), blobs())


def test_the_table_check_rejects_the_table_of_other_elements() -> None:
    class _Wrong(_Minimal):
        def table(self) -> np.ndarray:
            return np.array([[0, 1], [1, 0]])

    with pytest.raises(AssertionError):
        assert_table_holds(_Wrong((1.0, 1.2)), blobs())


def test_a_new_affine_family_is_a_few_lines() -> None:
    family = _Minimal((1.0, -1.0))
    assert_undone(family, blobs())
    assert_table_holds(family, noise())
    assert torch.equal(family.orbit(noise()), Flip().orbit(noise()))


def test_every_public_class_of_the_package_is_registered_and_importable() -> None:
    import invariscope.transforms as package

    for family in TRANSFORMS.classes().values():
        assert getattr(package, family.__name__) is family
        assert family.__name__ in dir(package)
    with pytest.raises(AttributeError, match="rotation"):
        _ = package.Rotatoin


def test_names_of_groups_and_of_lists_that_are_none() -> None:
    assert Rotation.circle(5).table() is not None
    for transform in (Rotation.circle(5, jitter_deg=1), Rotation.range(0, 90, 3), Translation.grid(1)):
        assert transform.table() is None
    assert Rotation([0, 360]).table() is None


@dataclasses.dataclass(frozen=True)
class _Minimal(AffineTransform):
    """Stretches left and right: what a family has to say for itself."""

    factors: Sequence[float]

    @classmethod
    def examples(cls) -> tuple[Transform, ...]:
        return (cls((1.0, -1.0)),)

    def inverse(self) -> Transform:
        return Inverse(self)

    def _traits(self) -> Traits:
        return self.planar_traits([f"{factor}" for factor in self.factors], {"stretch": self.factors})

    def _matrices(self, elements: np.ndarray, draws: object) -> np.ndarray:
        return linear(np.array(self.factors)[elements], np.array(0), np.array(0), np.array(1))
