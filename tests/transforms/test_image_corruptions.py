"""Corruptions of images: known answers, distributions, draws, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import invariscope as iv
from invariscope.transforms.machinery.corruptions.blur import disc, enlarged, moved_along
from invariscope.transforms.machinery.corruptions.kinds import KINDS
from invariscope.transforms.machinery.corruptions.noise import poisson
from invariscope.transforms.machinery.corruptions.weather import fractal

every_kind = pytest.mark.parametrize("kind", sorted(KINDS))


def flat(value: float = 0.5, size: int = 64) -> torch.Tensor:
    return torch.full((1, 3, size, size), value, dtype=torch.float64)


def smooth(n: int = 1, channels: int = 3, height: int = 48, width: int = 48) -> torch.Tensor:
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    phases = torch.arange(n * channels).view(n, channels, 1, 1)
    return 0.5 + 0.4 * torch.sin(0.3 * x + 0.2 * y + phases).double()


def worse(kind: str, x: torch.Tensor, severity: int = 3, **options) -> torch.Tensor:
    return iv.Corruption(kind, [severity], **options).orbit(x)[:, 0]


@every_kind
def test_every_kind_takes_grey_colour_and_small_oblong_images(kind):
    for shape in ((1, 9, 6), (3, 5, 12), (3, 40, 33), (1, 1, 1)):
        x = smooth(2, *shape)
        for benchmark in ("imagenet", "cifar10"):
            found = iv.Corruption(kind, benchmark=benchmark).orbit(x)
            assert found.shape == (2, 6, *shape)
            assert 0 <= found.min() <= found.max() <= 1
            assert torch.equal(found[:, 0], x)


@every_kind
def test_draws_follow_the_key_of_a_sample_and_never_its_place(kind):
    x = smooth(1).expand(3, -1, -1, -1)
    transform = iv.Corruption(kind, [1, 2])
    orbit = transform.orbit(x, keys=[7, 8, 7], seed=1)
    assert torch.equal(orbit[0], orbit[2])
    assert torch.equal(orbit[0], orbit[1]) != transform.per_sample
    alone = transform.orbit(x[:1], keys=[8], seed=1)
    assert torch.equal(alone[0], orbit[1])
    assert torch.equal(transform.orbit(x, keys=[7, 8, 7], seed=2)[0], orbit[0]) != transform.per_sample


UNORDERED = {"elastic_transform", "fog", "glass_blur", "motion_blur", "saturate", "snow"}


@pytest.mark.parametrize("kind", sorted(set(KINDS) - UNORDERED))
def test_a_higher_severity_moves_images_further(kind):
    """For the others, the distance also depends on the draw, or the published strengths do not order it."""
    x = smooth(2)
    orbit = iv.Corruption(kind).orbit(x)
    moved = (orbit - x[:, None]).square().flatten(2).mean(2).mean(0).tolist()
    assert moved[0] == 0
    assert moved[1] > 0
    assert moved == sorted(moved)


@pytest.mark.parametrize(("benchmark", "deviation"), [("imagenet", 0.12), ("cifar10", 0.06)])
def test_gaussian_noise_has_the_published_deviation(benchmark, deviation):
    added = worse("gaussian_noise", flat(size=128), 2, benchmark=benchmark) - 0.5
    assert float(added.std()) == pytest.approx(deviation, rel=0.02)
    assert float(added.mean()) == pytest.approx(0, abs=0.002)


def test_shot_noise_counts_photons():
    counts = 12 * worse("shot_noise", flat(0.25, 128), 3)
    torch.testing.assert_close(counts, counts.round(), atol=1e-9, rtol=0)
    assert float(counts.mean()) == pytest.approx(3, rel=0.02)
    assert float(counts.var()) == pytest.approx(3, rel=0.04)
    assert torch.equal(worse("shot_noise", flat(0.0)), flat(0.0))


def test_impulse_noise_is_black_and_white_on_the_published_share_of_values():
    found = worse("impulse_noise", flat(size=128), 5)
    assert float((found == 0).double().mean()) == pytest.approx(0.135, abs=0.006)
    assert float((found == 1).double().mean()) == pytest.approx(0.135, abs=0.006)
    assert set(found.unique().tolist()) == {0, 0.5, 1}


def test_speckle_noise_is_in_proportion_to_the_value():
    for value in (0.1, 0.4):
        added = worse("speckle_noise", flat(value, 128), 1) - value
        assert float(added.std()) == pytest.approx(0.15 * value, rel=0.02)


def test_contrast_is_about_the_mean_of_each_channel_by_hand():
    x = torch.tensor([[[[0.2, 0.6]], [[0.5, 0.5]], [[0.0, 1.0]]]], dtype=torch.float64)
    expected = torch.tensor([[[[0.38, 0.42]], [[0.5, 0.5]], [[0.45, 0.55]]]], dtype=torch.float64)
    torch.testing.assert_close(worse("contrast", x, 4), expected)


def test_brightness_and_saturation_of_a_pure_colour_by_hand():
    x = torch.tensor([0.4, 0.2, 0.2], dtype=torch.float64).view(1, 3, 1, 1)  # s = 0.5, v = 0.4
    brighter = torch.tensor([0.6, 0.3, 0.3], dtype=torch.float64).view(1, 3, 1, 1)
    torch.testing.assert_close(worse("brightness", x, 2), brighter)
    greyer = torch.tensor([0.4, 0.34, 0.34], dtype=torch.float64).view(1, 3, 1, 1)  # s = 0.15
    torch.testing.assert_close(worse("saturate", x, 1), greyer)


def test_pixelation_averages_blocks():
    x = torch.arange(16.0, dtype=torch.float64).view(1, 1, 4, 4).expand(-1, 3, -1, -1) / 16
    found = worse("pixelate", x, 2)[0, 0]  # two pixels a side
    expected = torch.tensor([[2.5, 4.5], [10.5, 12.5]]).repeat_interleave(2, 0).repeat_interleave(2, 1) / 16
    torch.testing.assert_close(found, expected.double(), atol=1e-6, rtol=0)


def test_blurs_keep_a_uniform_image_and_the_light_of_a_dot():
    for kind in ("gaussian_blur", "glass_blur", "motion_blur", "zoom_blur"):
        assert float((worse(kind, flat(0.2)) - 0.2).abs().max()) < 1e-3
    assert disc(3, 0.1).sum() == pytest.approx(1)
    assert int((disc(3, 0.1) > 0.5 / 29).sum()) == 29  # pixels within 3 of the centre


def test_motion_is_one_sided_and_along_the_angle():
    dot = np.zeros((31, 31, 1))
    dot[15, 15] = 1
    assert np.argwhere(moved_along(dot, 5, 3, 0.0)[..., 0] > 0).tolist() == [[15, c] for c in range(5, 16)]
    assert np.argwhere(moved_along(dot, 5, 3, 90.0)[..., 0] > 0).tolist() == [[r, 15] for r in range(5, 16)]
    assert moved_along(dot, 5, 3, 30.0).sum() == pytest.approx(1)


def test_fog_keeps_black_images_black_and_its_cloud_spans_the_range():
    assert torch.equal(worse("fog", flat(0.0)), flat(0.0))
    given = type("Given", (), {"uniform": lambda self, name, *s: np.random.default_rng(name).random(s)})()
    cloud = fractal(16, 2, given)
    assert (cloud.min(), cloud.max()) == (0, 1)
    # The first displacement is the mean of the corners, all 0, plus a uniform number times 100².
    assert fractal(2, 2, given).shape == (2, 2)


def test_groups_and_lists_name_the_kinds():
    assert iv.Corruption("noise", [1]).kinds == tuple(k for k, one in KINDS.items() if one.group == "noise")
    assert len(iv.Corruption("all", [1])) == len(KINDS) == 17
    assert iv.Corruption(["fog", "weather"], [0, 2]).labels == ("clean", "fog 2", "snow 2", "brightness 2")
    assert iv.Corruption("fog", [2, 0]).parameters == {"severity": (0.0, 2.0)}
    assert iv.Corruption("fog", [2]).identity is None
    assert iv.Corruption("contrast").per_sample is False


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: iv.Corruption("fogg"), "unknown corruption 'fogg'. Closest: 'fog'"),
        (lambda: iv.Corruption("frost"), "'frost' is not available: it pastes photographs"),
        (lambda: iv.Corruption("spatter"), "'spatter' is not available"),
        (lambda: iv.Corruption([]), "kinds is empty"),
        (lambda: iv.Corruption("fog", [6]), r"severities\[0\] must be at most 5"),
        (lambda: iv.Corruption("fog", [1, 1]), "must be different numbers"),
        (lambda: iv.Corruption("fog", benchmark="cifar"), "unknown benchmark 'cifar'. Closest: 'cifar10'"),
    ],
)
def test_a_wrong_corruption_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_other_data_are_refused():
    with pytest.raises(ValueError, match="normalise in preprocess="):
        iv.Corruption().orbit(flat() - 1)
    with pytest.raises(TypeError, match="1 or 3 channels"):
        iv.Corruption().orbit(torch.zeros(1, 4, 8, 8))
    with pytest.raises(TypeError, match="severities must be a list"):
        iv.Corruption("fog", 3)  # pyright: ignore[reportArgumentType]


def test_another_range_gives_the_same_images_in_that_range():
    x, transform = smooth(), iv.Corruption(["fog", "contrast"], [0, 3])
    expected = transform.orbit(x)
    found = iv.Corruption(["fog", "contrast"], [0, 3], low=-1).orbit(2 * x - 1)
    torch.testing.assert_close(found, 2 * expected - 1)


def test_photons_are_counted_by_the_quantiles_of_scipys_poisson_distribution():
    from scipy.stats import poisson as theirs

    uniform = np.random.default_rng(0).random(2000)
    uniform[:3] = 0, 1 - 2**-53, 1e-300
    for mean in (0.0, 0.3, 12.0, 480.0):
        means = np.full(2000, mean)
        np.testing.assert_array_equal(poisson(means, uniform)[2:], theirs.ppf(uniform, means)[2:])
        assert poisson(means, uniform)[0] == 0


@pytest.mark.parametrize("factor", [1.0, 1.03, 1.5, 4.5])
def test_enlarging_is_scipys_zoom_of_the_centre(factor):
    from scipy.ndimage import zoom

    image = smooth(1, 3, 30, 30)[0].movedim(0, -1).numpy()
    part = int(np.ceil(30 / factor))
    start = (30 - part) // 2
    centre = image[start : start + part, start : start + part]
    whole = zoom(centre, (factor, factor, 1), order=1)
    trim = (len(whole) - 30) // 2
    np.testing.assert_allclose(enlarged(image, factor), whole[trim : trim + 30, trim : trim + 30], atol=1e-12)


def test_a_measurement_does_not_depend_on_batches_or_on_the_order_of_the_samples():
    images = torch.rand(24, 3, 10, 10, generator=torch.Generator().manual_seed(0))
    model = lambda batch: {"pixels": batch.flatten(1)}  # noqa: E731
    transform = iv.Corruption(["gaussian_noise", "fog", "glass_blur"], [0, 2])
    given = {"measures": "normalized_variance", "intervals": False, "progress": False, "seed": 4}
    order = torch.randperm(24, generator=torch.Generator().manual_seed(1))
    one = iv.measure(model, images, transform, batch_size=3, **given)
    other = iv.measure(model, images[order], transform, batch_size=17, **given)
    np.testing.assert_allclose(other.table["value"], one.table["value"], rtol=1e-6)


@pytest.mark.parametrize("transform", [iv.JPEG([80, 20]), iv.Corruption(("jpeg_compression", "fog"), (1,))])
def test_missing_values_stay_missing(transform):
    images = torch.rand(3, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    images[1, 0, 3, 3] = torch.nan
    found = transform.orbit(images, seed=0)
    assert found[1].flatten(1).isnan().any(1).all()
    assert not found[::2].isnan().any()
