"""TV, SV and NV of every odd model, through the whole engine, against brute force on the same activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import invariscope as iv
from invariscope.engine.run import Runner
from invariscope.statistics.base import Block
from odd_models import ODD_MODELS

ELEMENTS = [
    lambda x: x,
    lambda x: x.flip(-1),
    lambda x: x.roll(1, -1),
    lambda x: x.flip(-1).roll(2, -1),
]
FAMILY = ["transformation_variance", "sample_variance", "normalized_variance"]
SAMPLES = 12


def inputs_like(x):
    """More samples of the kind of `x`."""
    generator = torch.Generator().manual_seed(5)
    if x.is_floating_point():
        return torch.randn(SAMPLES, *x.shape[1:], generator=generator).to(x.dtype)
    return torch.randint(0, int(x.max()) + 1, (SAMPLES, *x.shape[1:]), generator=generator)


def measured(model, x, **options):
    options = {"intervals": False, "progress": False, "measures": FAMILY} | options
    return iv.measure(model, x, ELEMENTS, **options)


@pytest.fixture
def seen(monkeypatch):
    """{(layer, call): blocks} of the very activations that the engine reduces."""
    blocks, reduce = {}, Runner._reduce

    def recording(self, reading, shared, rows):
        if reading.values is not None and reading.status == "ok":
            orbits = Block(values=reading.values, **shared).orbits()
            blocks.setdefault((reading.layer, reading.call), []).append(
                orbits.detach().double().numpy().copy()
            )
        reduce(self, reading, shared, rows)

    monkeypatch.setattr(Runner, "_reduce", recording)
    return blocks


@pytest.mark.parametrize("name", sorted(ODD_MODELS))
@pytest.mark.parametrize("batch_size", [1, 20, 1000])
def test_values_of_an_odd_model_equal_brute_force_over_its_activations(name, batch_size, seen):
    model, x = ODD_MODELS[name]()
    result = measured(model, inputs_like(x), batch_size=batch_size)
    assert {(key[1], key[3]) for key in result.maps} == seen.keys()
    for (layer, call), blocks in seen.items():
        values = np.concatenate(blocks)
        assert len(values) == SAMPLES
        brute = {
            "transformation_variance": values.var(axis=1, ddof=1).mean(axis=0),
            "sample_variance": values.var(axis=0, ddof=1).mean(axis=0),
        }
        for measure, expected in brute.items():
            found = result.maps[measure, layer, "all", call]
            assert found.shape == expected.shape
            tiny = 1e-14 * (values**2).mean()  # the square of float32's rounding
            np.testing.assert_allclose(found, expected, rtol=1e-6, atol=tiny, err_msg=f"{layer} {call}")


@pytest.mark.parametrize("name", sorted(ODD_MODELS))
def test_batch_sizes_1_7_and_64_give_the_same_values(name):
    model, x = ODD_MODELS[name]()
    x = inputs_like(x)
    results = [measured(model, x, batch_size=size) for size in (1, 7, 64)]
    for key, first in results[0].maps.items():
        if key[0] != "normalized_variance":
            continue
        for other in results[1:]:
            found = other.maps[key]
            solid = np.isfinite(first) & np.isfinite(found) & (first > 1e-4)
            coarse = "bf16" in name or "bfloat" in name
            np.testing.assert_allclose(
                first[solid], found[solid], rtol=0.2 if coarse else 1e-5, err_msg=str(key)
            )


def test_a_view_of_the_previous_layer_repeats_its_numbers_without_a_second_reduction():
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Identity(), torch.nn.Flatten(), torch.nn.Dropout()
    )
    x = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    reduced = []
    original = Runner._update

    def counting(self, key, statistic, block):
        reduced.append(key[0])
        return original(self, key, statistic, block)

    Runner._update = counting
    try:
        result = measured(model.eval(), x)
    finally:
        Runner._update = original
    assert set(reduced) == {"0"}
    table = result.table.query("measure == 'normalized_variance'")
    assert table["layer"].tolist() == ["0", "1", "2", "3"]
    assert table["value"].nunique() == 1
    assert result.maps["normalized_variance", "1"].shape == (2, 3, 3)
