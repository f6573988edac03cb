"""Shards give the numbers of a single process, however many there are."""

import functools
import itertools

import numpy as np
import pytest
import torch
from PIL import Image
from shard_cases import Images, assert_same, images, measured, merged, network
from torch import nn

import invariscope as iv
from invariscope.data.sources import as_source
from invariscope.measures.base import MEASURES
from invariscope.results.shard import load_shard
from invariscope.statistics.counts.bin_pilot import BinPilot

FIRST = [(name, cls.examples()[0]) for name, cls in sorted(MEASURES.classes().items())]
OTHERS = {name: cls.examples()[1:] for name, cls in sorted(MEASURES.classes().items())}
REFUSED = ("hold objects", "file's own order", "random_net")


def fitting(measure):
    """The options with which a measure applies to the small case."""
    if measure.name == "equivariance_psnr":
        return {"model": filters()}
    return {"by_class": True}


@functools.cache
def filters():
    """A network that returns images."""
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 1, 3, padding=1)).double().eval()


def compare(measures, counts):
    options = fitting(measures[0])
    expected = measured(images(), measures, **options)
    for count in counts:
        found = merged(images(), count, measures, **options)
        # Systems of equations from few samples are ill-conditioned: they amplify rounding.
        assert_same(found, expected, tolerance=1e-9 if "fitted" in measures[0].label else 1e-12)


@pytest.mark.parametrize("measure", [pytest.param(measure, id=name) for name, measure in FIRST])
def test_any_number_of_shards_gives_the_numbers_of_one_process(measure):
    # Partitions are the engine's affair: all of them for three kinds of sums, one for every measure.
    every = measure.name in ("normalized_variance", "information", "stability")
    compare([measure], (1, 2, 3, 7) if every else (3,))


@pytest.mark.parametrize("name", [name for name, measures in OTHERS.items() if measures])
def test_variants_too_give_the_numbers_of_one_process(name):
    """All variants of a measure in one run or, if one of them is refused, each by itself."""
    try:
        compare(OTHERS[name], (2,))
    except ValueError as error:
        if not is_refusal(error):
            raise
        for measure in OTHERS[name]:
            compare_or_refuse(measure)


def compare_or_refuse(measure):
    try:
        compare([measure], (2,))
    except ValueError as error:
        if not is_refusal(error):
            raise
        with pytest.raises(ValueError, match=r"torchrun|without shards"):
            measured(images(), measure, shard=(0, 2))


def is_refusal(error):
    return any(reason in str(error) for reason in REFUSED)


def test_intervals_and_nulls_are_compared_above():
    rows = measured(images(200), by_class=True).rows
    assert all(np.isfinite([row.ci_low, row.ci_high, row.null]).all() for row in rows if row.stratum == "all")
    conv = next(row for row in rows if row.layer == "relu")
    assert conv.dead_units > 0
    assert conv.sparse_units > 0


@pytest.mark.parametrize("count", [3, 7])
def test_intervals_of_classes_survive_shards(count):
    data, measures = images(400), ("normalized_variance", "anova", "prediction")
    expected = measured(data, measures, by_class=True, batch_size=256)
    assert any(np.isfinite(row.ci_low) for row in expected.rows if row.stratum not in ("all", "mean"))
    assert_same(merged(data, count, measures, by_class=True, batch_size=256), expected)


@pytest.mark.parametrize("count", [2, 5])
def test_clusters_are_never_divided(count):
    x, y = images(90)
    clusters = (np.arange(90) * 7) % 23
    measures = ("normalized_variance", "equivariance_error", "stability")
    expected = measured((x, y), measures, clusters=clusters)
    assert_same(merged((x, y), count, measures, clusters=clusters), expected)
    parts = [measured((x, y), shard=(k, count), clusters=clusters) for k in range(count)]
    held = [{row[1] for row in part.shard.arrays["clusters"].tolist()} for part in parts]
    assert not set.intersection(*held)


def test_shards_hold_whole_pairs_and_together_every_sample():
    ranges = [measured(images(), shard=(k, 7)).shard.document["ranks"] for k in range(7)]
    assert ranges[0][0] == 0
    assert ranges[-1][1] == 61
    assert all(low[1] == high[0] for low, high in itertools.pairwise(ranges))
    assert all(low % 2 == 0 for low, _ in ranges)


def test_references_come_from_the_first_samples_of_the_whole_walk():
    """A unit whose usual response differs between the first samples of two shards is as sparse as alone."""
    x, y = images(64)
    order = iv.measure(network(), (x, y), iv.QuarterTurns(), progress=False, shard=(0, 1)).shard
    assert order.document["ranks"] == [0, 64]
    constant = x.clone()
    constant[:] = x.mean(
        0
    )  # equal images: every unit is sparse, and only the first five decide what is usual
    constant[::9] = x[::9]
    assert_same(merged((constant, y), 7, by_class=True), measured((constant, y), by_class=True))


def test_a_dataset_gives_the_numbers_of_its_array_in_any_number_of_shards():
    x, y = images()
    whole = Images(x, y)
    expected = measured(whole, ("normalized_variance", "prediction"), by_class=True)
    found = merged(whole, 3, ("normalized_variance", "prediction"), by_class=True)
    assert_same(found, expected)
    assert found.provenance["data"] == expected.provenance["data"]
    iv.compare(found, expected)


