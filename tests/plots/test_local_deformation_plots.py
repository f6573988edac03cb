"""Figures of fields that were taken apart, on fields whose parts are known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sample_results import PARTS, sample_result

from invariscope.lab.plots.local_decomposition import PartsByPatchSize
from invariscope.lab.plots.local_fields import LocalFields


@pytest.fixture(scope="module")
def sample():
    return sample_result("ensemble", layers={"conv1": (4, 6, 6)}, maps=True)


def test_every_part_stands_in_a_panel_with_its_values_by_patch_size(sample):
    plot = PartsByPatchSize.prepare(sample)
    assert plot.patch_px.tolist() == [2, 4, 8]
    found = {series.name: series for panel in plot.panels for series in panel.series}
    assert found.keys() == {name.replace("_", " ") for name in PARTS}
    assert found["share shear"].value.tolist() == [0.5] * 3
    assert found["leftover"].value.tolist() == [0.1, 0.2, 0.4]
    np.testing.assert_allclose(found["leftover"].high, [0.11, 0.22, 0.44])
    assert plot.panels[1].theory["π/2"] == pytest.approx(np.pi / 2)


def test_a_turn_is_all_rotation_and_a_spread_all_compression(sample):
    turned, spread = LocalFields.prepare(sample, patch=4).fields
    np.testing.assert_allclose(turned.parts["rotation"], np.full((2, 2), 0.1))
    np.testing.assert_allclose(spread.parts["compression"], np.full((2, 2), 0.1))
    for field, absent in ((turned, ("compression", "shear")), (spread, ("rotation", "shear"))):
        assert all(np.abs(field.parts[part]).max() < 1e-9 for part in absent)
        assert field.leftover.max() < 1e-9
    # The turn carries the patch above the middle, 2 pixels up and 2 to the left, to the right and up.
    np.testing.assert_allclose(turned.translation[:, 0, 0], [0.2, -0.2])


def test_scales_are_shared_by_the_fields(sample):
    plot = LocalFields.prepare(sample)
    assert plot.spans["rotation"] == pytest.approx(0.1)
    assert plot.spans["compression"] == pytest.approx(0.1)


def test_results_without_fields_are_refused_and_have_no_views(sample):
    bare = sample_result("bare", layers={"conv1": (4, 6, 6)})
    with pytest.raises(ValueError, match="no decomposition of fields"):
        PartsByPatchSize.prepare(bare)
    with pytest.raises(ValueError, match="has no fields"):
        LocalFields.prepare(bare)
    assert PartsByPatchSize.views([bare]) == LocalFields.views([bare]) == []
    assert [view.label for view in LocalFields.views([bare, sample])] == ["ensemble"]


def test_patches_larger_than_the_fields_are_refused(sample):
    small = replace(sample, examples={"displacement": np.zeros((1, 2, 3, 3))})
    with pytest.raises(ValueError, match="fit in the field of 3 × 3"):
        LocalFields.prepare(small)
