"""Equivariance under actions that mix channels, on networks with known answers; and invalid actions."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_every_measure import final_values
from torch import nn

import invariscope as iv
from invariscope.actions.fitted_action import FittedAction
from invariscope.measures.base import as_measures
from invariscope.zoo import build, load

GENERATOR = torch.Generator().manual_seed(0)
IMAGES = torch.randn(24, 1, 12, 12, generator=GENERATOR)
CLOUDS = torch.randn(24, 6, 3, generator=GENERATOR)


def to_null(model, data, transform, action, *, layers=None, **options):
    """Distance from equivariance by layer, relative to the distance from another sample's response."""
    measure = iv.EquivarianceDeviation(feature_action=action, distance="l2", **options)
    how = {"measures": [measure], "layers": layers, "progress": False, "rows": "all"}
    result = iv.measure(model, data, transform, **how)
    rows = result.table[result.table.measure == f"{measure.label}.to_null"]
    return dict(zip(rows.layer, rows.value, strict=True))


class Lifted(nn.Module):
    """Channel h is t_h φ(t_h⁻¹ x) with φ an arbitrary convolution: the regular representation."""

    def __init__(self, transform):
        super().__init__()
        torch.manual_seed(1)
        self.transform, self.features = transform, nn.Conv2d(1, 2, 3, padding=1, padding_mode="circular")
        self.out = nn.Identity()

    def forward(self, x):
        undone = self.transform.inverse().orbit(x)
        features = self.features(undone.flatten(0, 1)).unflatten(0, undone.shape[:2])
        moved = self.transform.act(features, input_size=(12, 12))
        return self.out(moved.movedim(1, 2).flatten(1, 2))


@pytest.mark.parametrize(
    "transform",
    [
        iv.QuarterTurns(),
        iv.Dihedral(),
        iv.Grid(iv.Flip(), iv.QuarterTurns()),
        iv.PeriodicTranslation(2, 3),
        iv.Flip("both"),
    ],
)
def test_features_lifted_to_any_group_are_equivariant_under_its_regular_representation(transform):
    model = Lifted(transform).double()
    assert to_null(model, IMAGES.double(), transform, "regular", layers="out")["out"] < 1e-12
    kinds = {"kind": "channelwise", "reference": "twirl"}
    assert to_null(model, IMAGES.double(), transform, "regular", layers="out", **kinds)["out"] < 1e-12


def test_a_group_convolution_is_equivariant_under_its_own_representation_only():
    model, images = build("c4_conv"), torch.randn(16, 1, 28, 28, generator=GENERATOR)
    maps = ["conv*", "relu*", "pool1"]
    regular = to_null(model, images, iv.QuarterTurns(), "regular", layers=maps)
    spatial = to_null(model, images, iv.QuarterTurns(), "spatial", layers=maps)
    assert set(regular) == set(spatial) == {"conv1", "relu1", "pool1", "conv2", "relu2", "conv3", "relu3"}
    assert max(regular.values()) < 1e-6
    assert min(spatial.values()) > 0.3
    # If only the largest response is kept, noise differs little, and rounding would dominate.
    digits = load("mnist_subset", samples=64).images
    assert to_null(model, digits, iv.QuarterTurns(), "trivial", layers="pool")["pool"] < 1e-6


def test_a_group_convolution_over_the_square_is_equivariant_to_turns_and_mirror_images():
    square, images = iv.Grid(iv.Flip(), iv.QuarterTurns()), torch.randn(16, 1, 28, 28, generator=GENERATOR)
    maps = ["conv*", "relu*", "pool1"]
    assert max(to_null(build("d4_conv"), images, square, "regular", layers=maps).values()) < 1e-6
    digits = load("mnist_subset", samples=64).images
    for name, most in (("d4_conv", 1e-6), ("c4_conv", 1.0)):
        moved = to_null(build(name), digits, square, "trivial", layers="pool")["pool"]
        assert moved < most
        assert name == "d4_conv" or moved > 0.01


