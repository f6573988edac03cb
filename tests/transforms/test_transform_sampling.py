"""What the sampling keeps between blocks, and that nobody can tell."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from invariscope.transforms import Rotation, Scale, Translation
from invariscope.transforms.machinery.sampling import _PLANS, _Part, _Recent


def noise(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(4))


def part(megabytes: float) -> list[_Part]:
    return [_Part(torch.zeros(0), torch.zeros(int(megabytes * 2**18)), exact=False)]


def test_kept_coordinates_are_bounded_and_the_least_used_go_first() -> None:
    recent = _Recent(max_bytes=3 * 2**20)
    for name in "abc":
        recent.get((name,), lambda: part(1))
    recent.get(("a",), lambda: pytest.fail("made again though kept"))
    recent.get(("d",), lambda: part(1))
    assert [key for (key,) in recent._kept] == ["c", "a", "d"]
    recent.get(("too large",), lambda: part(9))
    assert [key for (key,) in recent._kept] == ["too large"]


def test_a_second_block_of_the_same_size_reuses_the_coordinates() -> None:
    rotation = Rotation.circle(7, start_deg=3)
    rotation.orbit(noise(2, 1, 13, 13))
    before = len(_PLANS._kept)
    rotation.orbit(noise(9, 3, 13, 13))
    assert len(_PLANS._kept) == before
    rotation.orbit(noise(2, 1, 14, 13))
    assert len(_PLANS._kept) == before + 1


def test_jittered_coordinates_are_not_kept() -> None:
    before = list(_PLANS._kept)
    Rotation.circle(4, jitter_deg=3).orbit(noise(2, 1, 15, 13))
    assert list(_PLANS._kept) == before


def test_an_orbit_needs_one_sampling_for_the_exact_and_one_for_the_other_elements(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    modes = []
    original = F.grid_sample

    def counted(*args, mode: str, **options) -> torch.Tensor:
        modes.append((mode, tuple(args[0].shape)))
        return original(*args, mode=mode, **options)

    monkeypatch.setattr(F, "grid_sample", counted)
    Rotation.circle(16).orbit(noise(6, 3, 10, 10))
    assert modes == [("bilinear", (12, 18, 10, 10)), ("nearest", (4, 18, 10, 10))]
    modes.clear()
    Rotation.circle(16, jitter_deg=1).orbit(noise(6, 3, 10, 10))
    assert modes == [("bilinear", (96, 3, 10, 10))]


def test_coordinates_made_in_inference_mode_serve_gradients_later() -> None:
    rotation = Rotation.circle(5, start_deg=7)
    x = noise(2, 1, 11, 17)
    with torch.inference_mode():
        rotation.orbit(x)
    x.requires_grad_()
    rotation.orbit(x).sum().backward()
    assert x.grad is not None


def test_elements_come_first_in_memory_so_that_a_forward_needs_no_copy() -> None:
    orbit = Rotation.circle(8).orbit(noise(3, 2, 6, 6))
    assert orbit.transpose(0, 1).is_contiguous()


@pytest.mark.parametrize("padding", ["border", "reflection"])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic", "nearest"])
def test_a_constant_image_stays_constant_where_the_padding_continues_it(
    padding: str, interpolation: str
) -> None:
    x = torch.full((1, 1, 9, 14), 2.5)
    options = {"padding": padding, "interpolation": interpolation}
    for transform in (
        Scale([0.5, 3], **options),
        Translation([(0.5, 4.2)], **options),
        Rotation([45], **options),
    ):
        torch.testing.assert_close(transform.orbit(x), x[:, None].expand_as(transform.orbit(x)))
