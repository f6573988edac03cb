"""TV, SV and NV of every odd model, through the whole engine, against brute force on the same activations."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import invariscope as iv
from invariscope.engine.reduction import Reduction
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
    options = {"intervals": False, "progress": False, "measures": FAMILY, "rows": "all"} | options
    return iv.measure(model, x, ELEMENTS, **options)


@pytest.fixture
def seen(monkeypatch):
    """{(layer, call): blocks} of the very activations that the engine reduces."""
    blocks, parts, reduce, finish = {}, {}, Reduction.layer, Reduction.end

    def recording(self, reading):
        if reading.values is not None and reading.status == "ok":
            parts.setdefault((reading.layer, reading.call), []).append(reading.values.detach().clone())
        reduce(self, reading)

    def finishing(self):
        for key, values in parts.items():
            orbits = self.frame(values=torch.cat(values)).orbits()
            blocks.setdefault(key, []).append(orbits.double().numpy().copy())
        parts.clear()
        finish(self)

    monkeypatch.setattr(Reduction, "layer", recording)
    monkeypatch.setattr(Reduction, "end", finishing)
    return blocks


@pytest.mark.parametrize("name", sorted(ODD_MODELS))
def test_an_odd_model_has_the_values_of_brute_force_over_its_activations_in_any_batches(name, seen):
    model, x = ODD_MODELS[name]()
    results = []
    for batch_size in (1, 7, 64):
        seen.clear()
        results.append(measured(model, inputs_like(x), batch_size=batch_size))
        assert_brute_force(results[-1], seen)
    for other in results[1:]:
        assert_close(results[0], other, rtol=0.2 if "bf16" in name or "bfloat" in name else 1e-5)


def assert_brute_force(result, seen):
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


def assert_close(first, other, *, rtol):
    for key, values in first.maps.items():
        if key[0] == "normalized_variance":
            found = other.maps[key]
            solid = np.isfinite(values) & np.isfinite(found) & (values > 1e-4)
            np.testing.assert_allclose(values[solid], found[solid], rtol=rtol, err_msg=str(key))


def test_a_view_of_the_previous_layer_repeats_its_numbers_without_a_second_reduction():
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 2, 3), torch.nn.Identity(), torch.nn.Flatten(), torch.nn.Dropout()
    )
    x = torch.randn(6, 1, 5, 5, generator=torch.Generator().manual_seed(0))
    reduced = []
    original = Reduction._update

    def counting(self, key, statistic, block):
        reduced.append(key[0])
        return original(self, key, statistic, block)

    Reduction._update = counting
    try:
        result = measured(model.eval(), x)
    finally:
        Reduction._update = original
    assert set(reduced) == {"0"}
    table = result.table.query("measure == 'normalized_variance'")
    assert table["layer"].tolist() == ["0", "1", "2", "3"]
    assert table["value"].nunique() == 1
    assert result.maps["normalized_variance", "1"].shape == (2, 3, 3)
