"""Spectra: Parseval, folded frequencies, the measure against its oracle on random maps and a real network."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from torch import nn

import invariscope as iv
from invariscope import zoo
from invariscope.block import Block, Membership
from invariscope.measures.spectrum import RingPowers, folded_rings
from invariscope.measures.values import LayerContext
from invariscope.readers import as_reader

SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9)).filter(lambda size: size[0] * size[1] > 1)


def means_of(maps):
    """Final ring powers of (sample, C, H, W) responses to untransformed inputs."""
    block = Block(
        values=torch.as_tensor(maps),
        samples=len(maps),
        elements=1,
        sample_step=1,
        element_step=1,
        membership=Membership(np.zeros((len(maps), 1), int)),
        indices=np.arange(len(maps)),
        probes={"identity": (0,)},
    )
    statistic = RingPowers()
    state = statistic.init(block, buckets=1)
    statistic.update(state, block)
    return statistic.finalize(state, [[0]])


@given(SIZES, st.integers(0, 99))
def test_the_powers_of_all_rings_add_up_to_the_mean_square_and_ring_zero_is_the_squared_mean(size, seed):
    maps = np.random.default_rng(seed).normal(3, 1, (4, 2, *size))
    found = means_of(maps)
    np.testing.assert_allclose(found.power[0].sum(axis=1), np.square(maps).mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(
        found.power[0, :, 0], np.square(maps.mean(axis=(2, 3))).mean(axis=0), rtol=1e-12
    )


@settings(max_examples=40)
@given(
    SIZES.flatmap(
        lambda size: hnp.arrays(
            np.float64, (3, 1, 2, *size), elements=st.floats(-8, 8).map(lambda value: round(value, 3))
        )
    )
)
def test_random_maps_have_the_spectrum_of_the_definition(activations):
    activations[0, 0, :, 0, 0] += 20.0  # nothing is flat
    expected = iv.Spectrum().oracle(activations, None)
    shape = activations.shape[2:]
    found = iv.Spectrum().evaluate((means_of(activations[:, 0]),), LayerContext("layer", 0, shape))
    for output, answer in expected.items():
        np.testing.assert_allclose(found[output].values[0], answer, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("size", [7, 8])
def test_frequency_minus_one_is_one_cycle_and_not_n_minus_one(size):
    at = np.arange(size)
    for cycles in range(1, size):
        wave = np.cos(2 * np.pi * cycles * at / size)
        found = means_of(np.tile(wave, (1, 1, size, 1)))
        ring = int(np.argmax(found.power[0, 0]))
        folded = min(cycles, size - cycles)
        assert found.frequency[ring] == pytest.approx(folded / size)
        assert found.moment[0, 0] / found.power[0, 0].sum() == pytest.approx(folded / size)


def test_rings_are_as_wide_as_a_cycle_of_the_larger_side_and_none_is_empty():
    ring, frequency = folded_rings(4, 8)
    assert ring[0].tolist() == [0, 1, 2, 3, 4, 3, 2, 1]
    assert ring[:, 0].tolist() == [0, 2, 4, 2]
    assert frequency[1] == 1 / 8
    assert set(ring.ravel()) == set(range(len(frequency)))


def test_the_engine_gives_the_definition_on_the_maps_of_a_real_network():
    torch.manual_seed(0)
    data = zoo.load("mnist_subset")
    images = data.images[:70]
    model = zoo.build("simple_conv", filters=4, fc=8).eval()
    kept = {}
    with as_reader(model).open() as forward:
        forward(images, lambda reading: kept.setdefault(reading.layer, reading.values.clone()))
    result = iv.measure(model, images, iv.Rotation.circle(3), measures=["spectrum"], progress=False)
    curves = result.curves
    for layer in ("conv1", "relu2", "pool2"):
        expected = iv.Spectrum().oracle(kept[layer].double().numpy()[:, None], None)
        own = curves[(curves["layer"] == layer) & (curves["measure"] == "spectrum.power")]
        np.testing.assert_allclose(own["value"], expected["power"], rtol=1e-5)
        assert (own["ci_low"] <= own["ci_high"]).all()
        frequency = folded_rings(*kept[layer].shape[2:])[1]
        np.testing.assert_allclose(own["x"], frequency)
        varied = expected["mean_frequency"]
        np.testing.assert_allclose(result.maps["spectrum.mean_frequency", layer], varied, rtol=1e-5)
        assert result.maps["spectrum.power", layer].shape == (kept[layer].shape[1], len(frequency))
    assert set(result.table["measure"]) == {"spectrum.mean_frequency", "spectrum.dc"}
    skipped = {entry["layer"]: entry["reason"] for entry in result.provenance["skipped"]}
    assert "feature maps" in skipped["fc1"]


def test_classes_have_curves_of_their_own_and_a_result_comes_back_from_disk(tmp_path):
    torch.manual_seed(0)
    data = zoo.load("mnist_subset")
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU())
    options = {"measures": ["spectrum"], "samples": 100, "by_class": True, "floor": True, "progress": False}
    result = iv.measure(model, data, iv.QuarterTurns(), **options)
    assert {"all", "0", "9"} <= set(result.curves["stratum"])
    assert "mean" in set(result.table["stratum"])
    loaded = iv.load(result.save(tmp_path / "run"))
    assert loaded.curves.equals(result.curves)


def test_silent_and_flat_maps_have_no_frequency_and_are_counted():
    maps = np.random.default_rng(0).normal(size=(5, 3, 4, 4))
    maps[:, 0], maps[:, 1] = 0.0, 3.0
    found = iv.Spectrum().evaluate((means_of(maps),), LayerContext("layer", 0, (3, 4, 4)))
    assert found["mean_frequency"].dead == 2
    assert found["dc"].dead == 1
    assert np.isnan(found["dc"].values[0, 0])
    assert found["dc"].values[0, 1] == 1
    assert found["share"].values[0].sum() == pytest.approx(1)


def test_flat_layers_alone_are_refused():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 4))
    with pytest.raises(ValueError, match=r"spectrum applies to none .* needs feature maps"):
        iv.measure(
            model, torch.rand(8, 1, 4, 4), iv.Flip(), measures=["spectrum"], progress=False, layers="1"
        )
