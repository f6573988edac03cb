"""Classes that are walked in turn, and memory that does not grow with their number."""

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

import invariscope as iv
from invariscope.engine import assemble, budget, plan, turns
from invariscope.results.rows import PLACE

SAMPLES, CLASSES = 630, 3


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(5)
    parts = nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(54, 5)
    return nn.Sequential(*parts).double().eval()


@pytest.fixture(scope="module")
def images():
    generator = torch.Generator().manual_seed(2)
    offsets = labels_of(CLASSES).double()
    return torch.rand(SAMPLES, 1, 6, 6, generator=generator, dtype=torch.float64) + offsets.view(-1, 1, 1, 1)


def labels_of(classes, samples=SAMPLES):
    return torch.arange(samples) * 7 % classes


def measured(model, data, **options):
    given = {"precision": "float64", "progress": False, "by_class": True, "batch_size": 40} | options
    return iv.measure(model, data, iv.QuarterTurns(), **given)


def walk_in_turn(monkeypatch, plenty=0):
    """Let classes be walked in turn if their sums need more than `plenty`."""
    monkeypatch.setattr(budget, "PLENTY", plenty)
    monkeypatch.setattr(budget, "FEW_CLASSES", 0)


def in_turn(monkeypatch, model, data, plenty=0, **options):
    walk_in_turn(monkeypatch, plenty)
    found = measured(model, data, **options)
    monkeypatch.undo()
    assert any(note.startswith("classes were walked in turn") for note in found.provenance["notes"])
    return found


def assert_same(found, expected):
    numbers = expected.table.drop(columns="note")
    pd.testing.assert_frame_equal(found.table.drop(columns="note"), numbers, rtol=1e-11, atol=1e-13)
    assert (found.table.note == "").tolist() == (expected.table.note == "").tolist()
    pd.testing.assert_frame_equal(found.curves, expected.curves, rtol=1e-11, atol=1e-13)
    assert list(found.maps) == list(expected.maps)
    for key, array in expected.maps.items():
        np.testing.assert_allclose(found.maps[key], array, rtol=1e-11, atol=1e-13)


UNPAIRED = [
    ["nv", "prediction", "consistency"],
    [iv.NormalizedVariance(spread="std", pool="after")],
    ["anova", "nd"],
    ["goodfellow", "information"],
]


@pytest.mark.parametrize("measures", UNPAIRED)
def test_classes_in_turn_have_the_numbers_of_all_at_once(model, images, measures, monkeypatch):
    data = images, labels_of(CLASSES)
    expected = measured(model, data, measures=measures)
    assert not any("walked in turn" in note for note in expected.provenance["notes"])
    assert_same(in_turn(monkeypatch, model, data, measures=measures), expected)


def test_drawn_units_and_layers_that_repeat_others_are_the_same_in_turn(images, monkeypatch):
    torch.manual_seed(7)
    model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.Identity(), nn.Flatten(), nn.Linear(128, 3)).double().eval()
    data, options = (images, labels_of(CLASSES)), {"units": 30, "rows": "all"}
    options.pop("rows")
    assert_same(in_turn(monkeypatch, model, data, **options), measured(model, data, **options))


def test_many_classes_take_turns_by_default_and_few_do_not(model, images, monkeypatch):
    monkeypatch.setattr(budget, "PLENTY", 0)
    for classes, note in ((10, False), (100, True)):
        notes = measured(model, (images, labels_of(classes))).provenance["notes"]
        assert any("in turn, 19 at a time" in text for text in notes) == note


def test_several_classes_per_turn_have_the_numbers_of_all_at_once(model, images, monkeypatch):
    data = images, labels_of(5)
    expected, found = measured(model, data), in_turn(monkeypatch, model, data, plenty=1_150_000)
    assert any("in turn, 2 at a time" in note for note in found.provenance["notes"])
    assert_same(found, expected)


def test_a_layer_that_some_classes_lack_and_that_does_not_fit_is_the_same_in_turn(model, images, monkeypatch):
    broken = images.clone()
    broken[(labels_of(5) == 0) | (labels_of(5) == 3)] = torch.inf
    data, options = (broken, labels_of(5)), {"nonfinite": "skip"}
    expected = measured(model, data, **options)
    assert_same(in_turn(monkeypatch, model, data, plenty=1_150_000, **options), expected)


def test_small_classes_and_words_are_the_same_in_turn(model, images, monkeypatch):
    words = np.array([f"kind {n}" for n in labels_of(50).tolist()])
    words[0] = "alone"
    data = images, words
    expected, found = measured(model, data), in_turn(monkeypatch, model, data)
    assert_same(found, expected)
    told = "class alone has fewer than two samples and is left out"
    assert told in found.provenance["notes"]
    assert told in expected.provenance["notes"]


