"""Odd samples, labels, masks and indices: what they give, and what their errors say."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import nn
from toy_inputs import GraphModel, TextModel, graphs, packed, texts, tokenized

import invariscope as iv
from invariscope.common.samples import sample_digest
from invariscope.data.order import Identities

quiet = partial(iv.measure, progress=False)
SHOUTS = iv.Elements([str, str.upper], labels=["as it is", "upper case"], identity=0)
MASKED = {"mixer": iv.Pool("mean", mask="attention_mask")}
DOUBLED = iv.Elements([lambda g: g, lambda g: {**g, "x": 2 * g["x"]}], labels=["one", "two"], identity=0)
NODES = {"conv*": iv.Pool("mean", index="batch")}


class TwoInputs(nn.Module):
    """An image and a vector."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.linear, self.head = nn.Conv2d(3, 2, 3), nn.Linear(4, 3), nn.Linear(35, 4)

    def forward(self, image, vector):
        return self.head(torch.cat([self.conv(image).relu().flatten(1), self.linear(vector)], 1))


def pairs(count: int = 16) -> list[dict[str, torch.Tensor]]:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(count, 3, 6, 6, generator=generator)
    return [{"image": x, "vector": torch.randn(4, generator=generator)} for x in images]


TURNS = iv.On(iv.QuarterTurns(), "image")


def values(result: iv.Result) -> dict[str, float]:
    return {f"{row['measure']} {row['layer']}": row["value"] for row in result.rows}


class Named(NamedTuple):
    """A sample whose parts have names and numbers."""

    image: torch.Tensor
    vector: torch.Tensor
    source: str


@dataclass(frozen=True)
class Record:
    """A sample of any class."""

    image: torch.Tensor
    vector: torch.Tensor


class Listed(torch.utils.data.Dataset):
    """A dataset of given items."""

    def __init__(self, items: list) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, place: int):
        return self.items[place]


@pytest.mark.parametrize("labels", [[k % 3 for k in range(16)], ["abc"[k % 3] for k in range(16)]])
@pytest.mark.parametrize(
    "form",
    [
        lambda rows, y: list(zip(rows, y, strict=True)),
        lambda rows, y: Listed(list(zip(rows, y, strict=True))),
        lambda rows, y: (rows, y),
        lambda rows, y: ({name: torch.stack([r[name] for r in rows]) for name in rows[0]}, y),
    ],
    ids=["list", "dataset", "pair", "pair of columns"],
)
def test_labels_beside_mappings_are_found_in_every_form(form, labels):
    result = quiet(
        TwoInputs(), form(pairs(), labels), TURNS, by_class=True, measures="transformation_variance"
    )
    given = quiet(
        TwoInputs(), pairs(), TURNS, by_class=True, labels=labels, measures="transformation_variance"
    )
    found, expected = ({(r["stratum"], r["layer"]): r["value"] for r in x.rows} for x in (result, given))
    assert found == pytest.approx(expected)
    assert len({stratum for stratum, _ in found}) == 5


@pytest.mark.parametrize("precision", ["bf16", "float64"])
def test_integers_stay_integers_at_every_precision(precision):
    seen = []

    def call(model, batch):
        seen.append({name: tensor.dtype for name, tensor in batch.items()})
        return model(**batch)

    measured = partial(quiet, GraphModel(), graphs(), DOUBLED, preprocess=packed, labels="y", pool=NODES)
    result, exact = measured(precision=precision, call=call), measured()
    assert values(result) == pytest.approx(values(exact), rel=0.05)
    assert {kinds[name] for kinds in seen for name in ("edge_index", "batch")} == {torch.int64}
    assert {"bf16": torch.bfloat16, "float64": torch.float64}[precision] in {kinds["x"] for kinds in seen}


