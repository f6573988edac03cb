"""Labels are read by one rule, whatever they come in, and words keep their identity in any order."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

import invariscope as iv
from invariscope.data.labels import Labelling, class_names, read_targets, word_number
from invariscope.data.sources import as_source

pytestmark = pytest.mark.usefixtures("seeded")

NAMES = ["gnu", "cat", "emu", "dog", "fox"]  # neither sorted nor in the order of meeting
N = 80


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


Y = torch.randint(0, 5, (N,), generator=generator())
X = F.one_hot(Y, 5).float() * 9 + torch.rand(N, 5, generator=generator(1))
WORDS = [NAMES[k] for k in Y]
SHIFTS = [lambda v: v, lambda v: v + 1, lambda v: v * torch.tensor([1.0, 1.5, 1.0, 1.0, 0.8])]
torch.manual_seed(0)
MIXED = nn.Sequential(nn.Linear(5, 5), nn.Tanh())
with torch.no_grad():
    MIXED[0].weight.copy_(0.1 * torch.eye(5) + 0.05 * torch.randn(5, 5, generator=generator(2)))
    MIXED[0].bias.zero_()


class Items(Dataset):
    def __init__(self, x, y, **named):
        self.x, self.y = x, y
        self.__dict__ |= named

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Plain:
    """A map-style dataset that torch's DataLoader accepts, although it is no Dataset."""

    def __init__(self, x, y):
        self.x, self.y = x, y

    def __len__(self):
        return len(self.x)

    def __getitem__(self, index):
        return self.x[index], self.y[index]


class Stream(IterableDataset):
    def __init__(self, x, y):
        self.pairs = list(zip(x, y, strict=True))

    def __iter__(self):
        return iter(self.pairs)


FORMS = {
    "tuple": lambda x, y: (x, y),
    "dataset": Items,
    "plain": Plain,
    "loader": lambda x, y: DataLoader(Items(x, y), 7),
    "stream": Stream,
    "batches": lambda x, y: [(x[lo : lo + 9], y[lo : lo + 9]) for lo in range(0, len(x), 9)],
}


def measured(data, model=MIXED, transform=SHIFTS, **options):
    return iv.measure(model, data, transform, **({"progress": False} | options))


def accuracy(result):
    (row,) = [row["value"] for row in result.rows if row["measure"] == "prediction.accuracy"]
    return row


def rows(result):
    """The values, by what they are of."""
    return {(r["measure"], r["layer"], r["stratum"]): (r["value"], r["samples"]) for r in result.rows}


def same(found, expected, rtol=1e-6):
    assert list(found) == list(expected)
    np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=rtol)


# Words


@pytest.mark.parametrize("form", FORMS)
def test_words_named_in_the_order_of_the_outputs_are_right_in_every_form(form):
    data = FORMS[form](X, WORDS)
    assert accuracy(measured(data, nn.Identity(), measures=["prediction"], classes=NAMES)) == 1.0


UNKNOWN_ORDER = r"words \('cat', 'dog', .*classes=\[\.\.\.\]"


@pytest.mark.parametrize("form", FORMS)
def test_words_without_an_order_are_not_compared_with_outputs(form):
    with pytest.raises(ValueError, match=UNKNOWN_ORDER):
        measured(FORMS[form](X, WORDS), measures=["twirl"])


@pytest.mark.parametrize("form", FORMS)
def test_words_without_an_order_leave_out_the_accuracy_and_say_so(form):
    found = measured(FORMS[form](X, WORDS), nn.Identity(), measures=["prediction"])
    known = measured(FORMS[form](X, WORDS), nn.Identity(), measures=["prediction"], classes=NAMES)
    flips = [row["value"] for row in known.rows if row["measure"] == "prediction.flips"]
    assert [(row["measure"], row["value"]) for row in found.rows] == [("prediction.flips", *flips)]
    (note,) = [note for note in found.provenance["notes"] if note.startswith("no accuracy: ")]
    assert re.search(UNKNOWN_ORDER, note)
    assert not any(note.startswith("no accuracy") for note in known.provenance["notes"])


def test_words_give_the_numbers_of_integer_labels_in_every_form_and_order():
    wanted = {
        "measures": [iv.NormalizedVariance(min_firing=0), "prediction", "twirl"],
        "by_class": True,
        "classes": NAMES,
        "precision": "float64",
    }
    expected = rows(measured((X, Y), **wanted))
    for form in FORMS.values():
        same(rows(measured(form(X, WORDS), **wanted)), expected)