def test_a_hybrid_is_equivariant_up_to_its_first_ordinary_convolution():
    torch.manual_seed(0)
    model, images = build("c4_conv", equivariant=2), torch.randn(16, 1, 28, 28, generator=GENERATOR)
    regular = to_null(model, images, iv.QuarterTurns(), "regular", layers="relu*")
    assert max(regular["relu1"], regular["relu2"]) < 1e-6
    assert regular["relu3"] > 0.3
    assert isinstance(model.conv3, nn.Conv2d)
    assert model.conv3(torch.ones(1, 32, 4, 4)).shape == (1, 128, 4, 4)


@pytest.mark.parametrize("equivariant", [-1, 4, 1.5, True])
def test_a_network_has_no_other_number_of_group_convolutions(equivariant):
    with pytest.raises(ValueError, match="from 0 to 3; got"):
        build("c4_conv", equivariant=equivariant)


def test_a_representation_of_the_group_that_is_not_the_layers_own_is_found_out():
    transform = iv.QuarterTurns()
    regular = iv.Group.of(transform).regular()
    backwards = iv.FibreAction(regular[[0, 3, 2, 1]])
    still = iv.FibreAction(np.eye(4)[None].repeat(4, 0))
    model = Lifted(transform)
    assert to_null(model, IMAGES, transform, iv.FibreAction(regular), layers="out")["out"] < 1e-6
    assert to_null(model, IMAGES, transform, backwards, layers="out")["out"] > 0.3
    assert to_null(model, IMAGES, transform, still, layers="out")["out"] > 0.3


def test_matrices_that_do_not_multiply_as_the_group_does_are_refused_with_the_pair():
    matrices = iv.Group.of(iv.QuarterTurns()).regular()
    matrices[3] = matrices[1]
    with pytest.raises(
        ValueError, match="the product of the matrices of '90°' and '180°' is not the matrix of '270°'"
    ):
        to_null(Lifted(iv.QuarterTurns()), IMAGES, iv.QuarterTurns(), iv.FibreAction(matrices))