@pytest.mark.parametrize("kind", ["mean", "max"])
def test_a_sample_without_rows_has_no_mean_and_no_maximum(kind):
    def without(given):
        batch = tokenized(given)
        empty = torch.tensor([text.lower().endswith(" 3") for text in given])
        return batch | {"own": batch["attention_mask"] * ~empty[:, None]}

    options = {"preprocess": without, "call": lambda model, b: model(b["input_ids"], b["attention_mask"])}
    with pytest.raises(ValueError, match=r"'mixer'.*NaN.*sample 3"):
        quiet(TextModel(), texts(), SHOUTS, pool={"mixer": iv.Pool(kind, mask="own")}, **options)


def test_a_mask_of_other_values_than_0_and_1_is_refused():
    def additive(given):
        batch = tokenized(given)
        return batch | {"own": (batch["attention_mask"].float() - 1) * 1e4}

    options = {"preprocess": additive, "call": lambda model, b: model(b["input_ids"], b["attention_mask"])}
    with pytest.raises(ValueError, match=r"'own' must hold 1 for entries that count .* from -10000 to"):
        quiet(TextModel(), texts(), SHOUTS, pool={"mixer": iv.Pool("mean", mask="own")}, **options)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda index: index.flip(0), "must be sorted: the rows of sample 0 first"),
        (lambda index: index + 1, "must run from 0 to 2, one number per sample; it runs from 1 to 3"),
        (lambda index: index.bool(), "must be a tensor of integers, one per row; got torch.bool"),
    ],
)
def test_an_index_that_is_none_is_refused(change, words):
    def indexed(given):
        batch = packed(given)
        return batch | {"own": change(batch["batch"])}

    with pytest.raises(ValueError, match=words):
        quiet(GraphModel(), graphs(), DOUBLED, preprocess=indexed, labels="y",
              call=lambda model, b: model(b["x"], b["edge_index"], b["batch"]),
              pool={"conv*": iv.Pool("mean", index="own")})  # fmt: skip


def test_a_pool_for_layers_that_do_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"pool: no layer matches 'mixxer' in TextModel\. Closest: 'mixer'"):
        quiet(TextModel(), texts(), SHOUTS, preprocess=tokenized, pool={"mixxer": MASKED["mixer"]})


ROWS = {"layers": "conv*", "pool": {"conv*": iv.Rows(index="batch")}, "preprocess": packed, "labels": "y"}
DEVIATION = iv.EquivarianceDeviation(distance="l2")


def test_a_null_that_rests_on_few_samples_says_so_in_its_row():
    swaps = iv.On(iv.RandomPermutations(2), x="row")
    few, many = (quiet(GraphModel(), graphs(n), swaps, measures=[DEVIATION], **ROWS) for n in (72, 600))
    note = next(note for note in few.provenance["notes"] if "leave out" in note)
    lost = int(note.split("leave out ")[1].split()[0])
    paired = f"the null uses only the {72 - lost} samples whose partner has the same number of rows"
    assert few.rows[0].note == paired
    assert not any("the null uses only" in row.note for row in many.rows)
    alone = [next(g for g in graphs() if len(g["x"]) == nodes) for nodes in (3, 7)]
    none = quiet(GraphModel(), alone, swaps, measures=[DEVIATION], **ROWS)
    assert math.isnan(none.rows[0].null)
    assert "no null: no sample has a partner" in none.rows[0].note


def test_samples_without_a_partner_of_their_size_are_counted():
    swaps = iv.On(iv.RandomPermutations(2), x="row")
    result = quiet(GraphModel(), graphs(), swaps, measures=[DEVIATION], **ROWS)

    text = "whose partners have a different number of rows"
    notes = [note for note in result.provenance["notes"] if text in note]
    assert len(notes) == 2
    assert 0 < int(notes[0].split("leave out ")[1].split()[0]) < 72
    equal = [g for g in graphs(200) if len(g["x"]) == 4]
    result = quiet(GraphModel(), equal, swaps, measures=[DEVIATION], **ROWS)
    assert not [note for note in result.provenance["notes"] if "rows" in note]


