"""The worst element between the listed ones, of models whose worst place is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import invariscope as iv

SIDE = 24
GRID = torch.arange(SIDE, dtype=torch.float64) - (SIDE - 1) / 2


def blobs(samples: int, *, x: float = 7.0, width: float = 2.0) -> torch.Tensor:
    """Images of one smooth spot x pixels to the right of the centre, of different brightness."""
    spot = torch.exp(-((GRID[None, :] - x) ** 2 + GRID[:, None] ** 2) / (2 * width**2))
    return torch.linspace(1, 2, samples, dtype=torch.float64)[:, None, None, None] * spot


def moments(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(sample,) where the spot is, right and up, and how far it reaches."""
    weight = images[:, 0] / images[:, 0].sum((1, 2), keepdim=True)
    right, up = (weight * GRID[None, :]).sum((1, 2)), -(weight * GRID[:, None]).sum((1, 2))
    spread = (weight * (GRID[None, :] ** 2 + GRID[:, None] ** 2)).sum((1, 2))
    return right, up, spread.sqrt()


def tuned(read, *places):
    """A model whose layer number k responds 1, and up to 2 where what is read of an image is places[k]."""

    def model(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {f"layer{k}": 1 + read(images, place)[:, None] for k, place in enumerate(places)}

    return model


def by_angle(images: torch.Tensor, place: float) -> torch.Tensor:
    right, up, _ = moments(images)
    return torch.exp(8 * (torch.cos(torch.atan2(up, right) - np.deg2rad(place)) - 1))


def by_shift(images: torch.Tensor, place: float) -> torch.Tensor:
    return torch.exp(-((moments(images)[0] - place) ** 2) / 4)


def rows_of(result, layer):
    table = result.table[result.table.layer == layer]
    return table.set_index("measure").value


@pytest.mark.parametrize(
    "transform", [iv.Rotation.circle(12), iv.Rotation.range(-180, 150, 12), iv.Rotation.circle(13)]
)
def test_a_planted_angle_is_found_in_every_layer(transform):
    planted = (37.0, 100.0, 352.0)
    result = iv.worst_element(tuned(by_angle, *planted), blobs(16), transform, progress=False)
    refinement = result.provenance["refinement"]
    assert refinement["parameter"] == "angle_deg"
    assert refinement["samples"] == 16
    for k, angle in enumerate(planted):
        found = rows_of(result, f"layer{k}")
        gap = (found["worst_element.refined_parameter"] - angle + 180) % 360 - 180
        if k < 2:  # the third is near the untransformed response, where its curve is not highest
            assert abs(gap) < refinement["tolerance"] + 0.5  # half a degree for interpolation
        assert found["worst_element.refined"] >= found["worst_element"]
        assert found["worst_element.refined_tail"] >= found["worst_element.refined"] - 1e-12
        assert found["worst_element.refined_largest"] >= found["worst_element.refined_tail"]


def test_the_range_is_not_left_where_the_elements_do_not_go_round():
    result = iv.worst_element(
        tuned(by_angle, 80.0), blobs(16), iv.Rotation.range(-60, 60, 7), tolerance=0.5, progress=False
    )
    assert rows_of(result, "layer0")["worst_element.refined_parameter"] == 60


@pytest.mark.parametrize(
    ("transform", "read", "place", "wanted"),
    [
        (iv.Translation.range(-6, 6, 7), by_shift, 3.7, 3.7 - 7.0),
        (iv.Scale.range(0.5, 1.3, 5), lambda x, r: torch.exp(-((moments(x)[2] - r) ** 2) * 4), 5.5, None),
        (iv.Shear.range(-0.6, 0.6, 5, direction="vertical"), by_angle, 25.0, np.tan(np.deg2rad(25))),
    ],
)
def test_shifts_factors_and_slants_are_refined_too(transform, read, place, wanted):
    result = iv.worst_element(tuned(read, place), blobs(16), transform, tolerance=0.01, progress=False)
    found = rows_of(result, "layer0")["worst_element.refined_parameter"]
    if wanted is None:  # the spot lies 7 px out, its width 2 px: r² = s² (7² + 2·2²)
        wanted = place / np.sqrt(7**2 + 2 * 2**2)
    assert found == pytest.approx(wanted, abs=0.05)


def test_a_finer_list_of_elements_confirms_what_was_found():
    model, images = tuned(by_angle, 37.0), blobs(16)
    refined = rows_of(
        iv.worst_element(model, images, iv.Rotation.circle(12), tolerance=0.25, progress=False), "layer0"
    )
    fine = iv.measure(
        model, images, iv.Rotation.range(30, 44, 57), measures=iv.WorstElement(), progress=False
    ).table
    assert refined["worst_element.refined"] == pytest.approx(
        fine[fine.measure == "worst_element"].value.item(), rel=1e-3
    )


def test_a_layer_that_nothing_moves_has_no_place():
    def still(images: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"still": torch.ones(len(images), 2), "layer0": 1 + by_angle(images, 37.0)[:, None]}

    result = iv.worst_element(still, blobs(16), iv.Rotation.circle(8), progress=False)
    refined = result.table[result.table.measure.str.contains("refined")]
    assert set(refined.layer) == {"layer0"}


def test_what_has_nothing_between_its_elements_is_refused():
    model, images = tuned(by_angle, 37.0), blobs(4)
    for transform in (iv.QuarterTurns(), iv.Rotation.circle(4, jitter_deg=1), iv.Translation.grid(1)):
        with pytest.raises(TypeError, match="differ in a single, non-random parameter"):
            iv.worst_element(model, images, transform)
    with pytest.raises(ValueError, match="positive number"):
        iv.worst_element(model, images, iv.Rotation.circle(4), tolerance=0)
    with pytest.raises(TypeError, match="does not take measures="):
        iv.worst_element(model, images, iv.Rotation.circle(4), measures="cka")
    with pytest.raises(ValueError, match="measures the same samples again"):
        iv.worst_element(model, iter([images, images]), iv.Rotation.circle(4))


@pytest.mark.parametrize("family", [iv.Rotation, iv.Scale, iv.Shear, iv.Translation])
def test_a_slider_at_its_own_values_is_the_transform(family):
    found = [example for example in family.examples() if example.traits.slider]
    for transform in found:
        slider = transform.traits.slider
        assert slider.at(slider.values) == transform
    assert found
