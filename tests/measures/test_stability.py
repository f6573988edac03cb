"""Stability through the engine: closed forms, presets, and independence of how samples are forwarded."""

import numpy as np
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.measures.stability import EqualNoise
from invariscope.statistics.probes import Batch

IMAGES = torch.randn(40, 1, 8, 8, generator=torch.Generator().manual_seed(0))
SHIFTS = iv.Translation.grid(1)


def net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(108, 5)).eval()


def stability(model=None, data=IMAGES, **options):
    measure = iv.Stability(
        **{k: options.pop(k) for k in list(options) if k in ("average", "pairs", "radius", "preset")}
    )
    result = iv.measure(model or net(), data, SHIFTS, measures=[measure], progress=False, **options)
    return result.table.set_index(["measure", "layer"])["value"]


def test_on_a_linear_layer_g_is_the_closed_form_and_d_that_of_the_same_map_on_the_inputs():
    torch.manual_seed(1)
    linear = nn.Linear(64, 64, bias=False)
    with torch.no_grad():
        linear.weight.copy_(torch.linalg.qr(torch.randn(64, 64))[0])
    model = nn.Sequential(nn.Flatten(), linear)
    found = stability(model)
    x = IMAGES.flatten(1).double().numpy()
    orbit = SHIFTS.orbit(IMAGES).flatten(2).double().numpy()
    moving = [j for j in range(len(SHIFTS)) if j != SHIFTS.identity]
    moved = np.square(orbit[:, moving] - x[:, None]).sum(-1).mean()
    apart = 2 * x.var(axis=0, ddof=1).sum()
    assert found["stability.D", "1"] == pytest.approx(moved / apart, rel=1e-5)
    assert found["stability.G", "1"] == pytest.approx(moved / apart, rel=1e-5)
    assert found["stability.R", "1"] == pytest.approx(1, rel=1e-5)


@pytest.mark.parametrize("options", [{}, {"radius": "mean"}, {"radius": 2.0}, {"average": "unitwise_median"}])
def test_batches_change_nothing_beyond_the_forwards_rounding(options):
    alone = stability(batch_size=1, **options)
    together = stability(batch_size=1000, **options)
    np.testing.assert_allclose(alone, together, rtol=1e-5)


def test_noise_of_the_mean_norm_has_that_norm_everywhere():
    orbit = SHIFTS.orbit(IMAGES)
    norms = (orbit - IMAGES[:, None]).flatten(2).norm(dim=2)
    probe = EqualNoise("mean").settled([(IMAGES[:17], orbit[:17]), (IMAGES[17:], orbit[17:])])
    batch = Batch(np.arange(40), np.arange(40), np.full(40, -1), seed=3)
    noisy = probe.inputs(IMAGES, orbit, batch=batch)
    reached = (noisy - IMAGES[:, None]).flatten(2).norm(dim=2)
    assert torch.allclose(reached, norms[norms > 0].mean().expand_as(reached), rtol=1e-4)


def test_the_presets_set_what_was_published_and_refuse_the_contrary():
    assert iv.Stability(preset="petrini2021").options["average"] == "unitwise_median"
    assert iv.Stability(preset="tomasini2022").options["pairs"] == "all"
    with pytest.raises(ValueError, match="implies radius='mean', but got radius=3"):
        iv.Stability(preset="petrini2021", radius=3.0)
    with pytest.raises(ValueError, match="implies average='unitwise_median', but got average='mean'"):
        iv.Stability(preset="petrini2021", average="mean")


def test_the_diagonal_costs_one_sample_in_n():
    with_diagonal, without = stability(pairs="all"), stability()
    np.testing.assert_allclose(with_diagonal["stability.D"], without["stability.D"] * 40 / 39, rtol=1e-5)


def test_unit_medians_refuse_layers_too_large_to_keep_and_measure_the_others():
    torch.manual_seed(0)
    images = torch.randn(12, 1, 40, 40)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    measure = iv.Stability(average="unitwise_median")
    result = iv.measure(model, images, SHIFTS, measures=[measure], progress=False)
    (entry,) = result.provenance["skipped"]
    assert entry["layer"] == "0"
    assert "got 5776" in entry["reason"]
    assert "1" in set(result.table.layer)


def test_an_interval_and_a_null_stand_beside_each_value():
    data = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(2))
    table = iv.measure(net(), data, SHIFTS, measures="stability", progress=False).table
    assert ((table.ci_low < table.ci_high) & table.ci_low.notna()).all()
    assert table[table.measure == "stability.D"].null.between(0.5, 2).all()


@pytest.mark.parametrize(
    "options", [{"radius": -1.0}, {"radius": "men"}, {"average": "mode"}, {"pairs": "some"}]
)
def test_options_that_do_not_exist_are_refused(options):
    with pytest.raises(ValueError, match=r"got|unknown"):
        iv.Stability(**options)


def test_noise_needs_floating_inputs():
    torch.manual_seed(0)
    tokens = torch.randint(0, 9, (20, 6))
    model = nn.Sequential(nn.Embedding(9, 4), nn.Flatten())
    with pytest.raises(TypeError, match="floating"):
        iv.measure(model, tokens, [lambda x: x, lambda x: x.flip(1)], measures="stability", progress=False)


def test_a_published_convention_and_the_own_one_stand_apart_in_one_run():
    both = [iv.Stability(preset="tomasini2022"), iv.Stability()]
    for measures in (both, both[::-1]):
        table = iv.measure(net(), IMAGES, SHIFTS, measures=measures, layers="3", progress=False).table
        names = [measure.row_name(output) for measure in measures for output in "DGR"]
        assert table["measure"].tolist() == names
    values = table.set_index("measure")["value"]
    assert values["stability.tomasini2022.D"] == pytest.approx(values["stability.D"] * 40 / 39, rel=1e-5)
