"""Models of voices and speech with their own weights, on recordings of several lengths: known answers."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import invariscope as iv

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("librosa")
    resemblyzer = pytest.importorskip("resemblyzer")
    silero_vad = pytest.importorskip("silero_vad")
pytestmark = pytest.mark.filterwarnings("ignore")

RATE = 16000


def recordings(count: int = 6) -> list[np.ndarray]:
    """Hums of 1.2 to 2 seconds: harmonics of a gliding tone, with pauses."""
    found = []
    for number in range(count):
        time = np.arange(int(RATE * (1.2 + 0.8 * number / (count - 1)))) / RATE
        phase = 2 * np.pi * np.cumsum(100 + 20 * number + 30 * np.sin(3 * time)) / RATE
        wave = sum(np.sin(k * phase) / k for k in range(1, 8)) * (np.sin(9 * time + number) > -0.5)
        found.append((0.1 * wave).astype(np.float32))
    return found


@pytest.fixture(scope="module")
def encoder() -> Any:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return resemblyzer.VoiceEncoder("cpu", verbose=False)


def spectrograms(waves: list[np.ndarray]) -> Tensor:
    """Of the first second, as the encoder takes them."""
    return torch.from_numpy(np.stack([resemblyzer.wav_to_mel_spectrogram(wave[:RATE]) for wave in waves]))


def test_variance_of_recordings_is_that_of_single_forwards(encoder):
    changes = [np.copy, lambda wave: wave / 2, lambda wave: np.roll(wave, 400)]
    result = iv.measure(
        encoder,
        recordings(),
        changes,
        measures=["transformation_variance"],
        layers="linear",
        preprocess=spectrograms,
        progress=False,
    )
    with torch.no_grad():
        orbits = [torch.stack([states(encoder, f(wave)) for f in changes]) for wave in recordings()]
    expected = torch.stack(orbits).var(1).mean(0).numpy()
    np.testing.assert_allclose(
        result.maps["transformation_variance", "linear"], expected, rtol=1e-4, atol=1e-7
    )


def states(encoder: Any, wave: np.ndarray) -> Tensor:
    """What the linear layer makes of one recording."""
    _, (hidden, _) = encoder.lstm(spectrograms([wave]))
    return encoder.linear(hidden[-1])[0].double()


def test_loudness_does_not_matter_after_it_was_normalised(encoder):
    def normalised(waves: list[np.ndarray]) -> Tensor:
        return spectrograms([wave / np.abs(wave).max() for wave in waves])

    softer = [np.copy, lambda wave: wave / 8]
    options = {"layers": "div", "progress": False}
    plain = iv.measure(encoder, recordings(), softer, preprocess=spectrograms, **options).table.value.iloc[0]
    after = iv.measure(encoder, recordings(), softer, preprocess=normalised, **options).table.value.iloc[0]
    assert plain > 0.1
    assert after < 1e-6


def test_a_scripted_detector_is_measured_as_a_function():
    """Its method runs no module that hooks reach, and it keeps a state between calls."""
    detector = silero_vad.load_silero_vad()

    def speech(waves: Tensor) -> dict[str, Tensor]:
        detector.reset_states()
        return {"speech": detector.audio_forward(waves, sr=RATE)}

    result = iv.measure(
        speech,
        recordings(),
        [np.copy, lambda wave: wave[::-1].copy()],
        preprocess=lambda waves: torch.from_numpy(np.stack([wave[:RATE] for wave in waves])),
        progress=False,
    )
    assert result.table.layer.tolist() == ["speech"]
    assert result.table.value.iloc[0] > 0.1
