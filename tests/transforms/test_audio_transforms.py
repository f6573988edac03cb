"""Transforms of signals: loudness, shifts in time, and pitch."""

from __future__ import annotations

import builtins
import importlib.util

import numpy as np
import pytest
import torch

import invariscope as iv


def signals(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_six_decibels_double_the_amplitude_nearly_and_twenty_are_a_factor_of_ten():
    x = signals(2, 3, 50)
    orbit = iv.Gain([6, 20, -40]).orbit(x)
    torch.testing.assert_close(orbit[:, 1], 10 * x)
    torch.testing.assert_close(orbit[:, 2], x / 100)
    assert float(orbit[0, 0, 0, 0] / x[0, 0, 0]) == pytest.approx(1.9953, abs=1e-4)
    torch.testing.assert_close(iv.Gain([6, -40]).round_trip(x), x[:, None].expand(-1, 2, -1, -1))


@pytest.mark.parametrize("shape", [(2, 9), (2, 3, 9)])
def test_shifts_are_those_of_a_loop(shape):
    x, steps = signals(*shape), (0, 3, -4)
    for fill in ("zeros", "wrap"):
        orbit = iv.TimeShift(steps, fill=fill).orbit(x)
        for j, step in enumerate(steps):
            for t in range(9):
                source = t - step
                inside = 0 <= source < 9
                expected = x[..., source % 9] if inside or fill == "wrap" else torch.zeros_like(x[..., 0])
                assert torch.equal(orbit[:, j][..., t], expected)


def test_a_circular_shift_is_undone_and_a_filled_one_loses_what_left():
    x = signals(2, 9)
    assert torch.equal(iv.TimeShift([3], fill="wrap").round_trip(x)[:, 0], x)
    back = iv.TimeShift([3]).round_trip(x)[:, 0]
    assert torch.equal(back[:, :6], x[:, :6])
    assert float(back[:, 6:].abs().max()) == 0


def test_recordings_of_different_lengths_are_shifted_one_by_one():
    samples = [np.arange(5.0), np.arange(7.0)]
    orbit = iv.TimeShift([0, 2]).orbit(samples)
    assert orbit[0, 1].tolist() == [0, 0, 0, 1, 2]
    assert len(orbit[1, 1]) == 7


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: iv.Gain([500]), r"decibels\[0\] must be from -200 to 200"),
        (lambda: iv.TimeShift([0.5]), "whole number of time steps; got 0.5. Multiply seconds"),
        (lambda: iv.TimeShift([1], fill="circular"), "unknown fill 'circular'"),
        (lambda: iv.TimeShift([9]).orbit(signals(2, 9)), "at least 10 time steps; got 9"),
        (lambda: iv.PitchShift([60]), "from -48 to 48"),
        (lambda: iv.PitchShift(window=3), "window must be an integer, at least 16"),
        (lambda: iv.PitchShift().orbit(signals(2, 9)), "at least 2048 time steps; got 9"),
    ],
)
def test_a_wrong_option_or_signal_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


@pytest.mark.parametrize("transform", [iv.Gain(), iv.TimeShift(), iv.PitchShift()])
def test_images_and_integers_are_refused(transform):
    with pytest.raises(TypeError, match=r"\(n, time\) or \(n, channels, time\); got shape \(2, 1, 8, 8\)"):
        transform.orbit(torch.zeros(2, 1, 8, 8))
    with pytest.raises(TypeError, match="x / 32768 for 16-bit audio"):
        transform.orbit(torch.zeros(2, 4000, dtype=torch.int16))
    with pytest.raises(TypeError, match="action on feature maps is not known"):
        transform.act(signals(2, len(transform), 4000))


def test_without_librosa_the_extra_is_named(monkeypatch):
    real = builtins.__import__

    def absent(name, *arguments, **options):
        if name == "librosa":
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", absent)
    with pytest.raises(ImportError, match=r"pip install 'invariscope\[audio\]'"):
        iv.PitchShift([1], window=64).orbit(signals(1, 256))


@pytest.mark.skipif(importlib.util.find_spec("librosa") is None, reason="needs librosa")
def test_an_octave_doubles_the_frequency_of_a_tone():
    rate, hertz = 16000, 440
    tone = torch.sin(2 * torch.pi * hertz * torch.arange(rate, dtype=torch.float64) / rate)[None]
    orbit = iv.PitchShift([0, 12, -12, 7]).orbit(tone)[0]
    assert torch.equal(orbit[0], tone[0])
    peaks = [int(torch.fft.rfft(wave[4000:12000]).abs().argmax()) * 2 for wave in orbit]
    assert peaks == pytest.approx([hertz, 2 * hertz, hertz / 2, hertz * 2 ** (7 / 12)], abs=2.5)
