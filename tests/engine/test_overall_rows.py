"""Rows over all samples are the same whether classes are measured too, and however their sums are kept."""

from functools import cache
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import invariscope as iv

TURN = iv.QuarterTurns()


def network() -> nn.Module:
    """A network of which most units respond to a few samples only, many of them near the limit."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU()).eval()
    with torch.no_grad():
        model[0].bias.fill_(-1.1)
    return model


def data(classes: int, each: int) -> tuple[Tensor, Tensor]:
    """Images of classes that differ in brightness, so that their usual responses differ."""
    draw = torch.Generator().manual_seed(1)
    labels = torch.arange(classes).repeat_interleave(each)
    images = torch.randn(classes * each, 1, 8, 8, generator=draw) + 0.05 * labels[:, None, None, None]
    return images, labels


def expected_of(measures: Any, classes: int, each: int) -> list[tuple]:
    return overall(iv.measure(network(), data(classes, each), TURN, measures=measures, progress=False))


@cache
def expected(classes: int, each: int, measures: str) -> list[tuple]:
    return expected_of(measures, classes, each)


def overall(result: iv.Result, stratum: str = "all") -> list[tuple]:
    rows = result.table[result.table.stratum == stratum]
    return rows[["measure", "layer", "value", "dead_units", "sparse_units"]].fillna(-1).values.tolist()


def measured(classes: int, each: int, measures: Any, **options) -> iv.Result:
    options = {"by_class": True, "progress": False} | options
    return iv.measure(network(), data(classes, each), TURN, measures=measures, **options)


def assert_same(found: list[tuple], known: list[tuple]) -> None:
    assert [row[:2] + row[3:] for row in found] == [row[:2] + row[3:] for row in known]
    assert [row[2] for row in found] == pytest.approx([row[2] for row in known], rel=1e-9)


IN_TURN = [(1, {"memory_gb": 0.0006}), (3, {"memory_gb": 0.0008, "intervals": False})]
LAYOUTS = [
    (2, 96, {}),  # a bucket for each group of each class
    (12, 8, {}),  # groups apart from classes
    (12, 8, {"intervals": False}),  # a bucket for each class
    (2, 24, {"batch_size": 4}),  # no block holds five samples
    (12, 8, {"intervals": False, "batch_size": 4}),
]


@pytest.mark.parametrize("measures", ["nv, anova", "same_equivariance", "nv, stability"])
@pytest.mark.parametrize(("classes", "each", "options"), LAYOUTS)
def test_rows_over_all_samples_do_not_depend_on_classes(measures, classes, each, options):
    found = measured(classes, each, measures, **options)
    assert_same(overall(found), expected(classes, each, measures))


@pytest.mark.parametrize("measures", ["nv", "nv, anova", "same_equivariance"])
@pytest.mark.parametrize(("at_once", "options"), IN_TURN)
def test_nor_do_they_if_classes_take_turns(measures, at_once, options):
    found = measured(12, 8, measures, **options)
    notes = " ".join(found.provenance["notes"])
    assert f"in turn, {at_once if measures == 'nv' else ''}" in notes
    assert_same(overall(found), expected(12, 8, measures))


@pytest.mark.parametrize("options", [{}, {"intervals": False}])
def test_the_same_holds_for_shards(options):
    shards = [measured(3, 32, "nv", shard=(k, 3), **options) for k in range(3)]
    assert_same(overall(iv.merge(shards)), expected(3, 32, "nv"))


@pytest.mark.parametrize("options", [{}, {"intervals": False}])
def test_the_same_holds_for_streams(options):
    images, labels = data(12, 8)
    order = torch.randperm(96, generator=torch.Generator().manual_seed(2))
    stream = [(images[part], labels[part]) for part in order.split(7)]

    def over(**options) -> list[tuple]:
        return overall(iv.measure(network(), stream, TURN, measures="nv", progress=False, **options))

    assert_same(over(by_class=True, **options), over())


def test_sparse_units_of_all_samples_agree_with_counting():
    """Brute force: a unit is sparse if fewer than min(20, n/4) samples depart from its usual response, 0."""
    images, labels = data(12, 8)
    model = network()
    with torch.no_grad():
        turned = torch.stack([torch.rot90(images, k, (2, 3)) for k in range(4)], 1)
        fires = model[1](model[0](turned.flatten(0, 1))).unflatten(0, (96, 4)).ne(0).any(1).sum(0)
    dead, sparse = (fires == 0).sum(), ((fires > 0) & (fires < 20)).sum()
    found = iv.measure(
        model,
        (images, labels),
        TURN,
        measures="nv",
        layers="1",
        by_class=True,
        intervals=False,
        progress=False,
    )
    row = found.table[found.table.stratum == "all"].iloc[0]
    assert row.dead_units == dead
    assert abs(row.sparse_units - sparse) <= 0.02 * sparse  # the first five samples can suggest another one


@pytest.mark.parametrize("options", [{}, {"intervals": False}])
@pytest.mark.parametrize("preset", ["quiroga2019", "quiroga2019_full", "tmeasures"])
def test_the_same_holds_for_presets_that_follow_the_order_of_the_data(preset, options):
    wanted = [iv.NormalizedVariance(preset=preset)]
    found = measured(3, 70, wanted, **options)
    whole = iv.measure(network(), data(3, 70), TURN, measures=wanted, progress=False, **options)
    assert_same(overall(found), overall(whole))
    assert set(found.table.stratum) == {"all", "0", "1", "2", "mean"}
    images, labels = data(3, 70)
    alone = iv.measure(network(), images[labels == 1], TURN, measures=wanted, progress=False, **options)
    assert_same(overall(alone), overall(found, "1"))


def test_small_classes_of_such_presets_are_named():
    wanted = [iv.NormalizedVariance(preset="quiroga2019")]
    found = measured(3, 40, wanted)
    assert found.provenance["notes"][-1].startswith("classes 0, 1, 2 have fewer samples than the preset")
    assert_same(overall(found), expected_of(wanted, 3, 40))
    few = iv.measure(network(), data(1, 40)[0], TURN, measures=wanted, progress=False)
    assert few.table.note.str.startswith("no value: there are fewer samples than the preset").all()


@pytest.mark.parametrize("options", [{}, {"intervals": False}])
def test_clusters_with_samples_of_several_classes_count_once(options):
    images, labels = data(2, 96)
    clusters = torch.arange(192) % 64
    labels = torch.randint(2, (192,), generator=torch.Generator().manual_seed(3))

    def over(**options) -> list[tuple]:
        how = {"measures": "nv, anova", "clusters": clusters, "progress": False}
        return overall(iv.measure(network(), (images, labels), TURN, **how, **options))

    assert_same(over(by_class=True, **options), over(**options))