def test_strata_do_not_depend_on_the_order_in_which_words_are_met():
    backwards = torch.arange(N - 1, -1, -1)
    wanted = {"by_class": True, "measures": ["transformation_variance"], "precision": "float64"}
    expected = measured((X, WORDS), **wanted)
    strata = list(dict.fromkeys(row["stratum"] for row in expected.rows))
    assert strata == ["all", *sorted(NAMES), "mean"]
    for form in FORMS.values():
        found = measured(form(X[backwards], WORDS[::-1]), **wanted)
        same(rows(found), rows(expected))
        assert list(found.maps) == list(expected.maps)
        for key, array in found.maps.items():
            np.testing.assert_allclose(array, expected.maps[key], rtol=1e-6)
        assert found.provenance["data"]["classes"] == sorted(NAMES)
        assert not found.provenance["data"]["classes_ordered"]


def test_words_are_enough_for_information_about_the_class():
    wanted = iv.Information(permutations=0)
    found, expected = (rows(measured((X, y), measures=[wanted])) for y in (WORDS, Y))
    same(found, expected)
    assert found["information.label", "0", "all"][0] > 0.1


def test_integer_labels_take_classes_as_names_of_the_strata():
    plain, named = (
        measured((X, Y), by_class=True, measures=["prediction", "anova"], classes=names)
        for names in (None, NAMES)
    )
    strata = dict(zip(map(str, range(5)), NAMES, strict=True))
    renamed = {(m, layer, strata.get(s, s)): value for (m, layer, s), value in rows(plain).items()}
    same(rows(named), renamed, rtol=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_classes_must_name_every_label(form):
    with pytest.raises(ValueError, match=r"unknown class 'gnu'\. Closest: 'gnus'"):
        measured(FORMS[form](X, WORDS), classes=["gnus", *NAMES[1:]])
    with pytest.raises(ValueError, match=r"classes= names 3 classes .* labels run to 4"):
        measured(FORMS[form](X, Y.tolist()), classes=NAMES[:3])


def test_words_need_the_name_of_every_output():
    with pytest.raises(ValueError, match="6 class names were given for a model with 5 outputs"):
        measured((X, WORDS), measures=["prediction"], classes=[*NAMES, "yak"])


def test_words_are_not_numbers_to_be_predicted():
    with pytest.raises(ValueError, match="needs a number to predict for each sample; the labels are strings"):
        measured((X, WORDS), nn.Linear(5, 1), measures=[iv.Twirl(targets="values")], classes=NAMES)


@pytest.mark.parametrize(
    "classes", ["cat", 3, [], [1, 2], ["cat", "dog", "cat"], {"cat": 1, "dog": 0}, {"cat"}]
)
def test_classes_are_distinct_names_in_an_order(classes):
    with pytest.raises(ValueError, match="classes="):
        measured((X, Y), classes=classes)


@pytest.mark.parametrize(
    "data",
    [
        Items(X, WORDS, classes=NAMES),
        Items(X, WORDS, class_to_idx={name: k for k, name in enumerate(NAMES)}),
        DataLoader(Subset(Items(X, WORDS, classes=NAMES), range(N)), 16),
    ],
)
def test_a_dataset_that_names_its_classes_gives_their_order(data):
    result = measured(data, nn.Identity(), measures=["prediction"], by_class=True)
    assert {row["value"] for row in result.rows if row["measure"] == "prediction.accuracy"} == {1.0}
    assert result.provenance["data"]["classes"] == NAMES
    assert [s for s in dict.fromkeys(r["stratum"] for r in result.rows) if s in NAMES] == NAMES


def test_curves_compare_words_by_their_names_and_have_no_accuracy_without():
    images = X.view(N, 1, 1, 5).repeat(1, 1, 8, 2)[:16]
    model = nn.Sequential(nn.Flatten(), nn.Linear(80, 5))
    options = {"radii": [0.1, 0.2], "progress": False}
    found, expected = (
        iv.stability_curve(model, (images, y[:16]), **options, **named)
        for y, named in ((WORDS, {"classes": NAMES}), (Y, {}))
    )
    pick = lambda result: [p["value"] for p in result.curve_rows if "accuracy" in p["measure"]]  # noqa: E731
    assert pick(found) == pick(expected) != []
    without = iv.stability_curve(model, (images, WORDS[:16]), **options)
    assert pick(without) == []
    assert any(note.startswith("no accuracy: the labels are words") for note in without.provenance["notes"])


def test_a_checkpoint_of_other_classes_is_not_resumed(tmp_path, monkeypatch):
    monkeypatch.setattr("invariscope.engine.checkpoint.Checkpoint.due", lambda self: True)
    wanted = {"measures": ["prediction"], "checkpoint": tmp_path / "sums", "batch_size": 15}

    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        measured((X, WORDS), nn.Identity(), classes=NAMES, **wanted | {"progress": stop})
    with pytest.raises(ValueError, match="belongs to another measurement"):
        measured((X, WORDS), nn.Identity(), classes=sorted(NAMES), **wanted)
    assert accuracy(measured((X, WORDS), nn.Identity(), classes=NAMES, **wanted)) == 1.0


# Targets that are not labels

IMAGES = torch.rand(16, 1, 6, 6, generator=generator(3))
CONV = nn.Conv2d(1, 1, 3, padding=1)
AS_MASKS = {
    "tuple": lambda x, y: (x, y),
    "dataset": TensorDataset,
    "loader": lambda x, y: DataLoader(TensorDataset(x, y), 4),
    "batches": lambda x, y: [[x[:8], y[:8]], [x[8:], y[8:]]],
}
TARGETS = {
    "masks": ((IMAGES > 0.5).float(), r"float32 of shape \((16|n), 1, 6, 6\)"),
    "column": (torch.arange(16)[:, None], r"int64 of shape \((16|n), 1\): use labels\[:, 0\]"),
    "one-hot": (F.one_hot(torch.arange(16) % 3), r"\((16|n), 3\), which is one-hot: use labels.argmax\(1\)"),
    "vectors": (torch.rand(16, 2, generator=generator(4)), r"float32 of shape \((16|n), 2\)"),
}


@pytest.mark.parametrize("form", AS_MASKS)
@pytest.mark.parametrize("kind", TARGETS)
def test_targets_that_are_not_labels_are_set_aside_until_labels_are_needed(form, kind):
    targets, said = TARGETS[kind]
    data = AS_MASKS[form](IMAGES, targets)
    expected, found = (measured(d, CONV, iv.QuarterTurns()) for d in (IMAGES, data))
    assert found.rows[0]["samples"] == 16
    assert found.rows[0]["value"] == pytest.approx(expected.rows[0]["value"], rel=1e-6)
    assert any("the targets were not used" in note for note in found.provenance["notes"])
    message = f"labels must be one integer per sample.*got .*{said}"
    classifier = nn.Sequential(nn.Flatten(), nn.Linear(36, 3))
    for options in ({"by_class": True}, {"measures": ["twirl"]}, {"measures": ["prediction"]}):
        with pytest.raises(ValueError, match=message):
            measured(data, classifier, iv.QuarterTurns(), **options)


def test_targets_of_any_kind_are_set_aside():
    boxes = [{"box": k} for k in range(16)]
    ragged = [torch.zeros(k % 3 + 1, 4) for k in range(16)]
    for data in (Items(IMAGES, boxes), Items(IMAGES, ragged), (IMAGES, ragged), (IMAGES, boxes)):
        assert measured(data, CONV, iv.QuarterTurns()).rows[0]["samples"] == 16
        with pytest.raises(ValueError, match="one integer per sample; got"):
            measured(data, CONV, iv.QuarterTurns(), by_class=True)


def test_numbers_to_be_predicted_are_set_aside_until_labels_are_needed():
    numbers = torch.rand(16, generator=generator(5))
    result = measured((IMAGES, numbers), CONV, iv.QuarterTurns())
    assert "the targets were not used" in " ".join(result.provenance["notes"])
    whole = torch.arange(16).float()
    with pytest.raises(ValueError, match=r"got whole numbers as float32: use labels.long\(\)"):
        measured((IMAGES, whole), CONV, iv.QuarterTurns(), by_class=True)


def test_missing_numbers_are_refused_where_numbers_are_compared():
    y = torch.rand(N, generator=generator(6))
    y[3] = float("nan")
    model, wanted = nn.Linear(5, 1), [iv.Twirl(targets="values")]
    with pytest.raises(ValueError, match="1 of 80 numbers to predict are NaN"):
        measured((X, y), model, measures=wanted)
    with pytest.raises(ValueError, match=r"1 of 80 are missing \(NaN\)"):
        measured((X, y), by_class=True)


@pytest.mark.parametrize("form", ["tuple", "dataset"])
@pytest.mark.parametrize(
    "options", [{"by_class": True}, {"measures": ["prediction"]}, {"measures": ["information"]}]
)
def test_negative_labels_are_not_classes(form, options):
    y = Y.clone()
    y[:12] = -1
    data = FORMS[form](X, y)
    with pytest.raises(ValueError, match=r"are negative \(the lowest is -1\)"):
        measured(data, **options)
    assert measured(data).rows[0]["samples"] == N


@pytest.mark.parametrize("missing", [None, float("nan")])
def test_labels_missing_for_some_samples_are_refused(missing):
    words = [missing, *WORDS[1:]]
    with pytest.raises(ValueError, match=r"missing .* for 1 of 80 samples"):
        measured((X, words))
    with pytest.raises(ValueError, match=r"some batches come with labels and some without|of two kinds"):
        measured(Items(X, words))


def test_masked_labels_are_missing():
    with pytest.raises(ValueError, match="masked for 1 of 80 samples"):
        measured((X, np.ma.masked_array(Y.numpy(), mask=np.arange(N) == 3)))


def test_no_label_at_all_is_not_a_label():
    for data in ((X, None), (X, [None] * N), Items(X, [None] * N)):
        assert measured(data).provenance["data"]["labelled"] is False


def test_labels_of_two_kinds_are_refused():
    with pytest.raises(ValueError, match=r"labels are of two kinds: integers \(int64\) and words"):
        measured(Items(X, [*Y.tolist()[:40], *WORDS[40:]]))
    with pytest.raises(ValueError, match="got int and str objects"):
        measured((X, [*Y.tolist()[:40], *WORDS[40:]]), by_class=True)


@pytest.mark.parametrize("labels", [Y, Y.numpy(), Y.tolist(), WORDS])
def test_a_list_of_inputs_and_labels_asks_for_a_tuple(labels):
    with pytest.raises(ValueError, match=r"a list is read as batches of inputs; pass \(inputs, labels\)"):
        measured([X, labels])


def test_a_list_of_two_batches_is_one():
    assert measured([X[:40], X[40:]]).rows[0]["samples"] == N
    with pytest.raises(ValueError, match=r"different shapes.*as a tuple"):
        measured([X, torch.eye(N)])


def test_two_batches_in_a_tuple_are_asked_for_as_a_list():
    with pytest.raises(ValueError, match=r"80 inputs came with 20 labels.*give batches of inputs as a list"):
        measured((X, X[:20]))
    with pytest.raises(ValueError, match="one integer per sample; got a single int for all samples: 3"):
        measured((X, 3))


# The mechanism


def test_words_are_told_from_numbers_whatever_they_come_in():
    kinds = {
        "integers": [
            [1, 2],
            np.array([True, False]),
            torch.tensor([1, 2], dtype=torch.uint8),
            np.array([1, 2], object),
            np.ones(2, ">i2"),
        ],
        "numbers": [[1.0, 2], np.array([1.0, np.nan]), torch.ones(2).bfloat16(), np.ones(2, ">f8")],
        "words": [
            ["a", "b"],
            ("a", "b"),
            np.array(["a", "b"]),
            np.array([b"a", b"b"]),
            np.array(["a", "b"], object),
        ],
        "other targets": [
            torch.ones(2, 1),
            {"a": 1},
            [[1], [1, 2]],
            np.ones(2) * 1j,
            ["a", 1],
            np.array(["2020-01-01"] * 2, "datetime64[D]"),
        ],
        "none": [None, [None, None]],
    }
    for kind, examples in kinds.items():
        assert [read_targets(example).kind for example in examples] == [kind] * len(examples)
    assert read_targets(np.array([b"a", b"b"])).words == read_targets(["b", "a"]).words


def test_a_word_has_the_same_number_wherever_it_is_met():
    first, second = Labelling(), Labelling()
    a, b = first.read(["cat", "dog"], 2), second.read(["dog", "cat", "dog"], 3)
    assert a.tolist() == b[:2].flip(0).tolist() == [word_number("cat"), word_number("dog")]
    assert first.name(int(a[0])) == "cat"
    assert first.ranked(a.tolist()) == first.ranked(a.tolist()[::-1]) == a.tolist()
    named = first.named(["dog", "cat"])
    assert named.numbers(a).tolist() == [1, 0]
    assert named.ranked(a.tolist()) == a.tolist()[::-1]
    assert (first.classes, named.classes) == (("cat", "dog"), ("dog", "cat"))


def test_a_subset_keeps_what_its_labels_mean():
    for data in (Items(X, WORDS), (X, WORDS), DataLoader(Items(X, WORDS), 8), Stream(X, WORDS)):
        part = as_source(data, samples=20)
        (window,) = part.windows()
        meant = [part.labelling.name(int(label)) for label in window.labels]
        assert meant == [WORDS[k] for k in window.indices]


def test_class_names_are_found_in_what_is_wrapped_and_made_distinct():
    data = Items(X, Y, classes=[("crane",), ("maillot", "tank suit"), ("crane",)])
    assert class_names(DataLoader(Subset(data, [0]))) == ("crane (0)", "maillot, tank suit", "crane (2)")
    assert class_names(Items(X, Y, classes=5)) == class_names(X) == ()
    assert class_names(Items(X, Y, class_to_idx={"b": 0, "a": 1})) == ("b", "a")