def test_labels_of_a_folder_are_known_without_reading_its_images(tmp_path):
    x, y = images(30)
    for number, (image, label) in enumerate(zip(x, y, strict=True)):
        folder = tmp_path / ["cat", "dog", "emu"][int(label)]
        folder.mkdir(exist_ok=True)
        pixels = (image[0].numpy() * 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.png")
    options = {"by_class": True, "preprocess": pixels_of, "classes": ["cat", "dog", "emu"]}
    measures = ("normalized_variance", "prediction", "information")
    expected = measured(tmp_path, measures, **options)
    found = merged(tmp_path, 3, measures, **options)
    assert_same(found, expected)
    assert found.provenance["data"] == expected.provenance["data"]
    source = as_source(tmp_path, structured=True)
    read = source.read_labels()
    assert torch.equal(read, torch.cat([source.chosen(np.array([rank])).labels for rank in range(30)]))


def pixels_of(pictures):
    """Images as the network takes them."""
    return torch.stack([torch.from_numpy(np.array(one)).double()[None] / 255 for one in pictures])


def test_words_and_float32_and_floors_agree_too():
    x, y = images(double=False)
    words = np.array(["cat", "dog", "emu"])[y.numpy()]
    options = {"model": network(double=False), "by_class": True, "floor": True}
    names = ["cat", "dog", "emu"]
    measures = ("normalized_variance", "same_equivariance", "prediction")
    expected = measured((x, words), measures, classes=names, **options)
    assert_same(merged((x, words), 3, measures, classes=names, **options), expected, tolerance=1e-5)


OPTIONS = {
    "subset": {"samples": 40},
    "ids": {"ids": [f"image {k % 10}-{k}" for k in range(61)]},
    "drawn units": {"units": 8},
    "drawn fields": {"transform": iv.Diffeomorphism(delta_px=0.5, draws=3)},
    "one layer": {"layers": "conv", "batch_size": 3},
    "no intervals": {"intervals": False, "by_class": True},
}


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_shards_agree_whatever_the_options(options):
    data, measures = images(), ("normalized_variance", "stability")
    assert_same(merged(data, 3, measures, **options), measured(data, measures, **options))


def test_bfloat16_forwards_agree_up_to_their_rounding():
    options = {"precision": "bf16", "model": network(double=False)}
    data = images(double=False)
    assert_same(merged(data, 3, **options), measured(data, **options), tolerance=1e-5)


def test_the_provenance_is_that_of_one_process_with_more_forwards():
    expected = measured(images(), ("information",), by_class=True).provenance
    found = merged(images(), 3, ("information",), by_class=True).provenance
    same = ("seed", "model", "data", "transform", "measures", "notes", "skipped", "unused", "versions")
    assert {name: found[name] for name in same} == {name: expected[name] for name in same}
    assert found["options"]["forwarded_inputs"] >= expected["options"]["forwarded_inputs"]
    assert found["shards"]["count"] == 3
    assert "shard" not in found


def test_a_shard_measured_again_has_the_same_bits(tmp_path):
    for name in ("first", "again"):
        measured(images(), ("normalized_variance", "cka"), shard=(1, 3)).save(tmp_path / name)
    first, again = (load_shard(tmp_path / name) for name in ("first", "again"))
    assert first.arrays.keys() == again.arrays.keys()
    assert all(first.arrays[name].tobytes() == again.arrays[name].tobytes() for name in first.arrays)


def test_shards_from_folders_and_from_results_give_the_same(tmp_path):
    parts = [measured(images(), ("normalized_variance", "cka"), shard=(k, 3)) for k in range(3)]
    folders = [part.save(tmp_path / f"shard-{k}") for k, part in enumerate(parts)]
    assert_same(iv.merge(folders), iv.merge(*parts), tolerance=0)
    assert_same(iv.merge([str(folders[0]), parts[1], folders[2]]), iv.merge(parts), tolerance=0)


def test_a_checkpoint_belongs_to_one_shard(tmp_path):
    class Stop(Exception):
        pass

    def stop(done, total):
        if done > 8:
            raise Stop

    from invariscope.engine import checkpoint

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint.Checkpoint, "due", lambda self: True)
        with pytest.raises(Stop):
            measured(images(), shard=(1, 2), checkpoint=tmp_path / "sums", by_class=True, progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["sums.1-of-2"]
    resumed = measured(images(), shard=(1, 2), checkpoint=tmp_path / "sums", by_class=True)
    first = measured(images(), shard=(0, 2), checkpoint=tmp_path / "sums", by_class=True)
    assert not list(tmp_path.iterdir())
    assert_same(iv.merge(first, resumed), measured(images(), by_class=True))


@pytest.mark.parametrize("of", ["array", "dataset"])
def test_bins_come_from_the_same_few_samples_at_every_world_size(of, monkeypatch):
    x, y = images(150)
    data = (x, y) if of == "array" else Images(x, y)
    few = iv.Information(pilot=40)
    expected = measured(data, few, by_class=True)
    assert "a pilot pass forwarded 40 additional untransformed inputs" in expected.provenance["notes"]
    assert_same(merged(data, 3, few, by_class=True), expected)
    monkeypatch.setattr(BinPilot, "needed", lambda pilot, keys: None)
    whole = measured(data, few, by_class=True)
    assert "a pilot pass forwarded 150 additional untransformed inputs" in whole.provenance["notes"]
    assert_same(whole, expected)


@pytest.mark.parametrize(("memory_gb", "layout"), [(5e-4, "crossed"), (3e-4, "coarse")])
def test_sums_that_share_buckets_for_lack_of_memory_agree_too(memory_gb, layout):
    data, measures = images(200), ("normalized_variance", "stability")
    options = {"by_class": True, "memory_gb": memory_gb}
    part = measured(data, measures, shard=(0, 3), **options).shard
    assert layout in {entry[3] for entry in part.document["coarser"]}
    assert_same(merged(data, 3, measures, **options), measured(data, measures, **options))
