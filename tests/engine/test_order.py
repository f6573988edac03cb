"""Numbers follow who the samples are: neither the order of the data nor their batches nor their names."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

import invariscope as iv
from invariscope.data import sources
from invariscope.data.order import Identities, content_keys, given_keys, input_digests, pair_numbers
from invariscope.data.sources import as_source
from invariscope.intervals import GROUPS
from invariscope.measures.base import MEASURES

N, CLASSES = 149, 3  # odd: the last pair holds three
WORDS = np.array(["wasp", "ant", "moth"])


def data(n=N, seed=0):
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 2, 6, 6, generator=generator, dtype=torch.float64)
    return x, torch.randint(CLASSES, (n,), generator=generator)


def net():
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Flatten(), nn.Linear(48, CLASSES)).double()
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator, dtype=torch.float64) / 3
    return model


class Items(Dataset):
    def __init__(self, x, y, classes=None):
        self.x, self.y = x, y
        if classes is not None:
            self.classes = classes

    def __len__(self):
        return len(self.x)

    def __getitem__(self, i):
        return self.x[i], self.y[i]


def measured(x, *, measures=("normalized_variance", "equivariance_deviation"), **options):
    options = {"transform": iv.QuarterTurns(), "seed": 3, "precision": "float64"} | options
    transform = options.pop("transform")
    return iv.measure(net(), x, transform, measures=list(measures), progress=False, **options)


def assert_same(found, expected, *, rtol=1e-12):
    for part in ("table", "curves"):
        # The position of the worst sample in the data is the one thing that moves with them.
        a, b = (
            frame[~frame.measure.str.contains("sample_by_element|[.]sample$")].reset_index(drop=True)
            for frame in (getattr(found, part), getattr(expected, part))
        )
        numbers = a.select_dtypes("number").columns
        pd.testing.assert_frame_equal(a[numbers], b[numbers], rtol=rtol, atol=1e-14)
        words = [c for c in a.columns if c not in numbers]
        assert a[words].fillna("").astype(str).equals(b[words].fillna("").astype(str)), part
    assert found.maps.keys() == expected.maps.keys()
    for key, values in expected.maps.items():
        np.testing.assert_allclose(found.maps[key], values, rtol=rtol, atol=1e-14)


# Bins, heaps and gradients are the dear ones; the walk is the same for all.
ALIKE = [name for name in MEASURES.names() if name not in ("spectrum",)]


def test_no_number_of_any_measure_depends_on_how_the_data_are_stored():
    x, y = data()
    drawn = iv.Rotation.circle(3, jitter_deg=9.0)
    applicable = [name for name in ALIKE if not MEASURES.get(name).needs_action]
    options = {"measures": applicable, "by_class": True, "transform": drawn, "unstable": "measure"}
    expected = measured((x, y), **options)
    for place in (torch.argsort(y, stable=True), torch.arange(N).flip(0)):
        assert_same(measured((x[place], y[place]), batch_size=12, **options), expected, rtol=1e-9)


@pytest.mark.parametrize("name", ["a dataset with ids", "words", "renamed classes"])
def test_neither_datasets_nor_the_names_of_classes_change_a_number(name):
    x, y = data()
    ids, place = np.arange(N) * 7, torch.randperm(N, generator=torch.Generator().manual_seed(2))
    if name == "a dataset with ids":
        expected = measured(Items(x, y.tolist()), ids=ids, by_class=True)
        found = measured(Items(x[place], y[place].tolist()), ids=ids[place], by_class=True)
    else:
        expected = measured((x, y), by_class=True)
        names = WORDS if name == "words" else np.array([5, 1, 3])
        found = measured((x[place], names[y[place]]), by_class=True)
        table = found.table.assign(
            stratum=found.table.stratum.replace(dict(zip(map(str, names), "012", strict=True)))
        )
        order = ["measure", "layer", "stratum"]
        a, b = (t.sort_values(order).reset_index(drop=True) for t in (table, expected.table))
        numbers = a.select_dtypes("number").columns
        pd.testing.assert_frame_equal(a[numbers], b[numbers], rtol=1e-12, atol=1e-14)
        return
    assert_same(found, expected)


def test_another_seed_draws_another_order_and_the_same_seed_the_same():
    x, _ = data()
    orders = [as_source(x, seed=seed).order.walk for seed in (0, 0, 1)]
    assert (orders[0] == orders[1]).all()
    assert (orders[0] != orders[2]).any()
    results = [measured(x, seed=seed) for seed in (0, 1)]
    with pytest.raises(ValueError, match="seed"):
        iv.compare(results)


def test_equal_samples_have_keys_of_their_own_whatever_their_order():
    x = torch.zeros(6, 3)
    x[2] = 1
    keys = content_keys(input_digests(x))
    assert len(set(keys.tolist())) == 6
    assert set(content_keys(input_digests(x.flip(0))).tolist()) == set(keys.tolist())


def repeated():
    """Samples of which some occur again, and again in other classes and clusters."""
    x, y = data()
    some = torch.randperm(N, generator=torch.Generator().manual_seed(4))[:40]
    x, y = torch.cat([x, x[some], x[some[:10]]]), torch.cat([y, (y[some] + 1) % 3, (y[some[:10]] + 2) % 3])
    return x, y, np.arange(len(x)) % 60


@pytest.mark.parametrize("options", [{}, {"samples": 100, "by_class": True}, {"clusters": True}], ids=str)
def test_equal_samples_of_several_classes_give_the_same_numbers_however_they_are_stored(options):
    x, y, clusters = repeated()
    measures = ["normalized_variance", "equivariance_deviation", "prediction"]
    common = {"measures": measures, "transform": iv.Rotation.circle(3, jitter_deg=9.0)} | options

    def stored(place):
        own = {"clusters": clusters[place]} if "clusters" in options else {}
        return measured((x[place], y[place]), **common | own)

    expected, shuffled = stored(torch.arange(len(x))), torch.Generator().manual_seed(5)
    for place in (torch.arange(len(x)).flip(0), torch.randperm(len(x), generator=shuffled)):
        assert_same(stored(place), expected)


def test_renaming_classes_does_not_number_equal_samples_otherwise():
    x, y, _ = repeated()
    expected = as_source((x, y)).order.walk
    for names in (np.array([5, 1, 3]), WORDS, np.array([0.5, -1.0, np.nan])):
        assert (as_source((x, names[y])).order.walk == expected).all()


def test_equal_files_and_listed_samples_of_two_classes_have_keys_by_class(tmp_path):
    images = pytest.importorskip("PIL.Image")
    for folder, names in {"ant": ["a", "z"], "bee": ["b"]}.items():
        (tmp_path / folder).mkdir()
        for name in names:
            images.new("L", (4, 4), 3 * (name == "z")).save(tmp_path / folder / f"{name}.png")

    def key_of_the_bee(data):
        source = as_source(data, structured=True)
        labels = source.read_labels()[np.argsort(source.order.walk)].tolist()
        return source.order.keys[[labels.count(label) for label in labels].index(1)]

    keys = [key_of_the_bee(tmp_path)]
    (tmp_path / "bee").rename(tmp_path / "aaa")
    assert key_of_the_bee(tmp_path) == keys[0]
    found = {key_of_the_bee((list(words), list(labels))) for words, labels in LISTED}
    assert len(found) == 1


LISTED = [(("moth", "moth", "fly"), (0, 1, 0)), (("moth", "fly", "moth"), (1, 0, 0))]


def test_a_subset_holds_the_lowest_ranks_of_arrays_and_datasets_and_the_first_of_a_stream():
    torch.manual_seed(0)
    x, y = data()
    whole = as_source(x, seed=5)
    few = as_source(x, samples=40, seed=5)
    assert (few.order.walk == whole.order.walk[:40]).all()
    items = as_source(Items(x, y.tolist()), samples=40, seed=5, ids=np.arange(N))
    (window,) = items.windows()
    assert torch.equal(window.inputs, x[torch.from_numpy(window.indices)])
    (window,) = as_source(DataLoader(Items(x, y), 16), samples=40, seed=5).windows()
    assert (window.indices == np.arange(40)).all()
    assert torch.equal(window.inputs, x[:40])


def test_pairs_are_neighbours_by_rank_and_the_last_three_are_partners_in_a_cycle():
    order = Identities(np.arange(7), "index").ranked(0)
    assert order.partners.tolist() == [1, 0, 3, 2, 5, 6, 4]
    assert order.pairs.tolist() == [0, 0, 1, 1, 2, 2, 2]
    assert (order.groups == order.pairs % GROUPS).all()
    assert pair_numbers(2).tolist() == [0, 0]


def test_clusters_are_paired_as_wholes_and_their_samples_with_those_of_the_other_cluster():
    clusters = given_keys(["a", "b", "a", "b", "b", "c"], 6, name="clusters")
    order = Identities(np.arange(6), "ids", clusters).ranked(4)
    own = clusters[order.walk]
    sizes = {number: int((own == number).sum()) for number in own.tolist()}
    for rank, mate in enumerate(order.partners.tolist()):
        place = rank - int(np.flatnonzero(own == own[rank])[0])
        first = int(np.flatnonzero(own == own[mate])[0])
        assert own[mate] != own[rank]
        assert mate == first + place % sizes[int(own[mate])]
    assert len(set(order.groups.tolist())) == 1  # three clusters are one pair


def test_one_cluster_has_no_null_and_says_so():
    x, _ = data(20)
    result = measured(x, clusters=np.zeros(20, int), measures=["equivariance_deviation"])
    rows = result.table[result.table.measure.str.endswith("latent")]
    assert rows.null.isna().all()


def test_clusters_count_as_one_sample_each_where_intervals_are_decided():
    x, _ = data(160)
    plain = measured(x, measures=["normalized_variance"])
    clustered = measured(x, measures=["normalized_variance"], clusters=np.arange(160) // 4)
    assert plain.table.ci_low.notna().all()
    assert clustered.table.ci_low.isna().all()
    assert clustered.notes.note.str.contains("clusters").all()
    np.testing.assert_allclose(clustered.table.value, plain.table.value, rtol=1e-9)


def test_blocks_hold_whole_clusters_whatever_the_batch_size():
    x, _ = data(64)
    clusters = np.repeat(np.arange(16), 4)
    results = [measured(x, clusters=clusters, batch_size=size) for size in (4, 40, 400)]
    for other in results[1:]:
        np.testing.assert_allclose(other.table.null, results[0].table.null, rtol=1e-12)
        np.testing.assert_allclose(other.table.value, results[0].table.value, rtol=1e-12)


@pytest.mark.parametrize("cut", [10, 37, 149])
def test_a_stream_pairs_neighbours_in_arrival_whatever_its_batches_and_windows(cut, monkeypatch):
    x, _ = data()
    expected = measured([x])
    monkeypatch.setattr(sources, "WINDOW_SAMPLES", 50)
    assert_same(measured(list(x.split(cut))), expected, rtol=1e-10)
    windows = list(as_source(list(x.split(cut))).windows())
    assert all(len(window) % 2 == 0 for window in windows[:-1])
    assert len(windows[-1]) % 2 == 1
    groups = np.concatenate([window.groups for window in windows])
    assert (groups[: N - 3 : 2] == groups[1 : N - 2 : 2]).all()


def test_ids_identify_samples_and_are_refused_where_they_cannot():
    x, _ = data(20)
    with pytest.raises(ValueError, match="ids has 3 entries for 20 samples"):
        measured(x, ids=[1, 2, 3])
    with pytest.raises(ValueError, match="ids must all be different, but 1 of 20 repeat an earlier one"):
        measured(x, ids=[*range(19), 0])
    with pytest.raises(ValueError, match=r"ids must be one integer or string per sample, got float64"):
        measured(x, ids=np.linspace(0, 1, 20))
    with pytest.raises(ValueError, match=r"clusters has 5 entries, but the stream yielded more samples"):
        measured([x], clusters=np.arange(5))


def test_the_provenance_says_what_identifies_samples_and_how_they_were_walked():
    x, y = data(20)
    known = [measured(x), measured(Items(x, y)), measured(Items(x, y), ids=np.arange(20)), measured([x])]
    found = [(r.provenance["data"]["keys"], r.provenance["data"]["order"]) for r in known]
    assert found == [("content", "rank"), ("index", "rank"), ("ids", "rank"), ("index", "arrival")]


def test_the_published_windows_follow_the_order_of_the_file_in_every_class():
    x, y = data(400)  # a window holds 64 samples of a class
    nv = iv.NormalizedVariance(preset="quiroga2019")
    whole = measured((x, y), measures=[nv], by_class=True)
    alone = measured(x[y == 1], measures=[nv])
    rows = whole.table.query("stratum == '1'").reset_index(drop=True)
    assert rows.value.notna().all()
    np.testing.assert_allclose(rows.value, alone.table.value, rtol=1e-9)
    with pytest.raises(ValueError, match="follows the order of the samples in the data"):
        measured([x], measures=[nv])


def test_the_published_protocol_says_how_many_samples_it_uses_if_these_are_too_few():
    x, _ = data(100)
    nv, every = (iv.NormalizedVariance(preset=name) for name in ("quiroga2019", "quiroga2019_full"))
    found = measured(x, measures=[nv])
    assert found.table.samples.tolist() == [64] * len(found.table)
    assert found.table.ci_low.isna().all()
    assert set(found.notes.note.str.partition("; ")[2]) == {
        "the protocol uses only whole batches of 64 samples, here the first 64; "
        'preset="quiroga2019_full" uses all samples'
    }
    assert measured(x, measures=[every]).table.ci_low.notna().all()
    assert measured(x[:64], measures=[nv]).table.ci_low.notna().all()


def test_sorted_streams_lose_their_partner_nulls_and_say_why():
    x, y = data()
    place = torch.argsort(y, stable=True)
    measures = ["equivariance_deviation", "normalized_variance"]
    found = measured([(x[place], y[place])], measures=measures)
    table = found.table.set_index("measure")
    assert table.loc["equivariance_deviation.latent", "null"].isna().all()
    assert table.loc["equivariance_deviation.latent.to_null", "value"].isna().all()
    assert table.loc["normalized_variance", "null"].notna().all()
    assert "labels of this stream are sorted" in found.notes.note.iloc[0]
    mixed = measured([(x, y)], measures=measures)
    assert mixed.table.query("measure.str.endswith('to_null')").value.notna().all()


def test_sorted_streams_are_not_stopped_early_and_unlabelled_ones_are_cautioned():
    x, y = data(400)
    place = torch.argsort(y, stable=True)
    stopped = measured([(x[place], y[place])], measures=["normalized_variance"], width=10.0)
    assert stopped.provenance["data"]["samples"] == 400
    assert "stream are sorted" in stopped.provenance["notes"][-1]
    notes = " ".join(measured([x], measures=["equivariance_deviation"]).provenance["notes"])
    assert "without labels, this cannot be checked" in notes


def test_arrays_are_read_however_they_lie_in_memory():
    x, _ = data(9)
    swapped, turned = x.numpy().astype(">f8"), x.numpy()[::-1].copy()[::-1]
    for form in (np.asfortranarray(x.numpy()), swapped, turned):
        source = as_source(form)
        assert torch.equal(source.inputs, x)
        assert source.order.keys.tolist() == as_source(x).order.keys.tolist()


def test_ids_in_bytes_are_the_ids_in_words():
    words = np.array([f"é{k}" for k in range(5)])
    coded = np.char.encode(words, "utf-8")
    assert given_keys(coded, 5, name="ids").tolist() == given_keys(words, 5, name="ids").tolist()
