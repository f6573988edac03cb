"""Groups other than those of the pixel grid: orders, turns of vectors, shifts around the edge."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from invariscope import Group
from invariscope.transforms import (
    Compose,
    Grid,
    Orthogonal,
    PeriodicTranslation,
    Permutations,
    QuarterTurns,
    RandomOrthogonal,
    RandomPermutations,
    Rotation,
    VectorField,
)
from invariscope.transforms.machinery.linear import linear_parts


def drawn(transform, samples=4000, seed=0):
    found = linear_parts(transform, np.arange(samples), seed)
    assert found is not None
    return found[:, 0]


@pytest.mark.parametrize(("dimension", "mirrored"), [(2, False), (3, False), (3, True), (5, True)])
def test_drawn_matrices_have_the_moments_of_the_haar_measure(dimension, mirrored):
    """Entries have mean 0 and variance 1/d; the squared trace of SO(d) and O(d) has the known mean."""
    found = drawn(RandomOrthogonal(1, dimension=dimension, mirrored=mirrored))
    np.testing.assert_allclose(
        found @ found.swapaxes(1, 2), np.eye(dimension)[None].repeat(4000, 0), atol=1e-12
    )
    error = 5 / math.sqrt(4000)
    assert np.abs(found.mean(axis=0)).max() < error
    assert np.abs((found**2).mean(axis=0) - 1 / dimension).max() < error
    traces = np.trace(found, axis1=1, axis2=2) ** 2
    # The defining representation is irreducible over the reals; of SO(2) it is the sum of two complex ones.
    assert abs(traces.mean() - (2 if dimension == 2 else 1)) < 5 * traces.std() / math.sqrt(4000)
    assert abs((np.linalg.det(found) < 0).mean() - (0.5 if mirrored else 0)) < error


def test_uniform_rotations_of_images_are_uniform_on_the_circle():
    found = drawn(Rotation.uniform(2))
    angles = np.arctan2(found[:, 1, 0], found[:, 0, 0])
    for harmonic in (1, 2, 3):
        assert abs(np.exp(1j * harmonic * angles).mean()) < 4 / math.sqrt(4000)


def test_the_first_column_of_a_drawn_rotation_points_anywhere_on_the_sphere():
    """Archimedes: the height of a uniform point of the sphere is uniform."""
    heights = np.sort(drawn(RandomOrthogonal(1))[:, 2, 0])
    uniform = np.linspace(-1, 1, len(heights))
    assert np.abs(heights - uniform).max() < 0.06


def test_orders_are_uniform_over_all_permutations():
    orbit = RandomPermutations(1, size=3).orbit(torch.arange(3.0).expand(6000, 3))[:, 0]
    _, counts = orbit.unique(dim=0, return_counts=True)
    assert len(counts) == 6
    assert ((counts - 1000).abs() < 5 * math.sqrt(1000)).all()


def test_permuting_acts_from_the_left():
    x = torch.arange(3.0)[None]
    everything = Permutations.all(3)
    table, orbit = everything.table(), everything.orbit(x)
    assert table is not None
    for j in range(6):
        for k in range(6):
            assert torch.equal(everything.orbit(orbit[:, k])[:, j], orbit[:, table[j, k]])
    assert (table != table.T).any()


def test_points_of_a_cloud_turn_and_change_places_independently():
    cloud = torch.randn(5, 4, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    both = Grid(Permutations.cyclic(4), Orthogonal())
    orbit = both.orbit(cloud)
    assert orbit.shape == (5, 96, 4, 3)
    expected = torch.einsum("ab,npb->npa", torch.tensor(Orthogonal().matrices[7]).double(), cloud.roll(2, 1))
    assert torch.equal(orbit[:, 2 * 24 + 7], expected)


def cloud(*shape):
    return torch.randn(3, *shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(
    ("product", "x"),
    [
        (Grid(Permutations.all(3), Orthogonal.turns(4, axis=2)), cloud(3, 3)),
        (Grid(Orthogonal(), Permutations.cyclic(4)), cloud(4, 3)),
        (
            Grid(Permutations.cyclic(2), Permutations.cyclic(3, axis=2), Orthogonal.turns(3, axis=3)),
            cloud(2, 3, 3),
        ),
        (Grid(QuarterTurns(), Permutations.cyclic(3)), cloud(3, 4, 4)),
        (Grid(Permutations.cyclic(3), PeriodicTranslation(2, 2)), cloud(3, 4, 4)),
    ],
)
def test_products_of_groups_on_different_axes_have_the_table_of_what_their_elements_do(product, x):
    table, orbit = product.table(), product.orbit(x)
    assert table is not None
    Group.of(product)  # refuses what is none
    for k in range(len(product)):
        torch.testing.assert_close(product.orbit(orbit[:, k]), orbit[:, table[:, k]])


@pytest.mark.parametrize(
    "product",
    [
        Grid(Permutations.cyclic(6), Orthogonal()),  # in data of shape (n, 6) they move one axis
        Grid(PeriodicTranslation(2, 2), QuarterTurns()),  # they do not commute
        Grid(Permutations.cyclic(3), RandomOrthogonal(2)),
        Grid(Permutations([[1, 0, 2]]), Orthogonal(axis=2)),
        Grid(Permutations.cyclic(4, axis=2), QuarterTurns()),
        Compose([Permutations.cyclic(2), PeriodicTranslation(1, 2)]),
    ],
)
def test_products_that_may_be_no_direct_ones_have_no_table(product):
    assert product.table() is None


def test_the_kernel_of_an_action_is_what_it_does_not_tell_from_nothing():
    both = Grid(Permutations.cyclic(3), PeriodicTranslation(1, 2))
    group = Group.of(both)
    halves = np.array([[[(-1.0) ** (k % 2)]] for k in range(6)])  # blind to the order
    assert group.kernel(halves) == (0, 2, 4)
    assert group.cosets(group.kernel(halves)) == ((0, 2, 4), (1, 3, 5))
    assert group.kernel(group.regular()) == (group.identity,)
    assert group.kernel(np.ones((6, 1, 1))) == tuple(range(6))
    with pytest.raises(ValueError, match="is not the identity matrix"):
        group.kernel(-halves)
    flipped = halves.copy()
    flipped[2] *= -1
    with pytest.raises(ValueError, match=r"the product of the matrices of .* is not the matrix of"):
        group.kernel(flipped)
    with pytest.raises(ValueError, match=r"6 square matrices.*got shape \(3, 1, 1\)"):
        group.kernel(halves[:3])


@pytest.mark.parametrize("given", ["quarter_turns", [lambda x: x], np.eye(2)])
def test_what_is_not_a_transform_is_not_a_group(given):
    with pytest.raises(TypeError, match=f"got {type(given).__name__}.*Group\\(table\\)"):
        Group.of(given)


def test_the_cube_has_24_rotations_that_are_a_group_of_order_24():
    table = Orthogonal().table()
    assert table is not None
    assert sorted(np.unique(table).tolist()) == list(range(24))
    assert Orthogonal().identity == 0
    assert all(Orthogonal().exact)


def test_periodic_shifts_move_maps_by_the_same_share_and_refuse_the_indivisible():
    shifts = PeriodicTranslation(2, 4)
    maps = torch.arange(16.0).view(1, 1, 1, 2, 8).expand(1, 8, 1, 2, 8)
    assert torch.equal(shifts.act(maps, input_size=(8, 32))[0, 5, 0], maps[0, 0, 0].roll((1, 2), (0, 1)))
    with pytest.raises(ValueError, match="a width of 7 px cannot be divided into 4 equal parts"):
        shifts.act(torch.zeros(1, 8, 1, 2, 7), input_size=(8, 28))
    with pytest.raises(ValueError, match="a height of 5 px cannot be divided into 2 equal parts"):
        shifts.orbit(torch.zeros(1, 1, 5, 4))


def test_a_gradient_is_a_vector_field():
    """The gradient of a turned image is the turned gradient."""
    image = torch.randn(2, 1, 8, 8, generator=torch.Generator().manual_seed(0))

    def gradient(x):
        right, down = x.roll(-1, -1) - x.roll(1, -1), x.roll(-1, -2) - x.roll(1, -2)
        return torch.stack([right, down], dim=-3).squeeze(-4)

    turns = QuarterTurns()
    torch.testing.assert_close(
        gradient(turns.orbit(image)), VectorField(turns).orbit(gradient(image[:, None])[:, 0])
    )


def test_chains_multiply_their_linear_parts_in_order():
    lone, cube = RandomOrthogonal(24), Orthogonal()
    chain = Compose([lone, cube])
    found = linear_parts(chain, np.arange(3), 1)
    first = linear_parts(lone, np.arange(3), 1)
    assert found is not None
    assert first is not None
    np.testing.assert_allclose(found, np.array(cube.matrices) @ first)
    np.testing.assert_allclose(linear_parts(chain.inverse(), np.arange(3), 1), found.swapaxes(2, 3))
    assert linear_parts(Compose([Permutations.cyclic(2), Orthogonal.turns(2)]), np.arange(3), 0) is None


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (
            lambda: Orthogonal([[[1, 1], [0, 1]]]),
            r"matrices\[0\] is not orthogonal.*no uniform distribution.*list their elements",
        ),
        (lambda: Orthogonal([[1, 0], [0, 1]]), r"\(element, d, d\); got \(2, 2\)"),
        (lambda: Orthogonal(names=["a"]), "names must have one entry per element: expected 24, got 1"),
        (lambda: RandomOrthogonal(dimension=1), "dimension must be an integer, at least 2; got 1"),
        (lambda: RandomOrthogonal(0), "draws must be an integer"),
        (lambda: Permutations([[0, 0]]), r"places\[0\] must hold each of 0 to 1 once; got 0 0"),
        (lambda: Permutations([]), "places is empty"),
        (lambda: Permutations.all(7), r"size must be at most 6.*RandomPermutations\(\)"),
        (lambda: Permutations.cyclic(6, step=4), "step must divide size"),
    ],
)
def test_what_is_not_a_group_element_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize(
    ("transform", "x", "said"),
    [
        (Permutations.cyclic(4), torch.zeros(2, 5, 3), r"acts on 4 entries along axis 1; got.*\(n, 5, 3\)"),
        (RandomPermutations(4, axis=3), torch.zeros(2, 4), "along axis 3"),
        (RandomOrthogonal(), torch.zeros(2, 5, 4), r"a multiple of 3 entries along axis -1.*\(n, 5, 4\)"),
        (Orthogonal(axis=0), torch.zeros(3, 3), "along axis 0"),
        (Orthogonal(), torch.zeros(2, 3, dtype=torch.int64), "floating-point"),
        (VectorField(QuarterTurns()), torch.zeros(2, 3, 4, 4), "got 3 channels"),
    ],
)
def test_elements_that_do_not_match_the_datas_dimension_are_refused(transform, x, said):
    with pytest.raises(TypeError, match=said):
        transform.orbit(x)


def test_a_transform_that_turns_no_plane_makes_no_vector_field():
    with pytest.raises(TypeError, match="map of the image plane; Permutations is not one"):
        VectorField(Permutations.cyclic(3))


def test_the_number_of_entries_may_still_come_first():
    expected = RandomPermutations(4, size=6)
    assert expected == RandomPermutations(draws=4, size=6)
    with pytest.warns(DeprecationWarning, match=r"RandomPermutations\(4, size=6\)"):
        assert RandomPermutations(6, 4) == expected
    with pytest.warns(DeprecationWarning, match="deprecated"):
        assert RandomPermutations(6, draws=4) == expected
    assert (RandomPermutations().draws, RandomPermutations(3).size) == (8, None)
    with pytest.raises(TypeError, match="takes one count"):
        RandomPermutations(1, 2, 3)
