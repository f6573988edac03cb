import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.engine.extras import examples
from invariscope.engine.state import Run
from invariscope.plots.feature_orbits import FeatureOrbits

TURNS = iv.QuarterTurns()


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(320, 3)
    )


def images(count=120, side=12):
    return torch.rand(count, 1, side, side, generator=torch.Generator().manual_seed(1))


def features(result):
    return {name: frames for name, frames in result.examples.items() if name.startswith("feature:")}


def test_a_measurement_keeps_the_most_and_least_invariant_maps_of_its_first_sample():
    model, data = net(), images()
    result = iv.measure(model, data, TURNS, progress=False)
    orbit = torch.from_numpy(result.examples["orbit"])
    assert orbit.shape == (4, 1, 12, 12)
    means = np.nanmean(result.maps["normalized_variance", "0"], axis=(1, 2))
    with torch.no_grad():
        plain = model[0](orbit).numpy()
    for rank, channel in (("most", means.argmin()), ("least", means.argmax())):
        found = result.examples[f"feature:{rank}:0:{channel}"]
        np.testing.assert_allclose(found, plain[:, channel], rtol=1e-5, atol=1e-6)
    assert {name.split(":")[2] for name in features(result)} == {"0", "2", "3"}
    assert len(FeatureOrbits.prepare(result).grid().rows) == 1 + len(features(result))


def test_a_convention_of_the_normalized_variance_chooses_the_maps_before_other_measures():
    large, small = np.zeros((2, 8, 8)), np.zeros(2)
    arrays = {
        ("normalized_distance.channels", "0", "all", 0): small,
        ("sample_variance", "0", "all", 0): large,
        ("normalized_variance.quiroga2019", "0", "all", 0): large,
    }
    assert examples._measure(arrays) == "normalized_variance.quiroga2019"
    del arrays["normalized_variance.quiroga2019", "0", "all", 0]
    assert examples._measure(arrays) == "sample_variance"


def test_maps_cost_at_most_one_percent_of_the_forwards():
    counted = []

    class Counting(nn.Conv2d):
        def forward(self, x):
            counted.append(len(x))
            return super().forward(x)

    def forwarded(count, expected):
        counted.clear()
        torch.manual_seed(0)
        result = iv.measure(Counting(1, 4, 3), images(count), TURNS, progress=False)
        assert bool(features(result)) == expected
        return sum(counted) - 4 * count

    assert forwarded(101, True) - forwarded(99, False) == 4


def test_a_model_that_fails_on_the_examples_alone_loses_only_them(monkeypatch, caplog):
    def broken(*args, **options):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(examples, "frames_of", broken)
    result = iv.measure(net(), images(), TURNS, progress=False)
    assert list(result.examples) == ["orbit"]
    assert "no feature maps along an orbit are shown: out of memory" in caplog.text


def test_examples_are_forwarded_in_the_type_that_the_model_takes():
    result = iv.measure(net().bfloat16(), images().bfloat16(), TURNS, progress=False)
    assert features(result)
    assert {frames.dtype for frames in result.examples.values()} == {np.dtype(np.float32)}


def test_large_orbits_are_kept_as_smaller_images():
    run = Run(None, None, orbit=np.ones((16, 3, 224, 224), np.float32))
    assert examples.kept_orbit(run)["orbit"].shape == (16, 3, 112, 112)
    assert examples.kept_orbit(Run(None, None)) == {}
    small = np.random.default_rng(0).random((4, 1, 28, 28), np.float32)
    assert examples.kept_orbit(Run(None, None, orbit=small))["orbit"] is small


@pytest.mark.parametrize("shape", [(2, 5, 7), (1, 64, 64), (3, 1, 130)])
def test_smaller_images_keep_their_means(shape):
    values = np.full(shape, 0.5)
    found = examples.smaller(values, 8)
    assert max(found.shape[-2:]) <= 8
    np.testing.assert_allclose(found, 0.5)


def test_shards_keep_the_orbit_of_the_whole(tmp_path):
    data = images()
    whole = iv.measure(net(), data, TURNS, progress=False)
    parts = [iv.measure(net(), data, TURNS, progress=False, shard=(i, 2)) for i in range(2)]
    merged = iv.merge(parts)
    np.testing.assert_array_equal(merged.examples["orbit"], whole.examples["orbit"])
    assert features(merged) == {}