def test_gradients_of_images_are_fields_of_vectors():
    class Gradient(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Identity()

        def forward(self, x):
            gaps = [x.roll(-1, axis) - x.roll(1, axis) for axis in (-1, -2)]
            return self.out(torch.cat(gaps, 1))

    for transform in (iv.QuarterTurns(), iv.Dihedral()):
        assert to_null(Gradient(), IMAGES, transform, "vector")["out"] < 1e-6
        assert to_null(Gradient(), IMAGES, transform, "spatial")["out"] > 0.5


class Points(nn.Module):
    """Features per point, their mean, and features that depend on a point's position in the list."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.each, self.pooled, self.ordered = nn.Linear(3, 5), nn.Identity(), nn.Identity()
        self.places = nn.Parameter(torch.randn(6, 5))

    def forward(self, x):
        each = torch.relu(self.each(x))
        return self.pooled(each.mean(1)), self.ordered(each + self.places)


def test_a_function_of_each_point_follows_any_order_and_their_mean_none():
    orders = iv.RandomPermutations(4, size=6)
    moved = to_null(Points(), CLOUDS, orders, "spatial")
    assert moved["each"] == 0
    assert moved["ordered"] > 0.3
    assert "pooled" not in moved
    assert to_null(Points(), CLOUDS, orders, "trivial")["pooled"] < 1e-6


class Mixed(nn.Module):
    """Mixtures of points: vectors that rotate with the points, and their lengths, which are invariant."""

    def __init__(self):
        super().__init__()
        self.vectors, self.lengths = nn.Identity(), nn.Identity()
        self.weights = nn.Parameter(torch.randn(4, 6, generator=torch.Generator().manual_seed(0)))

    def forward(self, x):
        vectors = self.vectors(torch.einsum("kp,npc->nkc", self.weights, x))
        return self.lengths(vectors.norm(dim=2))


@pytest.mark.parametrize("mirrored", [False, True])
def test_vectors_turn_with_drawn_rotations_and_lengths_do_not(mirrored):
    turns = iv.RandomOrthogonal(3, mirrored=mirrored)
    for action in (iv.MatrixAction("vector"), "spatial"):
        assert to_null(Mixed(), CLOUDS, turns, action, layers="vectors")["vectors"] < 1e-6
    undone = to_null(Mixed(), CLOUDS, turns, iv.MatrixAction("vector"), layers="vectors", reference="twirl")
    assert undone["vectors"] < 1e-6
    found = to_null(Mixed(), CLOUDS, turns, "trivial")
    assert found["lengths"] < 1e-6
    assert found["vectors"] > 0.5


def e3nn_of(name):
    """A module of e3nn; warnings on its import are irrelevant here."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip(f"e3nn.{name}")


def tensor_network(o3):
    """Products and mixtures of each point's directions: exactly equivariant to O(3)."""

    class Network(nn.Module):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.directions = o3.SphericalHarmonics("0e + 1o + 2e", normalize=False)
            self.product = o3.FullyConnectedTensorProduct("0e + 1o + 2e", "0e + 1o + 2e", "3x0e + 2x1o + 2e")
            self.mix = o3.Linear("3x0e + 2x1o + 2e", "2x0e + 1o + 2x2e")

        def forward(self, x):
            directions = self.directions(x)
            return self.mix(self.product(directions, directions))

    return Network()


@pytest.mark.parametrize("mirrored", [False, True])
def test_layers_of_e3nn_are_equivariant_under_their_irreps(mirrored):
    o3 = e3nn_of("o3")
    model, turns = tensor_network(o3), iv.RandomOrthogonal(4, mirrored=mirrored)
    torch.set_default_dtype(torch.float64)
    try:
        double = tensor_network(o3)  # e3nn's constants have the default type at the time of their creation
    finally:
        torch.set_default_dtype(torch.float32)
    for layer, irreps in (("product", "3x0e + 2x1o + 2e"), ("mix", "2x0e + 1o + 2x2e")):
        action = iv.MatrixAction(o3.Irreps(irreps))
        assert to_null(model, CLOUDS, turns, action, layers=layer)[layer] < 1e-6
        assert to_null(double, CLOUDS.double(), turns, action, layers=layer)[layer] < 1e-12
    # The same irreps in another order; and, if mirrors matter, an axial vector in place of a polar one.
    wrong = iv.MatrixAction(o3.Irreps("2x0e + 1e + 2x2e" if mirrored else "2x2e + 1o + 2x0e"))
    assert to_null(model, CLOUDS, turns, wrong, layers="mix")["mix"] > (0.1 if mirrored else 0.7)


def test_scalars_of_e3nn_have_the_whole_group_as_their_kernel():
    """Then f̂ is the mean over the orbit, as under the trivial action."""
    o3 = e3nn_of("o3")
    model, turns = Mixed(), iv.RandomOrthogonal(4)
    scalars = to_null(model, CLOUDS, turns, iv.MatrixAction(o3.Irreps("3x0e")), layers="vectors")
    assert scalars == pytest.approx(to_null(model, CLOUDS, turns, "trivial", layers="vectors"))


def steerable():
    """C4 acting on the plane, and the layers, of escnn or its predecessor e2cnn, if installed."""
    try:
        from escnn import gspaces, nn

        return gspaces.rot2dOnR2(4), nn
    except ImportError:
        gspaces, nn = pytest.importorskip("e2cnn.gspaces"), pytest.importorskip("e2cnn.nn")
        return gspaces.Rot2dOnR2(4), nn


@pytest.mark.filterwarnings("ignore")
def test_a_steerable_convolution_is_equivariant_under_the_representation_of_its_field_type():
    space, library = steerable()
    kinds = [space.regular_repr, space.irrep(1), space.trivial_repr]
    images, field = library.FieldType(space, [kinds[2]]), library.FieldType(space, kinds)
    torch.manual_seed(0)
    layer = library.R2Conv(images, field, kernel_size=5, padding=2).eval()

    def model(x):
        with torch.no_grad():
            return {"conv": layer(library.GeometricTensor(x, images)).tensor}

    action = iv.FibreAction(field)
    assert action.representation.shape == (4, 7, 7)
    assert to_null(model, IMAGES, iv.QuarterTurns(), action)["conv"] < 1e-5
    assert to_null(model, IMAGES, iv.QuarterTurns(), "spatial")["conv"] > 0.1


class Steered(nn.Module):
    """Two convolutions between regular fields; layers pass objects that hold a tensor and its type."""

    def __init__(self, space, library):
        super().__init__()
        self.images = library.FieldType(space, [space.trivial_repr])
        self.fields = library.FieldType(space, 2 * [space.regular_repr])
        torch.manual_seed(0)
        self.conv1 = library.R2Conv(self.images, self.fields, kernel_size=5, padding=2)
        self.relu1 = library.ReLU(self.fields)
        self.conv2 = library.R2Conv(self.fields, self.fields, kernel_size=5, padding=2)
        self.relu2, self.pool = library.ReLU(self.fields), library.GroupPooling(self.fields)
        self.wrapped = library.GeometricTensor

    def forward(self, x):
        x = self.relu1(self.conv1(self.wrapped(x, self.images)))
        return self.pool(self.relu2(self.conv2(x))).tensor


@pytest.mark.filterwarnings("ignore")
def test_every_layer_of_a_steerable_network_is_read_and_follows_its_field_type():
    model = Steered(*steerable()).eval()
    maps = ["conv*", "relu*"]
    own = to_null(model, IMAGES, iv.QuarterTurns(), iv.FibreAction(model.fields), layers=maps)
    spatial = to_null(model, IMAGES, iv.QuarterTurns(), "spatial", layers=[*maps, "pool"])
    assert set(own) >= {"conv1", "relu1", "conv2", "relu2"}
    assert max(own.values()) < 1e-6
    assert spatial.pop("pool") < 1e-6
    assert min(spatial.values()) > 0.1


class Angles:
    """A field type of planar rotations as libraries define it, without a list of its elements."""

    def representation(self, angle):
        cos, sin = np.cos(np.deg2rad(angle)), np.sin(np.deg2rad(angle))
        return np.array([[cos, sin], [-sin, cos]])


def test_any_object_with_a_representation_will_do_where_its_elements_are_listed():
    own = iv.FibreAction(Angles(), elements=[0, 90, 180, 270])
    np.testing.assert_allclose(own.representation.array[1], [[0, 1], [-1, 0]], atol=1e-15)
    assert own == iv.FibreAction(Angles(), elements=[0, 90, 180, 270])
    assert own != iv.FibreAction(Angles(), elements=[0, 270, 180, 90])
    with pytest.raises(TypeError, match="does not list the elements"):
        iv.FibreAction(Angles())


class Slipped:
    """Transposes, whose products have the reverse order."""

    def D_from_matrix(self, rotations):
        return rotations.transpose(1, 2)


@pytest.mark.parametrize(
    ("action", "transform", "said"),
    [
        (iv.MatrixAction(Slipped()), iv.RandomOrthogonal(3), "Slipped is not a representation"),
        (iv.MatrixAction(Slipped()), iv.RandomOrthogonal(3, dimension=2), "a multiple of 2 entries"),
        (iv.MatrixAction("regular"), iv.RandomOrthogonal(3), "needs a finite group"),
        (iv.MatrixAction("vector"), iv.RandomPermutations(6), "does not define how its elements act"),
        (iv.MatrixAction(np.ones((2, 1, 1))), iv.RandomOrthogonal(3), "got 2 for a transform of 3 elements"),
        (iv.MatrixAction(np.eye(4)[None].repeat(3, 0)), iv.RandomOrthogonal(3), "not a multiple of"),
        (iv.FibreAction("vector"), iv.RandomOrthogonal(3), r"flat layers \(C,\); .* shape \(4, 3\)"),
    ],
)
def test_actions_that_cannot_be_are_refused_when_measured(action, transform, said):
    with pytest.raises((ValueError, TypeError), match=said):
        to_null(Mixed(), CLOUDS, transform, action, layers="vectors")


@pytest.mark.parametrize("forgetful", [np.zeros((4, 2, 2)), np.diag([1.0, 0.0])[None].repeat(4, 0)])
def test_matrices_that_forget_a_direction_are_not_a_representation_though_they_multiply_well(forgetful):
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 2, 3)
    with pytest.raises(ValueError, match=r"identity element '0°' is not the identity matrix \(off by 1\)"):
        to_null(nn.Sequential(layer), IMAGES, iv.QuarterTurns(), iv.FibreAction(forgetful))