def test_samples_whose_elements_disagree_in_rows_are_counted_as_such():
    def shorter(graph):
        last = len(graph["x"]) - 1
        return {**graph, "x": graph["x"][:-1], "edge_index": graph["edge_index"].clamp(max=last - 1)}

    drops = iv.Elements(
        [lambda g: g, lambda g: g if len(g["x"]) % 2 else shorter(g)], labels=["all", "fewer"]
    )
    result = quiet(GraphModel(), graphs(), drops, measures=[DEVIATION], **ROWS)
    count = sum(len(g["x"]) % 2 == 0 for g in graphs())
    notes = " ".join(result.provenance["notes"])
    assert f"layer conv1: {count} of 72 samples are left out; they have no rows, or numbers" in notes
    assert "non-finite" not in notes


def test_functions_of_fields_may_work_in_place():
    rows = pairs()
    before = [row["image"].clone() for row in rows]
    dark = iv.On(iv.QuarterTurns(), image=lambda field, element: field.mul_(1 - 0.1 * element))
    quiet(TwoInputs(), rows, dark)
    assert all(torch.equal(row["image"], image) for row, image in zip(rows, before, strict=True))


@pytest.mark.parametrize(
    ("data", "transform", "error", "words"),
    [
        (pairs(), iv.On(iv.QuarterTurns(), image=lambda f, k: f[9]), ValueError, "'image'.*element 0 with"),
        ([{"image": torch.zeros(6, 6, 3, dtype=torch.uint8)}] * 4, TURNS, TypeError, "channels to the front"),
        ([{"photo": 1}] * 4, TURNS, ValueError, r"^unknown field 'image'"),
        ({}, TURNS, ValueError, "empty mapping"),
        (pairs(1), TURNS, ValueError, "^got 1 sample: "),
        ({"image": torch.zeros(4, 3, 6, 6), "vector": torch.zeros(3, 4)}, TURNS, ValueError, "lengths"),
        ([(row["image"], row["vector"]) for row in pairs()], TURNS, ValueError, "several inputs as mappings"),
        (torch.zeros(4, 3, 6, 6), TURNS, TypeError, "several inputs as mappings"),
        ([torch.zeros(3, 3 + k % 2) for k in range(4)], TURNS, ValueError, "Give samples of different sizes"),
    ],
)  # fmt: skip
def test_odd_samples_are_refused_with_what_to_do(data, transform, error, words):
    with pytest.raises(error, match=words):
        quiet(TwoInputs(), data, transform)


def test_an_array_of_words_is_a_list_of_texts():
    options = {"preprocess": tokenized, "pool": MASKED}
    assert values(quiet(TextModel(), np.array(texts()), SHOUTS, **options)) == pytest.approx(
        values(quiet(TextModel(), texts(), SHOUTS, **options))
    )


def test_every_value_of_a_sample_counts_for_its_key():
    image = pytest.importorskip("PIL.Image")
    one = image.fromarray(np.zeros((4, 4), np.uint8)).convert("P")
    other = one.copy()
    other.putpalette([255, 0, 0] * 256)
    array, changed = np.empty(2, object), np.empty(2, object)
    array[:], changed[:] = [np.zeros(2), 1], [np.ones(2), 1]
    for a, b in [(np.int64(1), np.int64(2)), (one, other), (Path("a"), Path("b")), (array, changed)]:
        assert sample_digest({"field": a}) != sample_digest({"field": b})
        assert sample_digest({"field": a}) == sample_digest({"field": a})


def test_chance_needs_data_that_can_be_walked_again():
    batches = ({name: torch.stack([row[name]]) for name in row} for row in pairs())
    with pytest.raises(ValueError, match="repeats=2 reads the data more than once: pass an array"):
        quiet(TwoInputs(), batches, TURNS, repeats=2)


