"""The atlas of pretrained models: its page is written from stored numbers, and these fit their entries."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
import torch
from benchmarks.atlas import measured, page, store
from benchmarks.atlas.declared import Case, Entry, Samples, changed, moved
from torch import nn

import invariscope as iv

RECORDS = store.read_all()
ROWS = [(name, case) for name, record in RECORDS.items() for case in record["cases"]]
NAMED = pytest.mark.parametrize("name", RECORDS)


def test_the_committed_page_is_that_of_the_stored_numbers():
    assert page.PAGE.read_text() == page.page(RECORDS)


def test_the_committed_figure_shows_every_model_and_symmetry():
    drawn = page.FIGURE.read_text()
    for name, case in ROWS:
        record = RECORDS[name]
        for text in (f"{record['model']}, {record['data']['name']}", case["symmetry"]):
            assert f">{text}<" in drawn


def test_numbers_belong_to_entries_and_there_are_ten_rows():
    assert RECORDS.keys() <= set(store.entries())
    assert len(ROWS) >= 10


def test_the_page_lists_entries_without_numbers():
    some = dict(list(RECORDS.items())[1:])
    assert page.missing(some).startswith("Declared, but not measured yet: ")
    assert f"`{next(iter(RECORDS))}`" in page.missing(some)
    assert page.missing({name: {} for name in store.entries()}) == ""


@NAMED
def test_the_stored_rows_are_those_that_the_entry_declares(name):
    entry, record = measured.entry_of(name), RECORDS[name]
    about = ("model", "does", "world", "licence", "remark")
    assert [getattr(entry, key) for key in about] == [record[key] for key in about]
    asked = [(case.symmetry, case.question) for case in entry.cases]
    assert [(symmetry, q.name, q.label, q.layer) for symmetry, q in asked] == [
        tuple(case[key] for key in ("symmetry", "question", "label", "layer")) for case in record["cases"]
    ]


@NAMED
def test_a_hash_stands_for_weights_data_transform_and_measure(name):
    record = RECORDS[name]
    for case in record["cases"]:
        assert case["hash"] == store.digest_of_row(record["weights"], record["data"]["digest"], case)
    found = [case["hash"] for _, case in ROWS]
    assert len(set(found)) == len(found)


@NAMED
def test_few_clusters_have_no_interval_and_the_page_says_why(name):
    for case in RECORDS[name]["cases"]:
        if case["clusters"] < measured.LEAST_CLUSTERS:
            assert case["ci_low"] is case["ci_high"] is None
            assert case["note"] == measured.TOO_FEW
        assert case["note"] or case["ci_low"] <= case["ci_high"]


def test_the_table_marks_a_row_without_interval_and_explains_it():
    row = {"question": "moved", "value": 0.25, "ci_low": None, "ci_high": None, "null": 1.0, "floor": None}
    row |= {"symmetry": "turns", "layers": [], "note": "no interval: why", "hash": "0"}
    written = page.table([row])
    assert "| turns | 0.250\u00a0<sup>a</sup> | 1.000 | – | `0` |" in written
    assert written.endswith("<sup>a</sup> No interval: why.")


def test_a_caption_counts_clusters_if_samples_belong_together():
    data = {"name": "crops", "samples": 6, "clusters": 3, "cluster": "photograph"}
    record = {"model": "One", "does": "faces", "data": data, "cases": [{"question": "moved"}] * 2}
    assert page.caption(record) == "**One** (faces) on 6 crops (3 photographs), measure: *moved*"


@pytest.mark.parametrize(
    ("number", "question", "text"),
    [
        (0.125, "changed", "12.5 %"),
        (0.0, "error", "0"),
        (3.14e-8, "error", "3.1·10<sup>−8</sup>"),
        (None, "moved", "–"),
    ],
)
def test_numbers_are_written_in_the_units_of_their_measure(number, question, text):
    assert page.shown(number, {"question": question}) == text


class Network(nn.Module):
    """Classifies vectors by a linear map."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(x)


@pytest.fixture(scope="module")
def entry() -> Entry:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network, values = Network().eval(), torch.randn(96, 6)
    flips = iv.Elements([torch.clone, lambda x: x.flip(-1), lambda x: x.roll(1, -1)], identity=0)
    samples = Samples("vectors", "here", "none", "drawn", values, "vector")
    cases = (Case("order", flips, changed()), Case("order", flips, moved("linear")))
    return Entry(
        "linear",
        "3 classes",
        "Texts",
        (),
        "none",
        ("torch", "version.py"),
        lambda: network,
        lambda: samples,
        cases,
    )


def orbit_of(entry: Entry) -> torch.Tensor:
    """Responses (sample, element, class) in double precision, by plain forwards."""
    network, values = entry.load(), entry.samples().values.double()
    weight, bias = network.linear.weight.detach().double(), network.linear.bias.detach().double()
    moved_values = torch.stack([values, values.flip(-1), values.roll(1, -1)], 1)
    return moved_values @ weight.T + bias


def test_a_row_has_the_values_of_plain_forwards(entry):
    record = measured.record(replace(entry, packages=(), layers=("linear", "linear")), say=lambda text: None)
    orbit = orbit_of(entry)
    top, n = orbit.argmax(-1), len(orbit)
    predictions, distances = record["cases"]
    assert predictions["value"] == pytest.approx((top[:, 1:] != top[:, :1]).double().mean().item(), abs=1e-6)
    pairs = [(top[i, j] != top[k, 0]).item() for i in range(n) for k in range(n) if i != k for j in (1, 2)]
    assert predictions["null"] == pytest.approx(sum(pairs) / len(pairs), abs=1e-6)
    ratio = orbit.var(1).sum(-1).mean() / orbit.var(0).sum(-1).mean()
    assert distances["value"] == pytest.approx(ratio.item(), rel=1e-5)
    units = orbit.var(1).mean(0) / orbit.var(0).mean(0)
    assert distances["layers"][0]["value"] == pytest.approx(units.mean().item(), rel=1e-5)
    assert predictions["ci_low"] < predictions["value"] < predictions["ci_high"]


def test_a_row_with_few_clusters_has_no_interval(entry):
    samples = replace(entry.samples(), clusters=[str(k // 2) for k in range(96)])
    record = measured.record(replace(entry, samples=lambda: samples), say=lambda text: None)
    assert record["data"]["clusters"] == 48
    for case in record["cases"]:
        assert case["ci_low"] is case["ci_high"] is None
        assert case["note"] == measured.TOO_FEW


def test_an_identity_that_is_not_declared_is_refused():
    with pytest.raises(ValueError, match="order: a list has no identity"):
        Case("order", [torch.clone, torch.neg], changed())


def test_an_unknown_entry_is_an_error_that_lists_the_others():
    with pytest.raises(ValueError, match=re.escape(", ".join(store.entries()))):
        measured.entry_of("resnet")
