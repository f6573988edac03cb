"""Cells that take fields apart, and cells that listen to single neurons."""

from __future__ import annotations

import math

import numpy as np
import pytest

import invariscope as iv
from invariscope import zoo
from invariscope.lab.recipes.kinds import CellContext
from invariscope.lab.recipes.kinds.decompose import Decompose
from invariscope.lab.recipes.kinds.measure import MeasureCell
from invariscope.lab.recipes.kinds.neurons import Neurons
from invariscope.results import storage

NAME = "local_decomposition"


def values(result, layer):
    rows = [row for row in result.rows if row["layer"] == layer]
    return {row["measure"].removeprefix(f"{NAME}."): row for row in rows}


@pytest.fixture(scope="module")
def taken_apart(tmp_path_factory):
    """The published ensemble on 32 pixels, as a finished cell holds it."""
    folder = tmp_path_factory.mktemp("cell")
    cell = Decompose(transform="Diffeomorphism(1)", fields=240, patches=[3, 16])
    cell.check()
    cell.run(CellContext(folder, folder))
    return storage.load(folder / "result")


def test_the_ensemble_has_the_shares_and_norms_that_theory_gives(taken_apart):
    small = values(taken_apart, "3 px")
    expected = {
        **{"share_compression": 1 / 4, "share_shear": 1 / 2, "share_rotation": 1 / 4},
        **{"shear_to_compression": math.pi / 2, "rotation_to_compression": 1.0},
    }
    for name, theory in expected.items():
        assert small[name]["value"] == pytest.approx(theory, rel=0.05)
        reach = (small[name]["ci_high"] - small[name]["ci_low"]) / 2
        assert abs(small[name]["value"] - theory) < 2 * reach + 1e-3


def test_on_large_patches_more_of_the_field_is_not_linear(taken_apart):
    small, large = values(taken_apart, "3 px"), values(taken_apart, "16 px")
    assert small["leftover"]["ci_high"] < 0.02 < 0.3 < large["leftover"]["ci_low"]
    assert large["compression"]["value"] < small["compression"]["value"]


def test_the_values_are_means_over_the_patches_of_all_fields(taken_apart):
    fields = iv.Diffeomorphism(1).field(np.arange(240), size=(32, 32))[:, 0]
    parts = iv.local_decomposition(fields, 16)
    large = values(taken_apart, "16 px")
    assert large["rotation"]["value"] == pytest.approx(parts.rotation_norm.mean())
    shift = np.hypot(*np.moveaxis(parts.translation, 1, 0))
    assert large["translation"]["value"] == pytest.approx(shift.mean())
    within = fields.numpy().reshape(240, 2, 2, 16, 2, 16)
    spread = np.square(within - within.mean(axis=(3, 5), keepdims=True)).sum(axis=1).mean()
    assert large["leftover"]["value"] == pytest.approx(np.square(parts.leftover_px).mean() / spread)


def test_curves_hold_the_same_numbers_against_the_patch_size(taken_apart):
    curve = taken_apart.curves.query(f"measure == '{NAME}.leftover'")
    assert curve["x"].tolist() == [3.0, 16.0]
    assert curve["value"].tolist() == [
        values(taken_apart, layer)["leftover"]["value"] for layer in ("3 px", "16 px")
    ]
    assert taken_apart.examples["displacement"].shape == (2, 2, 32, 32)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"transform": "QuarterTurns()"}, "has no displacement fields"),
        ({"patches": []}, "patches is empty"),
        ({"patches": [33]}, "fit in the field of 32 × 32"),
        ({"fields": 4}, "fields must be at least 8"),
    ],
)
def test_transforms_and_patches_that_cannot_be_decomposed_are_rejected(options, said):
    with pytest.raises(ValueError, match=said):
        Decompose(**{"transform": "Diffeomorphism(1)", "patches": [3], **options}).check()


def neurons(**options):
    return Neurons(**{
        "network": "min_cnn", "network_options": {"filters": 4, "kernel_size": 5}, "data": "mnist_subset",
        "samples": 160, "standardize": "own", "layers": ["relu"], **options,
    })  # fmt: skip


def test_a_cell_gives_what_neuron_stability_gives(tmp_path):
    cell = neurons(deformations=["rotation", "translation"], options={"draws": 2}, label="random")
    cell.check()
    cell.run(CellContext(tmp_path, tmp_path))
    found = storage.load(tmp_path / "result")
    data = zoo.load("mnist_subset", samples=160).standardized()
    model = zoo.build("min_cnn", filters=4, kernel_size=5)
    expected = iv.neuron_stability(model, "relu", data, deformations=["rotation", "translation"], draws=2)
    assert found.name == "random"
    assert found.table["measure"].tolist() == ["neuron_stability.rotation", "neuron_stability.translation"]
    np.testing.assert_allclose(found.table["value"], expected.table["value"])
    assert found.table["ci_low"].notna().all()


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"layers": []}, ValueError, "layers is empty"),
        ({"patches": "maximum"}, ValueError, "unknown patches 'maximum'. Closest: 'maximal'"),
        ({"deformations": ["rotaton"]}, ValueError, "Closest: 'rotation'"),
        ({"options": {"drawz": 2}}, TypeError, "Closest: 'draws'"),
        ({"options": {"patches": "random"}}, ValueError, "patches is an option of the cell"),
    ],
)
def test_a_wrong_option_of_neurons_is_refused(options, error, said):
    with pytest.raises(error, match=said):
        neurons(**options).check()


def test_both_kinds_can_be_timed():
    apart = Decompose(transform="Diffeomorphism(1)", patches=[3], fields=500)
    assert apart.cost_units({})[1] == 500
    assert apart.time_one_unit({}, None) > 0
    cell = neurons(deformations=["rotation"])
    assert cell.cost_units({})[1] == 160
    assert cell.time_one_unit({}, None) >= 0


def test_a_cell_can_measure_the_task_of_two_pixels_under_its_own_displacements(tmp_path):
    cell = MeasureCell(
        network="min_cnn",
        network_options={"filters": 4, "padding_mode": "circular"},
        data="scale_detection",
        samples=80,
        standardize="none",
        transform="zoo.unit_displacements()",
        measures=["stability"],
        layers=["fc"],
    )
    cell.check()
    assert cell.data_sets == (("scale_detection", "test"),)
    cell.run(CellContext(tmp_path, tmp_path))
    found = storage.load(tmp_path / "result").table.set_index("measure")["value"]
    model = zoo.build("min_cnn", input_shape=(1, 16, 16), classes=2, filters=4, padding_mode="circular")
    data = zoo.load("scale_detection", samples=80)
    steps = zoo.unit_displacements()
    expected = iv.measure(model, data, steps, measures="stability", layers="fc", progress=False).table
    assert found["stability.D"] == pytest.approx(expected.set_index("measure")["value"]["stability.D"])
    with pytest.raises(ValueError, match="unknown transform 'unit_displacements'"):
        MeasureCell(
            network="min_cnn", data="mnist_subset", transform="unit_displacements", measures=[]
        ).check()