def test_intervals_of_classes_need_no_memory_for_all_of_them(model, images):
    data = images, labels_of(CLASSES)
    plenty = measured(model, data)
    forward = 4 * 40 * (2 * 6 * 36 + 36)
    found = measured(model, data, memory_gb=(3.2 * 8 * 8 * 216 * 7 + forward) / 2**30)
    assert any(note.startswith("classes were walked in turn") for note in found.provenance["notes"])
    kept = found.table.set_index(list(PLACE)).ci_low.notna()
    assert kept.any()
    assert set(found.table.stratum[kept.to_numpy()]) == {"all", "mean", "0", "1", "2"}
    both = found.table.ci_low.notna()
    np.testing.assert_allclose(found.table.ci_low[both], plenty.table.ci_low[both], rtol=1e-10)


@pytest.mark.parametrize(
    ("options", "source"),
    [
        ({"measures": "equivariance_deviation"}, tuple),
        ({"clusters": np.arange(SAMPLES) // 2}, tuple),
        ({"width": 1e-9}, tuple),
        ({}, lambda data: [(data[0][i : i + 70], data[1][i : i + 70]) for i in range(0, SAMPLES, 70)]),
    ],
)
def test_partners_clusters_and_streams_are_not_walked_by_class(model, images, options, source, monkeypatch):
    walk_in_turn(monkeypatch)
    found = measured(model, source((images, labels_of(CLASSES))), **options)
    assert not any("walked in turn" in note for note in found.provenance["notes"])


def test_a_layer_that_fails_in_a_late_class_is_left_out_of_all(images, monkeypatch):
    class Late(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.late = nn.Flatten(), nn.Linear(36, 4)

        def forward(self, x):
            x = self.first(x)
            return self.late(x) if float(x[0, 0]) < 1e3 else x

    torch.manual_seed(4)
    moved = images.clone()
    moved[623] += 1e4  # in the last class
    options = {"batch_size": 4, "unstable": "measure"}
    found = in_turn(monkeypatch, Late().double().eval(), (moved, labels_of(CLASSES)), **options)
    assert "late" not in set(found.table.layer)
    assert {"all", "0", "1", "2", "mean"} == set(found.table.stratum)


def test_states_do_not_grow_with_the_number_of_classes(model, images, monkeypatch):
    walk_in_turn(monkeypatch)
    largest = {}
    finish = turns.Turns.finish
    for classes in (30, 90):
        sizes = []

        def counted(self, run, sizes=sizes):
            states = [*run.states.values(), *run.turned.total.values()]
            sizes.append(sum(state.sums.columns.size for state in states))
            return finish(self, run)

        monkeypatch.setattr(turns.Turns, "finish", counted)
        result = measured(model, (images, labels_of(classes)))
        monkeypatch.setattr(turns.Turns, "finish", finish)
        assert len(sizes) == classes
        largest[classes] = max(sizes)
        assert len({key[2] for key in result.maps}) == (2 + classes if classes <= 32 else 2)
    assert largest[30] == largest[90]


def test_maps_of_many_classes_are_kept_on_request(model, images):
    data = images, labels_of(40)
    assert {stratum for *_, stratum, _ in measured(model, data).maps} == {"all", "mean"}
    assert len({key[2] for key in measured(model, data, class_maps=True).maps}) == 42
    few = images, labels_of(CLASSES)
    assert {key[2] for key in measured(model, few, class_maps=False).maps} == {"all", "mean"}
    with pytest.raises(ValueError, match="class_maps must be True, False or None; got 'many'"):
        measured(model, few, class_maps="many")


@pytest.mark.parametrize("measures", [["nv", "anova"], [iv.TransformationVariance(spread="std")]])
@pytest.mark.parametrize("classes", [CLASSES, 40])
def test_classes_evaluated_one_by_one_have_the_numbers_of_all_together(
    model, images, measures, classes, monkeypatch
):
    given = {"measures": measures, "floor": True}
    expected = measured(model, (images, labels_of(classes)), **given)
    monkeypatch.setattr(assemble, "MOST_AT_ONCE", 1)
    assert_same(measured(model, (images, labels_of(classes)), **given), expected)


def test_the_first_samples_of_a_class_share_a_block_if_groups_are_crossed():
    cells = np.random.default_rng(0).permutation(np.repeat(np.arange(40), 8)) * 8
    blocks = plan.by_cell(cells, plan.Strata(True, nested=False), 64)
    block_of = np.empty(len(cells), int)
    for number, samples in enumerate(blocks):
        block_of[samples] = number
    order = np.concatenate(blocks)
    for cell in np.unique(cells):
        first = order[cells[order] == cell][:5]
        assert len(set(block_of[first])) == 1
