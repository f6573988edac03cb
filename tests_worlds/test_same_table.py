"""The same network with the same weights gives the same table in every framework."""

from __future__ import annotations

import pytest
from benchmarks.frameworks import FRAMEWORKS, LAYERS, largest_difference, measured, page

MOST = 1e-5


@pytest.fixture(scope="module")
def found() -> dict[str, list[dict[str, object]]]:
    return {framework: measured(framework) for framework in FRAMEWORKS}


def test_layers_agree_in_every_framework(found):
    assert {len(rows) for rows in found.values()} == {len(LAYERS)}
    assert largest_difference(found) <= MOST
    values = [row["value"] for row in found["torch"]]
    assert min(values) > 0.05, "a table of zeros would agree too"
    assert len(set(values)) == len(LAYERS)


def test_the_comparison_can_fail(found):
    moved = [{**row, "value": row["value"] + 2 * MOST} for row in found["flax"]]
    assert largest_difference({**found, "flax": moved}) > MOST


def test_the_page_names_every_framework(found):
    assert all(title in page(found) for title, _, _ in FRAMEWORKS.values())
