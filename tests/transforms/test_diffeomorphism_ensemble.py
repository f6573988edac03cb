"""The ensemble of maximum-entropy fields: its temperature, its statistics, and what each draw belongs to."""

from __future__ import annotations

import math
import warnings

import numpy as np
import pytest
import torch
from torch import Tensor

from invariscope.transforms import Deformation, Diffeomorphism, DiffeomorphismAugmentation
from invariscope.transforms.machinery.modes import CUTOFFS, DISPLACEMENTS, spectrum
from invariscope.transforms.machinery.warping import gradient_of

FIELDS = 4000


def assert_mean(values: Tensor, expected: float) -> None:
    """The mean of independent values is within four standard errors of what it should be."""
    error = float(values.std() / math.sqrt(len(values)))
    assert abs(float(values.mean()) - expected) < 4 * error
    assert error < 0.05 * expected


def assert_share(flags: Tensor, expected: float) -> None:
    error = math.sqrt(expected * (1 - expected) / flags.numel())
    assert abs(float(flags.double().mean()) - expected) < 4 * error


def test_modes_are_those_of_the_code_or_of_the_paper() -> None:
    code = {(i + 1, j + 1) for i, j in zip(*np.nonzero(spectrum(3)), strict=True)}
    assert code == {(1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1)}
    paper = {(i + 1, j + 1) for i, j in zip(*np.nonzero(spectrum(3, "paper")), strict=True)}
    assert paper == {(1, 1), (1, 2), (2, 1), (2, 2)}
    assert spectrum(3)[0, 2] == pytest.approx(1 / math.sqrt(10))
    assert spectrum(1).tolist() == [[pytest.approx(1 / math.sqrt(2))]]


@pytest.mark.parametrize(("n", "expected"), [(28, 1.4783e-3), (32, 1.1318e-3), (224, 2.3098e-5)])
def test_a_displacement_of_one_pixel_has_the_published_temperature(n: int, expected: float) -> None:
    assert Diffeomorphism.temperature_of(1, n, 3) == pytest.approx(expected, rel=5e-5)
    assert Diffeomorphism().temperatures((n, n)) == (pytest.approx(expected, rel=5e-5),) * 2


def test_the_allowed_range_is_the_published_one_and_has_its_displacements_at_its_ends() -> None:
    low, high = Diffeomorphism.allowed_range(32, 3)
    assert low == pytest.approx(2.829e-4, rel=5e-4)
    assert high == pytest.approx(1.3047e-2, rel=5e-5)
    assert Diffeomorphism.displacement_of(low, 32, 3) == pytest.approx(0.5)
    assert Diffeomorphism.displacement_of(high, 32, 3) == pytest.approx(32 / (3 * math.pi))
    for c, empty in ((20, False), (21, True)):  # 2n/π = 20.4
        low, high = Diffeomorphism.allowed_range(32, c)
        assert (low >= high) == empty


@pytest.mark.parametrize("cutoff", CUTOFFS)
@pytest.mark.parametrize("displacement", DISPLACEMENTS)
def test_temperature_and_displacement_are_inverse_to_each_other(cutoff: str, displacement: str) -> None:
    options = {"cutoff": cutoff, "displacement": displacement}
    for delta, n, c in ((0.3, 28, 2), (1.0, 32, 3), (7.5, 224, 15)):
        temperature = Diffeomorphism.temperature_of(delta, n, c, **options)
        assert Diffeomorphism.displacement_of(temperature, n, c, **options) == pytest.approx(delta)