@pytest.mark.parametrize(
    ("make", "error", "said"),
    [
        (lambda: iv.FibreAction(None), TypeError, "got NoneType"),
        (lambda: iv.MatrixAction(3), TypeError, "got int"),
        (lambda: iv.EquivarianceDeviation(feature_action="regulr"), ValueError, "Closest: 'regular'"),
        (lambda: iv.EquivarianceDeviation(feature_action=3), TypeError, "got int"),
        (
            lambda: iv.EquivarianceDeviation(kind="output", feature_action="spatial"),
            ValueError,
            "kind='latent'",
        ),
        (
            lambda: iv.EquivarianceDeviation(feature_action="trivial", reference="twirl"),
            ValueError,
            "the same",
        ),
        (lambda: iv.FibreAction("vektor"), ValueError, "Closest: 'vector'"),
        (lambda: iv.FibreAction(np.ones((4, 2, 3))), ValueError, r"got shape \(4, 2, 3\)"),
        (lambda: iv.FibreAction(np.full((4, 1, 1), np.nan)), ValueError, "must be finite"),
        (lambda: iv.FibreAction(object()), TypeError, "got object"),
        (lambda: iv.Group.of(iv.Rotation.range(0, 90, 3)), ValueError, "do not form a finite group"),
        (lambda: iv.Group(np.zeros((2, 2), int)), ValueError, "once in every row"),
        (
            lambda: iv.Group(np.array([[1, 0, 2], [0, 2, 1], [2, 1, 0]])),
            ValueError,
            "the table has no identity element",
        ),
        (lambda: iv.Group(np.zeros((2, 3))), ValueError, r"shape \(2, 3\)"),
        (lambda: iv.Group.of(iv.Dihedral()).cosets([0, 1]), ValueError, r"\[0, 1\] is not a subgroup"),
    ],
)
def test_what_is_not_an_action_or_a_group_is_refused_at_once(make, error, said):
    with pytest.raises(error, match=said):
        make()


