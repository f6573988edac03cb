import numpy as np
import pytest
from plot_rows import NAN, result, row
from sample_results import sample_result
from unpacking import unpacked_json, unpacked_numbers, unpacked_table

from invariscope.plots.shared.cells import cells
from invariscope.report import packing
from invariscope.report.figures import Charts
from invariscope.report.tables import row_table


def test_numbers_are_unpacked_as_they_were_packed():
    rng = np.random.default_rng(0)
    for kind in ("u1", "<u2", "<u4", "<f4"):
        values = (100 * rng.random(1001)).astype(kind)
        np.testing.assert_array_equal(unpacked_numbers(packing.packed_numbers(values)), values)
    assert unpacked_json(packing.packed_json({"a": [1, None]})) == {"a": [1, None]}


def test_a_packed_table_holds_the_texts_numbers_and_intervals_of_its_rows():
    around = {"ci_low": 0.25, "ci_high": 0.75, "corrected": 0.5}
    table = row_table([result([row("a", 0.8, **around), row("b", NAN), row("c", 0.3, **around)])])
    found = unpacked_table(packing.packed(Charts(), {"rows": table}, [])["tables"]["rows"])
    label, value, interval = (table.keys.index(key) for key in ("label", "value", "ci"))
    assert [r[label] for r in found["rows"]] == ["a", "b", "c"]
    np.testing.assert_allclose([r[value] for r in found["rows"]], [0.8, NAN, 0.3], rtol=1e-7)
    np.testing.assert_allclose(
        [r[interval] for r in found["rows"]],
        [(0.25, 0.75, 0.5, 1), (NAN, NAN, NAN, 0), (0.25, 0.75, 0.5, 0)],
    )


@pytest.mark.parametrize(("limit", "error"), [(1, 8e-6), (50_000, 6e-8)])
def test_large_tables_keep_five_digits_and_others_seven(monkeypatch, limit, error):
    monkeypatch.setattr(packing, "_LARGE", limit)
    values = np.random.default_rng(1).lognormal(0, 3, 500)
    table = row_table([result([row(f"l{i}", value) for i, value in enumerate(values)])])
    found = unpacked_table(packing.packed(Charts(), {"rows": table}, [])["tables"]["rows"])
    at = table.keys.index("value")
    relative = np.abs(np.array([r[at] for r in found["rows"]]) / values - 1)
    assert relative.max() <= error
    assert relative.max() > error / 4


def test_the_units_of_every_layer_are_at_their_place():
    sample = sample_result(classes=False)
    groups = packing.packed(Charts(), {}, [sample])["units"]
    assert [group["title"] for group in groups] == ["Normalized variance", "Transformation variance"]
    values = unpacked_numbers(groups[0]["values"])
    for layer in ("conv2", "fc2"):
        place = groups[0]["layers"][layer]
        own = values[place["start"] : place["start"] + place["count"]]
        expected = cells(layer, sample.maps["normalized_variance", layer]).values
        np.testing.assert_allclose(own, expected.astype(np.float32), equal_nan=True)
    assert groups[0]["layers"]["flatten"]["step"] == 13


def test_units_of_several_networks_are_named_by_network():
    titles = [
        g["title"] for g in packing.packed(Charts(), {}, [sample_result("a"), sample_result("b")])["units"]
    ]
    assert titles[0] == "Normalized variance · a"
    assert titles[-1] == "Transformation variance · b"