def test_the_line_that_replays_a_broken_sample_works_for_lists():
    rows = pairs()
    with pytest.raises(iv.SymmetryError) as caught:
        iv.assert_invariant(TwoInputs(), rows, TURNS)
    line = str(caught.value).split("the input is ")[1].split("\n")[0]
    moved = eval(line, {"transform": TURNS, "inputs": rows})  # as a user would
    assert set(moved) == {"image", "vector"}
    assert not any(torch.equal(moved["image"], row["image"]) for row in rows)


@pytest.mark.parametrize("name", ["image", 0])
@pytest.mark.parametrize("make", [lambda row: Named(*row.values(), "camera"), lambda row: Record(**row)])
def test_named_tuples_and_dataclasses_have_fields(name, make):
    def batched(given):
        return {field: torch.stack([getattr(one, field) for one in given]) for field in ("image", "vector")}

    rows = [make(row) for row in pairs()]
    turns = iv.On(iv.QuarterTurns(), {name: "value"})
    if name == 0 and isinstance(rows[0], Record):
        with pytest.raises(ValueError, match=r"unknown field '0'\. Known: 'image', 'vector'"):
            quiet(TwoInputs(), rows, turns, preprocess=batched)
        return
    found = values(quiet(TwoInputs(), rows, turns, preprocess=batched))
    assert found == pytest.approx(values(quiet(TwoInputs(), pairs(), TURNS)), rel=1e-6)


@pytest.mark.parametrize("batch_size", [1, 7])
def test_rows_in_clusters_match_a_loop_over_single_graphs(batch_size):
    model, given = GraphModel().double(), [{**g, "x": g["x"].double()} for g in graphs(30)]
    swaps, ids, clusters = iv.On(iv.RandomPermutations(3), x="row"), np.arange(30), np.arange(30) // 3
    result = quiet(model, given, swaps, ids=ids, clusters=clusters, batch_size=batch_size,
                   measures=[DEVIATION], **ROWS)  # fmt: skip
    order, orbits = Identities(ids, "ids", clusters).ranked(0), swaps.orbit(given, keys=ids, seed=0)
    found: list[np.ndarray] = []
    handle = model.conv1.register_forward_hook(lambda _m, _a, out: found.append(out.detach().numpy()))
    for graph in orbits.ravel():
        model(**packed([graph]))
    handle.remove()
    responses = [found[3 * k : 3 * k + 3] for k in range(30)]
    centres = [np.mean(each, axis=0) for each in responses]
    mates = {own: order.walk[order.partners[rank]] for rank, own in enumerate(order.walk)}
    alike = [k for k in range(30) if len(centres[k]) == len(centres[mates[k]])]

    def mean_distance(pairs: list[tuple[int, int]]) -> float:
        return float(np.mean([np.linalg.norm(one - centres[b]) for a, b in pairs for one in responses[a]]))

    row = next(row for row in result.rows if row["layer"] == "conv1")
    assert row["value"] == pytest.approx(mean_distance([(k, k) for k in range(30)]), rel=1e-12)
    assert row["null"] == pytest.approx(mean_distance([(k, mates[k]) for k in alike]), rel=1e-12)
    assert 0 < len(alike) < 30
    assert f"nulls leave out {30 - len(alike)} of 30 samples" in " ".join(result.provenance["notes"])


@pytest.mark.parametrize("words", [2, 3, 5])
def test_padded_axes_are_found_even_if_other_axes_are_as_long(words):
    """The mixer has 5 units, and trial forwards are of 2 and 3 texts."""
    given = [" ".join("abcdefgh"[:words])] * 8 + ["a b c d e f g"] * 8
    result = quiet(TextModel().double(), given, SHOUTS, preprocess=tokenized, pool=MASKED, layers=["mixer"],
                   ids=np.arange(16))  # fmt: skip
    one = quiet(TextModel().double(), given, SHOUTS, preprocess=tokenized, pool=MASKED, layers=["mixer"],
                batch_size=2, ids=np.arange(16))  # fmt: skip
    assert {row["layer"] for row in result.rows} == {"mixer"}
    assert result.rows[0]["units"] == 5
    assert values(result) == pytest.approx(values(one), rel=1e-9)