def test_a_loop_that_is_not_associative_is_not_a_group():
    """The smallest example: five elements, each its own inverse."""
    table = [[0, 1, 2, 3, 4], [1, 0, 3, 4, 2], [2, 4, 0, 1, 3], [3, 2, 4, 0, 1], [4, 3, 1, 2, 0]]
    with pytest.raises(ValueError, match=r"products \(1·1\)·2 and 1·\(1·2\) differ"):
        iv.Group(np.array(table))


@pytest.mark.parametrize("transform", [iv.Dihedral(), iv.Orthogonal(), iv.Permutations.all(4)])
def test_inverses_cosets_and_the_regular_representation_of_groups(transform):
    group = iv.Group.of(transform)
    size = len(group)
    assert (group.table[np.arange(size), group.inverses] == group.identity).all()
    group.refuse_no_representation(group.regular())
    assert [np.trace(matrix) for matrix in group.regular()].count(0) == size - 1
    power, members = 1, [group.identity]
    while group.table[members[-1], power] != group.identity:
        members.append(int(group.table[members[-1], power]))
    cosets = group.cosets(members)
    assert sorted(sum(cosets, ())) == list(range(size))
    assert {len(coset) for coset in cosets} == {len(members)}


SIGNS = iv.MatrixAction([[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]])


