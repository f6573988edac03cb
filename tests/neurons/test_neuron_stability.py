"""Neurons under local deformations: closed forms, brute force on whole images, and refusals."""

import logging
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.anatomy.partial_forward import up_to
from invariscope.anatomy.receptive_field import ReceptiveField
from invariscope.common.draws import Draws, Stream
from invariscope.data.order import pair_numbers
from invariscope.data.sources import as_source
from invariscope.intervals import GROUPS, jackknife
from invariscope.studies.neurons.crops import Field, Patches, centre_responses, cut, cut_moved, field_of
from invariscope.studies.neurons.deformations import KINDS, NORMS, Deformations
from invariscope.studies.neurons.responses import NeuronResponses

IMAGES = torch.rand(80, 3, 24, 28, generator=torch.Generator().manual_seed(0))


def small_net():
    """A field of 10 × 10, 2 px apart, that begins off the grid of its strides."""
    torch.manual_seed(0)
    stem = [nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    return nn.Sequential(*stem, nn.Conv2d(6, 5, 4, padding=1), nn.Tanh(), nn.Flatten(), nn.Linear(715, 4))


def one_filter(kernel):
    """A linear neuron with that kernel, for images of one channel."""
    torch.manual_seed(0)
    layer = nn.Conv2d(1, 1, kernel.shape, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.as_tensor(kernel)[None, None])
    return nn.Sequential(layer, nn.Identity()).double()


def ramps(count, size=21):
    """Images of constant slopes, and what is random of them: slopes along x and y, and offsets."""
    rng = np.random.default_rng(1)
    slope, offset = rng.normal(size=(count, 2)), 5 * rng.normal(size=count)
    y, x = np.mgrid[:size, :size] - (size - 1) / 2
    images = slope[:, :1, None] * x + slope[:, 1:, None] * y + offset[:, None, None]
    return torch.from_numpy(images[:, None]), slope


def alphas(*args, **options):
    result = iv.neuron_stability(*args, **options)
    return {name.partition(".")[2]: array for (name, *_), array in result.maps.items()}


def test_the_mean_of_a_ramp_moves_with_translations_alone():
    images, slope = ramps(400)
    found = alphas(one_filter(np.full((7, 7), 1 / 49)), "1", images, draws=16, amplitude=0.5)
    for kind in ("rotation", "compression", "shear"):
        np.testing.assert_allclose(found[kind], 0, atol=1e-20)
    # A shift by 0.5 px in a random direction changes the mean by slope · shift; 2 Var over patches below.
    expected = 0.5**2 * np.square(slope).sum(axis=1).mean() / 2
    spread = 2 * np.var(means_of_random_patches(images, (7, 7), reach=1), ddof=1)
    assert found["translation"][0] == pytest.approx(expected / spread, rel=0.05)


def means_of_random_patches(images, size, reach):
    """The responses of a mean filter to the patches that the default seed chooses."""
    keys = as_source(images).order.keys
    chance = Draws(0, keys, 2, Stream.NEURON_PLACE).uniform()
    free = np.array(images.shape[-2:]) - np.array(size) + 1 - 2 * reach
    corners = reach + np.floor(chance * free).astype(int)
    return [
        float(image[0, y : y + size[0], x : x + size[1]].mean())
        for image, (y, x) in zip(images, corners, strict=True)
    ]


def test_an_odd_filter_moves_with_what_changes_the_slope_along_it():
    images, _ = ramps(300)
    kernel = np.tile(np.arange(7) - 3.0, (7, 1))
    found = alphas(one_filter(kernel), "1", images, draws=24, amplitude=0.3)
    # It measures the slope along x: a shift leaves it, the other three change it equally on average.
    assert found["translation"][0] < 1e-20
    assert found["rotation"][0] == pytest.approx(found["compression"][0], rel=0.15)
    assert found["shear"][0] == pytest.approx(found["compression"][0], rel=0.15)
    # Compression by ±ε scales the slope by 1 ∓ ε: ε² ⟨slope²⟩ / 2 Var(slope), and rms 0.3 px is ε = 0.3/√8.
    slopes = ramps(300)[1][:, 0]
    expected = 0.3**2 / 8 * np.square(slopes).mean() / (2 * slopes.var(ddof=1))
    assert found["compression"][0] == pytest.approx(expected, rel=1e-6)


def test_the_frobenius_norm_sets_the_matrix_whatever_the_window():
    images, _ = ramps(200)
    options = {"norm": "frobenius", "amplitude": 0.1, "deformations": ["compression"]}
    slopes = [one_filter(np.tile(np.arange(n) - (n - 1) / 2, (n, 1))) for n in (3, 9)]
    found = [alphas(model, "1", images, **options)["compression"][0] for model in slopes]
    slopes = ramps(200)[1][:, 0]
    expected = 0.1**2 / 2 * np.square(slopes).mean() / (2 * slopes.var(ddof=1))
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def brute_force(model, layer, images, kinds, seed):
    """Every patch deformed within its whole image, every image forwarded whole, every pair summed."""
    keys = as_source(images, seed=seed).order.keys
    field = field_of(model, layer, images.shape[1:], reach=Deformations(kinds).reach)
    rows, columns = field.interior
    chance = Draws(seed, keys, 2, Stream.NEURON_PLACE).uniform()
    first = np.array([rows.start, columns.start])
    places = first + np.floor(chance * [len(rows), len(columns)]).astype(int)
    matrices, shifts = Deformations(kinds, seed=seed).drawn(keys)
    height, width = images.shape[-2:]
    y, x = np.mgrid[:height, :width].astype(float)
    rest, moved = [], []
    with up_to(model, layer) as run, torch.no_grad():
        for i, (row, column) in enumerate(places):
            rest.append(run(images[i : i + 1])[0, :, row, column].numpy())
            own = []
            for k in range(len(kinds)):
                middle = [
                    c + n * j
                    for c, n, j in zip(
                        field.receptive.first_centre, (row, column), field.receptive.jump, strict=True
                    )
                ]
                offset = np.stack([x - middle[1], y - middle[0]])
                shifted = np.einsum("ab,bhw->ahw", matrices[i, k, 0], offset) + shifts[i, k, 0][:, None, None]
                half = [(size - 1) / 2 for size in field.receptive.size]
                inside = (np.abs(offset[0]) <= half[1]) & (np.abs(offset[1]) <= half[0])
                shifted /= np.sqrt(np.square(shifted[:, inside]).sum(axis=0).mean())
                at = np.stack(
                    [2 * (x - shifted[0]) / (width - 1) - 1, 2 * (y - shifted[1]) / (height - 1) - 1], -1
                )
                grid = torch.from_numpy(at).float()[None]
                warped = F.grid_sample(images[i : i + 1], grid, padding_mode="border", align_corners=True)
                own.append(run(warped)[0, :, row, column].numpy())
            moved.append(own)
    rest, moved = np.array(rest, float), np.array(moved, float)
    n = len(rest)
    above = np.square(moved - rest[:, None]).mean(axis=0)
    below = np.mean([np.square(rest[i] - rest[k]) for i in range(n) for k in range(n) if i != k], axis=0)
    return above / below


def test_crops_give_what_whole_images_give():
    model, kinds = small_net(), KINDS
    found = alphas(model, "5", IMAGES, seed=3, batch_size=33)
    expected = brute_force(model, "5", IMAGES, kinds, seed=3)
    for k, kind in enumerate(kinds):
        np.testing.assert_allclose(found[kind], expected[k], rtol=1e-4)
    assert found["shear"].shape == (5,)


def test_windows_keep_away_from_edges_where_the_image_has_room():
    field = ReceptiveField((7, 7), (1, 1), (3.0, 3.0), "analytic")
    assert Field(field, (21, 9), reach=2).interior == (range(2, 13), range(3))
    assert Field(field, (21, 9)).interior == (range(15), range(3))


def test_a_crop_is_answered_as_within_its_image():
    model = small_net()
    field = field_of(model, "5", (3, 24, 28), reach=Deformations().reach)
    assert field.margin == (1, 1)
    rows, columns = field.interior
    places = np.array([(r, c) for r in rows for c in columns])
    with up_to(model, "5") as run, torch.no_grad():
        whole = run(IMAGES[:1])[0][:, places[:, 0], places[:, 1]].T
        patches = Patches(np.zeros(len(places), int), field.corners(places))
        alone = centre_responses(run, cut(IMAGES, patches, field.crop), field)
        still = cut_moved(IMAGES, patches, torch.zeros(len(places), 2, *field.crop, dtype=torch.float64))
        moved = centre_responses(run, still, field)
    np.testing.assert_allclose(alone, whole, atol=1e-6)
    np.testing.assert_allclose(moved, whole, atol=1e-5)


@pytest.mark.parametrize("norm", NORMS)
def test_displacements_have_the_size_that_is_stated(norm):
    ensemble = Deformations(norm=norm, amplitude=0.7, draws=3)
    matrices, shifts = (part.reshape(-1, *part.shape[3:]) for part in ensemble.drawn(np.arange(5)))
    pivots = np.tile([4.5, 3.0], (len(matrices), 1))
    fields = ensemble.fields(matrices, shifts, pivots, (5, 8), (1, 2)).numpy()
    assert fields.shape == (60, 2, 6, 10)
    by_kind = fields.reshape(5, 4, 3, 2, 6, 10)
    rms = np.sqrt(np.square(by_kind[..., 1:, 2:]).sum(axis=3).mean(axis=(-2, -1)))
    found = iv.local_decomposition(fields, (6, 10))
    names = {
        "rotation": found.rotation_norm,
        "compression": found.compression_norm,
        "shear": found.shear_norm,
    }
    for name, size in names.items():
        own = size.reshape(5, 4, 3)
        kind = KINDS.index(name)
        np.testing.assert_allclose(np.delete(own, kind, axis=1), 0, atol=1e-12)
        if norm == "frobenius":
            np.testing.assert_allclose(own[:, kind], 0.7)
    if norm == "rms":
        np.testing.assert_allclose(rms, 0.7)
    np.testing.assert_allclose(rms[:, 0], 0.7)


def test_favourite_patches_are_those_of_the_largest_response():
    model = small_net()
    field = field_of(model, "5", (3, 24, 28), reach=Deformations().reach)
    rows, columns = field.interior
    with up_to(model, "5") as run, torch.no_grad():
        inside = run(IMAGES)[:, :, rows.start : rows.stop, columns.start : columns.stop]
    top = inside.flatten(2).max(dim=2).values.double().numpy()
    rest = alphas_and_rest(model, patches="maximal").rest
    np.testing.assert_allclose(rest, top, atol=1e-5)
    best = alphas_and_rest(model, patches="top_k", top_k=7)
    np.testing.assert_allclose(best.rest, -np.sort(-top, axis=0)[:7], atol=1e-5)


def alphas_and_rest(model, images=IMAGES, keys=None, groups=None, **options):
    from invariscope.studies.neurons.experiment import PatchExperiment
    from invariscope.studies.neurons.settings import NeuronSettings

    field = field_of(model, "5", (3, 24, 28), reach=Deformations().reach)
    keys = np.arange(80) if keys is None else keys
    groups = pair_numbers(80) % GROUPS if groups is None else groups
    experiment = PatchExperiment(field, images, keys, groups, np.arange(5), 5, NeuronSettings(**options))
    with up_to(model, "5") as run, torch.no_grad():
        return experiment.measured(run, "5")


def test_other_patches_are_compared_with_random_patches_of_other_images():
    found = alphas_and_rest(small_net(), patches="top_k", top_k=9, deformations=("shear",))
    for neuron in range(5):
        pairs = [
            (x - z) ** 2
            for x, own in zip(found.rest[:, neuron], found.image[:, neuron], strict=True)
            for image, z in enumerate(found.other[:, neuron])
            if image != own
        ]
        expected = found.moved[:, neuron, 0].mean() / np.mean(pairs)
        assert found.values(0, min_firing=0, replicates=False).values[0, neuron] == pytest.approx(expected)


def test_replicates_are_the_values_without_a_group_of_images():
    result = iv.neuron_stability(small_net(), "5", IMAGES, seed=1)
    (row,) = (row for row in result.rows if row["measure"] == "neuron_stability.rotation")
    assert row["group_sizes"] == [10] * 8
    assert row["ci_low"] <= row["ci_high"]
    (window,) = as_source(IMAGES, seed=1).windows()
    kept = np.flatnonzero(window.groups != 2)
    found = alphas_and_rest(small_net(), window.inputs, window.keys, window.groups, seed=1)
    x, moved = found.rest[kept], found.moved[kept][:, :, 1]
    alone = (moved.mean(axis=0) / (2 * x.var(axis=0, ddof=1))).mean()
    assert row["replicates"][2] == pytest.approx(alone)


def test_a_centroid_is_where_the_neuron_looks_and_a_rotation_about_it_moves_it_least():
    kernel = np.zeros((9, 9))
    kernel[6:9, 0:3] = 1 / 9
    images = torch.rand(200, 1, 30, 30, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    images = F.avg_pool2d(images, 5, 1, 2)
    options = {"norm": "frobenius", "amplitude": 0.4, "deformations": ["rotation", "compression"]}
    centre = alphas(one_filter(kernel), "1", images, **options)
    own = alphas(one_filter(kernel), "1", images, pivot="centroid", **options)
    assert own["rotation"][0] < 0.3 * centre["rotation"][0]
    assert own["compression"][0] < 0.3 * centre["compression"][0]


def test_dead_and_sparse_neurons_are_counted_and_left_out():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
    with torch.no_grad():
        model[0].bias.copy_(torch.tensor([-50.0, 1.0, 1.0, 0.0]))
        model[0].weight[3] = 0.0
        model[0].weight[3, 0, 1, 1] = 1.0
        model[0].bias[3] = -0.95
    result = iv.neuron_stability(model, "1", IMAGES, deformations=["translation"])
    (row,) = result.rows
    assert (row["units"], row["dead_units"], row["sparse_units"], row["counted_units"]) == (4, 1, 1, 2)
    found = result.maps["neuron_stability.translation", "1"]
    assert math.isnan(found[0])
    assert row["value"] == pytest.approx(found[1:3].mean(), rel=1e-6)


def test_chosen_neurons_have_the_values_that_all_have_together():
    whole = alphas(small_net(), "5", IMAGES)["shear"]
    some = alphas(small_net(), "5", IMAGES, neurons=[4, 1], patches="random")["shear"]
    np.testing.assert_array_equal(np.isfinite(some), [False, True, False, False, True])
    np.testing.assert_allclose(some[[1, 4]], whole[[1, 4]], rtol=1e-6)
    drawn = alphas(small_net(), "5", IMAGES, neurons=2)["shear"]
    assert np.isfinite(drawn).sum() == 2


@pytest.mark.parametrize(
    "options", [{}, {"patches": "maximal"}, {"patches": "top_k", "top_k": 5}, {"pivot": "centroid"}]
)
def test_the_cost_that_is_announced_is_what_is_forwarded(options, caplog):
    model, seen = small_net(), []
    model[0].register_forward_hook(lambda module, args, output: seen.append(tuple(args[0].shape)))
    (cost,) = iv.neurons.neuron_stability_cost(model, "5", IMAGES, draws=2, **options)
    field = field_of(model, "5", (3, 24, 28), reach=Deformations().reach)
    seen.clear()
    from invariscope.studies.neurons.experiment import PatchExperiment
    from invariscope.studies.neurons.settings import NeuronSettings

    settings = NeuronSettings(draws=2, **options)
    with up_to(model, "5") as run, torch.no_grad():
        PatchExperiment(
            field, IMAGES, np.arange(80), pair_numbers(80) % GROUPS, np.arange(5), 5, settings
        ).measured(run, "5")
    assert sum(n for n, _, *size in seen if tuple(size) == field.crop) == cost.crops
    assert sum(n for n, _, *size in seen if tuple(size) == (24, 28)) == cost.whole_images
    with caplog.at_level(logging.INFO, logger="invariscope"):
        iv.neuron_stability(model, "5", IMAGES, draws=2, **options)
    assert f"{cost.crops:,} patches of 11 × 11 pixels" in caplog.text


def test_several_layers_and_seeds_make_a_result_that_is_saved_compared_and_reported(tmp_path):
    data = zoo.load("mnist_subset")
    model = zoo.build("simple_conv", filters=4, fc=8)
    result, other = (
        iv.neuron_stability(model, ["relu1", "pool1", "relu4"], data, samples=96, label=name) for name in "ab"
    )
    assert list(result.table["layer"].unique()) == ["relu1", "pool1", "relu4"]
    assert result.table["measure"].tolist()[:3] == ["neuron_stability.translation"] * 3
    assert result.rows == other.rows
    loaded = iv.load(result.save(tmp_path / "run"))
    assert loaded.table.equals(result.table)
    assert (iv.compare([result, other])["difference"] == 0).all()
    assert "neuron stability" in result.report(tmp_path / "report.html").read_text().lower()


def test_few_images_have_values_without_intervals_and_a_note():
    result = iv.neuron_stability(small_net(), "5", IMAGES[:20], min_firing=0)
    assert result.table["ci_low"].isna().all()
    assert "of 8 images needed" in result.notes["note"][0]
    top = iv.neuron_stability(small_net(), "5", IMAGES, patches="top_k")
    assert "not a random sample" in top.notes["note"][0]


class Placewise(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.weight = nn.Parameter(torch.linspace(1, 2, 26))
        self.end = nn.Identity()

    def forward(self, x):
        maps = self.conv(x)
        return self.end(maps * self.weight[: maps.shape[3]])


@pytest.mark.parametrize(
    ("model", "layer", "options", "message"),
    [
        (small_net(), "7", {}, "no receptive field: its output of shape"),
        (nn.Sequential(nn.Conv2d(3, 4, 29, padding=14)), "0", {}, "has 29 × 29 pixels and does not fit"),
        (Placewise(), "end", {}, "fails on a larger one|responds differently to a patch alone"),
        (nn.Sequential(nn.Conv2d(3, 4, 3), nn.GroupNorm(2, 4)), "1", {}, "its units see the whole image"),
        (small_net(), "5", {"deformations": ["twist"]}, "unknown deformation 'twist'"),
        (small_net(), "5", {"deformations": []}, "must be distinct and among .*; got"),
        (small_net(), "5", {"patches": "best"}, "unknown patches 'best'"),
        (small_net(), "5", {"pivot": "center"}, "unknown pivot 'center'. Closest: 'centre'"),
        (small_net(), "5", {"norm": "max"}, "unknown norm 'max'"),
        (small_net(), "5", {"amplitude": 0}, "amplitude must be a positive number; got 0"),
        (small_net(), "5", {"draws": 0}, "draws must be an integer, at least 1; got 0"),
        (small_net(), "5", {"neurons": [7]}, "0 to 4; got"),
        (small_net(), "5", {"neurons": 9}, "neurons=9, but layer '5' has 5 feature maps"),
        (small_net(), "5", {"neurons": []}, "indices of feature maps"),
        (small_net(), [], {}, "no layer given"),
    ],
)
def test_what_cannot_be_measured_is_refused_with_the_reason(model, layer, options, message):
    with pytest.raises(ValueError, match=message):
        iv.neuron_stability(model, layer, IMAGES, **options)


def test_what_is_not_a_model_or_an_image_is_refused():
    with pytest.raises(TypeError, match="got function"):
        iv.neuron_stability(lambda x: x, "5", IMAGES)
    with pytest.raises(ValueError, match="one input has shape"):
        iv.neuron_stability(small_net(), "5", torch.rand(8, 30))
    with pytest.raises(TypeError, match=r"unknown option of neuron_stability 'draw'\. Closest: 'draws'"):
        iv.neurons.neuron_stability_cost(small_net(), "5", IMAGES, draw=3)


def test_responses_that_are_not_finite_are_refused():
    images = IMAGES.clone()
    images[7] = torch.nan
    with pytest.raises(ValueError, match="responses to patches are not finite; look for NaN"):
        iv.neuron_stability(small_net(), "5", images)


def simulated(rng, weights, offsets, samples):
    """Rectified neurons that see random features, and again with noise on the features."""
    features = rng.normal(size=(samples, len(weights)))
    moved = features + 0.3 * rng.normal(size=features.shape) * (0.5 + np.abs(features[:, :1]))
    rest, after = (np.maximum(part @ weights + offsets, 0) for part in (features, moved))
    image = np.repeat(np.arange(samples)[:, None], rest.shape[1], axis=1)
    group = pair_numbers(samples) % GROUPS
    return NeuronResponses(np.square(after - rest)[:, :, None], rest, image, rest, group, True)


@pytest.mark.slow
def test_intervals_cover_the_truth_as_often_as_they_say():
    rng = np.random.default_rng(0)
    weights, offsets = rng.normal(size=(8, 60)), rng.normal(size=60)
    truth = simulated(rng, weights, offsets, 200_000).values(0, min_firing=20, replicates=False)
    means, ratios = [], []
    for _ in range(2000):
        found = simulated(rng, weights, offsets, 96)
        values, sizes = found.values(0, min_firing=20, replicates=True), np.bincount(found.group)
        for hits, estimate, expected in (
            (means, values.layer_values(), truth.values[0][values.counted].mean()),
            (ratios, values.ratio, truth.ratio[0]),
        ):
            interval = jackknife(estimate[0], estimate[1:], sizes)
            hits.append(interval.low <= expected <= interval.high)
    assert 0.92 <= np.mean(means) <= 0.97
    assert 0.92 <= np.mean(ratios) <= 0.97