def test_rectangles_move_by_the_same_pixels_or_at_the_same_temperature_along_both_axes() -> None:
    assert Diffeomorphism(delta_px=2).typical_displacement((20, 40)) == pytest.approx((2, 2))
    assert Diffeomorphism(delta_px=(2, 1)).typical_displacement((20, 40)) == pytest.approx((2, 1))
    x, y = Diffeomorphism(temperature=1e-3).typical_displacement((20, 40))
    assert x == pytest.approx(2 * y)
    fields = Diffeomorphism(FIELDS // 4, delta_px=(2, 1)).field(range(4), size=(20, 40))
    right, down = fields.square().mean(dim=(0, 1, 3, 4)).sqrt()
    assert right / down == pytest.approx(2 * (39 / 40) ** 2 / (19 / 20) ** 2, rel=0.03)


@pytest.mark.parametrize(
    ("cutoff", "scale", "n"), [("code", "n-1", 32), ("code", "n", 12), ("paper", "n-1", 12)]
)
def test_the_rms_displacement_is_the_exact_formulas(cutoff: str, scale: str, n: int) -> None:
    transform = Diffeomorphism(2, cutoff=cutoff, scale=scale)
    fields = transform.field(range(FIELDS // 2), size=(n, n)).flatten(0, 1)
    temperature = Diffeomorphism.temperature_of(1, n, 3)
    spread = float((spectrum(3, cutoff) ** 2).sum())
    pixels = n - 1 if scale == "n-1" else n
    expected = pixels * (n - 1) / n * math.sqrt(temperature * spread / 2)
    assert_mean(fields.square().sum(dim=1).mean(dim=(1, 2)), expected**2)


def test_nominal_is_more_than_real_and_exact_is_what_it_says() -> None:
    nominal = Diffeomorphism.temperature_of(1, 32, 3)
    assert Diffeomorphism.displacement_of(nominal, 32, 3, displacement="exact") == pytest.approx(
        0.843, abs=5e-4
    )
    fields = Diffeomorphism(FIELDS, delta_px=1.5, displacement="exact", c=1).field([0], size=(40, 40))
    assert_mean(fields[0].square().sum(dim=1).mean(dim=(1, 2)), (1.5 * (39 / 40) ** 2) ** 2)


def test_compression_shear_and_rotation_stand_as_one_to_two_to_one() -> None:
    temperature = 2e-3
    drawn = Diffeomorphism(FIELDS, temperature=temperature).coefficients([0])[0]
    u = gradient_of(drawn, (9, 9))
    ends = torch.ones(9, dtype=torch.float64)
    ends[[0, -1]] = 0.5
    weights = ends[:, None] * ends / 64  # the trapezoid rule is exact for these products of waves
    compression = (u[:, 0, 0] + u[:, 1, 1]) ** 2 / 2
    shear = ((u[:, 0, 0] - u[:, 1, 1]) ** 2 + (u[:, 0, 1] + u[:, 1, 0]) ** 2) / 2
    rotation = (u[:, 1, 0] - u[:, 0, 1]) ** 2 / 2
    variance = math.pi**2 * temperature * 6 / 8
    for norm, expected in ((compression, 1), (shear, 2), (rotation, 1)):
        assert_mean((norm * weights).sum(dim=(1, 2)), expected * variance)


def test_a_third_of_the_fields_fold_at_the_upper_end_of_the_range() -> None:
    _, high = Diffeomorphism.allowed_range(32, 3)
    transform = Diffeomorphism(10, temperature=high)
    flags = transform.folded(range(FIELDS // 10))
    assert_share(flags, 0.329)
    assert transform.folded(range(300)).shape == (300, 10)
    cool = Diffeomorphism(10, temperature=high / 100).folded(range(300))
    assert not cool.any()


def test_folded_fields_are_those_whose_neighbouring_points_change_sides() -> None:
    _, high = Diffeomorphism.allowed_range(32, 3)
    transform = Diffeomorphism(300, temperature=high)
    at = torch.linspace(0, 1, 201, dtype=torch.float64)
    fields = transform.field([0], size=(201, 201))[0] / 200
    x, y = at - fields[:, 0], at[:, None] - fields[:, 1]
    across = torch.stack([x, y], dim=-1).diff(dim=2)[:, :-1]
    down = torch.stack([x, y], dim=-1).diff(dim=1)[:, :, :-1]
    areas = across[..., 0] * down[..., 1] - across[..., 1] * down[..., 0]
    flipped = (areas <= 0).flatten(1).any(dim=1)
    assert (flipped == transform.folded([0])[0]).double().mean() > 0.98


def test_rejection_replaces_folded_fields_and_keeps_all_others() -> None:
    _, high = Diffeomorphism.allowed_range(32, 3)
    taken = Diffeomorphism(20, temperature=high)
    picky = Diffeomorphism(20, temperature=high, reject_folded=True)
    folded = taken.folded(range(10))
    assert folded.any()
    assert not picky.folded(range(10)).any()
    first, second = (t.coefficients(range(10)) for t in (taken, picky))
    assert torch.equal(first[~folded], second[~folded])
    assert torch.equal(picky.coefficients([7, 2]), second[[7, 2]])
    # A field drawn again belongs to its sample and draw alone.
    assert torch.equal(
        Diffeomorphism(9, temperature=high, reject_folded=True).coefficients([4])[0], second[4, :9]
    )


def test_a_draw_belongs_to_seed_sample_and_draw_and_to_nothing_else() -> None:
    few, many = Diffeomorphism(2, temperature=1e-3), Diffeomorphism(5, temperature=1e-3)
    whole = many.coefficients([3, 11, 700], seed=2)
    assert torch.equal(many.coefficients([700], seed=2)[0], whole[2])
    assert torch.equal(few.coefficients([3, 11, 700], seed=2), whole[:, :2])
    assert not torch.equal(many.coefficients([3, 11, 700], seed=3), whole)
    assert len(torch.unique(whole[..., 0, 0])) == 3 * 5 * 2
    hotter = Diffeomorphism(5, temperature=4e-3).coefficients([3, 11, 700], seed=2)
    torch.testing.assert_close(hotter, 2 * whole)


@pytest.mark.parametrize("batch", [1, 3, 7])
@pytest.mark.parametrize("interpolation", ["bilinear", "cubic", "gaussian"])
def test_images_do_not_depend_on_the_batch_they_come_in(batch: int, interpolation: str) -> None:
    x = torch.rand(7, 3, 33, 17, generator=torch.Generator().manual_seed(0))
    transform = Diffeomorphism(3, interpolation=interpolation, preset="petrini2021")
    whole = transform.orbit(x, seed=5)
    parts = [
        transform.orbit(part, indices=np.arange(start, start + len(part)), seed=5)
        for start, part in zip(range(0, 7, batch), x.split(batch), strict=True)
    ]
    torch.testing.assert_close(torch.cat(parts), whole, atol=2e-5, rtol=0)


def test_the_preset_takes_n_pixels_for_a_unit_and_an_explicit_scale_wins() -> None:
    plain, preset = (
        Diffeomorphism(1, preset=name).field([0], size=(12, 12)) for name in (None, "petrini2021")
    )
    torch.testing.assert_close(preset, plain * 12 / 11)
    assert Diffeomorphism(preset="petrini2021", scale="n-1").scale == "n-1"


def test_training_images_get_fields_of_their_own() -> None:
    x = torch.rand(1, 1, 28, 28, generator=torch.Generator().manual_seed(0)).expand(30, -1, -1, -1)
    moved = Diffeomorphism().random(x, generator=torch.Generator().manual_seed(1))
    assert len({tuple(image.flatten().tolist()) for image in moved}) == 30


@pytest.mark.parametrize("size", [(28, 28), (20, 64)])
def test_a_temperature_outside_the_range_warns_and_one_inside_does_not(size: tuple[int, int]) -> None:
    torch.manual_seed(0)
    x = torch.rand(1, 1, *size)
    low, high = Diffeomorphism.allowed_range(min(size), 3)
    for temperature, message in ((low / 2, "below T1"), (2 * high, "above T2")):
        with pytest.warns(UserWarning, match=message):
            Diffeomorphism(1, temperature=temperature).orbit(x)
    with pytest.warns(UserWarning, match="no temperature is allowed"):
        Diffeomorphism(1, c=int(2 * min(size) / math.pi) + 1, delta_px=1).orbit(x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Diffeomorphism(1, temperature=low).orbit(x)
        Diffeomorphism(1, temperature=high).orbit(x)
        Diffeomorphism(1, temperature=1.3 * high, reject_folded=True).orbit(x)


def test_augmentation_draws_cutoffs_evenly_within_their_range() -> None:
    drawn = DiffeomorphismAugmentation(FIELDS, c_range=(2, 4)).coefficients([0], size=(32, 32))[0]
    largest = (drawn != 0).flatten(1, 2).any(dim=1).int().sum(dim=1)
    assert set(largest.tolist()) == {2, 3, 4}
    for c in (2, 3, 4):
        assert_share(largest == c, 1 / 3)
    low = Diffeomorphism.augmentation(draws=FIELDS, c_range=(2, 4), c_beta=(1, 4)).coefficients(
        [0], size=(32, 32)
    )
    smallest = (low[0] != 0).flatten(1, 2).any(dim=1).int().sum(dim=1) == 2
    assert_share(smallest, 1 - (2 / 3) ** 4)


def test_augmentation_draws_temperatures_of_a_beta_distribution() -> None:
    cold, hot = Diffeomorphism.allowed_range(32, 3)
    transform = DiffeomorphismAugmentation(FIELDS, c_range=(3, 3), temperature_beta=(1, 3))
    drawn = transform.coefficients([0], size=(32, 48))[0]
    inside = torch.from_numpy(spectrum(3).copy())
    normal = (drawn[..., inside > 0] / inside[inside > 0]).square().mean(dim=(1, 2))
    assert_mean(normal, cold + (hot - cold) / 4)
    fixed = Diffeomorphism(FIELDS, temperature=cold + (hot - cold) / 4).coefficients([0])[0]
    uniform = (fixed[..., inside > 0] / inside[inside > 0]).square().mean(dim=(1, 2))
    assert normal.std() > 1.5 * uniform.std()


def test_a_field_replays_what_an_augmentation_drew() -> None:
    x = torch.rand(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    transform = DiffeomorphismAugmentation(2)
    replayed = Deformation(transform.coefficients([0, 1, 2], size=(28, 28), seed=9))
    torch.testing.assert_close(replayed.orbit(x), transform.orbit(x, seed=9))