@given(
    seed=st.integers(0, 2**32 - 1),
    samples=st.integers(1, 6),
    size=st.integers(1, 4),
    action=st.sampled_from(["regular", "vector", "spatial", SIGNS, iv.MatrixAction("regular", axis=0)]),
    kind=st.sampled_from(["latent", "channelwise"]),
    reference=st.sampled_from(["kernel", "twirl"]),
    distance=st.sampled_from(["cosine", "l2", "squared_l2"]),
)
def test_random_responses_equal_the_brute_force(seed, samples, size, action, kind, reference, distance):
    options = {"kind": kind, "reference": reference, "distance": distance, "feature_action": action}
    measure = iv.EquivarianceDeviation(**options)
    activations = np.random.default_rng(seed).normal(size=(samples, 4, 4, size, size))
    found = final_values(measure, activations)
    for output, answer in measure.oracle(activations, None).items():
        np.testing.assert_allclose(found[output].values[0], answer, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("action", ["regular", "vector", "spatial"])
def test_real_activations_equal_the_brute_force(action):
    model, digits = build("simple_conv", filters=4, fc=8).eval(), load("mnist_subset", samples=16).images

    def read(x):
        with torch.no_grad():
            return {"pool2": model[:10](x)}

    measure = iv.EquivarianceDeviation(kind="channelwise", feature_action=action)
    result = iv.measure(read, digits, iv.QuarterTurns(), measures=[measure], progress=False)
    orbit = iv.QuarterTurns().orbit(digits)
    activations = read(orbit.flatten(0, 1))["pool2"].unflatten(0, orbit.shape[:2]).double().numpy()
    (row,) = result.table[result.table.measure == measure.label].itertuples()
    assert row.value == pytest.approx(float(measure.oracle(activations, None)[""]), rel=1e-6)


def test_a_result_with_an_action_of_its_own_is_saved_and_says_which(tmp_path):
    measure = iv.EquivarianceDeviation(feature_action=SIGNS)
    result = iv.measure(Mixed(), IMAGES[:, 0, :6, :3], turns_of_points(), measures=[measure], progress=False)
    result.save(tmp_path / "run")
    options = iv.load(tmp_path / "run").provenance["measures"][measure.label]["options"]
    assert options["feature_action"].startswith("MatrixAction(representation=MatrixStack(shape=(4, 1, 1)")


def turns_of_points():
    return iv.Orthogonal.turns(4)


ALTERNATING, ALIKE = [[[1.0]], [[-1.0]], [[1.0]], [[-1.0]]], [[[1.0]]] * 4


def test_actions_that_are_called_alike_are_refused_with_the_label_that_tells_them_apart():
    wanted = [iv.EquivarianceDeviation(feature_action=iv.FibreAction(m)) for m in (ALTERNATING, ALIKE)]
    with pytest.raises(ValueError, match=r"requested 2 times.*FibreAction\(\.\.\., label='first'\)"):
        as_measures(wanted)
    with pytest.raises(ValueError, match=r"requested 2 times, and .*; leave one of them out$"):
        as_measures([wanted[0], wanted[0]])


@pytest.mark.parametrize(
    ("measure", "row"),
    [
        (lambda action: iv.EquivarianceDeviation(feature_action=action, distance="l2"), "latent_l2_"),
        (lambda action: iv.EquivarianceError(feature_action=action), ""),
    ],
)
@pytest.mark.parametrize("kind", [iv.MatrixAction, iv.FibreAction])
def test_actions_of_one_kind_stand_beside_each_other_under_their_labels(kind, measure, row):
    # The alternating sum of a turning corner's pixels changes sign with every quarter turn.
    x = torch.zeros(10, 1, 2, 2)
    x[:, 0, 0, 0] = torch.arange(1.0, 11.0)

    def signs(x):
        corners = torch.stack([x[:, 0, 0, 0], x[:, 0, 1, 0], x[:, 0, 1, 1], x[:, 0, 0, 1]], 1)
        return {"flat": corners @ torch.tensor([1.0, -1.0, 1.0, -1.0])[:, None]}

    wanted = [measure(kind(ALTERNATING, label="odd")), measure(kind(ALIKE, label="even"))]
    result = iv.measure(signs, x, iv.QuarterTurns(), measures=wanted, progress=False)
    rows = result.table.set_index("measure").value
    names = [m.label for m in wanted]
    assert [name.split(".")[1] for name in names] == [f"{row}odd", f"{row}even"]
    assert rows[names[0]] < 1e-12 < 0.1 < rows[names[1]]


def test_a_label_that_could_not_be_part_of_a_rows_name_is_refused():
    for make in (
        lambda label: iv.FibreAction("regular", label=label),
        lambda label: FittedAction(label=label),
    ):
        for label in ("two words", "dotted.name", "1st", 7):
            with pytest.raises(ValueError, match="label must consist of"):
                make(label)


def test_named_representations_name_their_rows():
    assert iv.EquivarianceDeviation(feature_action="regular").label == "equivariance_deviation.latent_regular"
    assert iv.EquivarianceDeviation(feature_action="vector").label == "equivariance_deviation.latent_vector"
