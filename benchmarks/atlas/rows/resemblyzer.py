"""The voice encoder of Resemblyzer on telephone prompts."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import invariscope as iv
from benchmarks.atlas import speech
from benchmarks.atlas.data import prompts
from benchmarks.atlas.declared import Case, Entry, moved

LOUDNESS_DB = -30


def load() -> Any:
    """Return the encoder, whose first layer is an LSTM, and whose last one normalises the embedding."""
    from resemblyzer import VoiceEncoder

    with torch.random.fork_rng():
        return VoiceEncoder("cpu", verbose=False).eval()


def spectrograms(waves: Tensor) -> Tensor:
    """Return what the package computes of recordings, after making quiet ones louder as it does."""
    from resemblyzer import wav_to_mel_spectrogram
    from resemblyzer.audio import normalize_volume

    loud = (normalize_volume(wave, LOUDNESS_DB, increase_only=True) for wave in waves.numpy())
    return torch.stack([torch.from_numpy(wav_to_mel_spectrogram(wave)) for wave in loud])


CHANGES = speech.SYMMETRIES | {"half a semitone up and down": iv.PitchShift([0, 0.5, -0.5])}

ENTRY = Entry(
    model="Resemblyzer",
    does="embeddings of voices",
    world="Speech",
    packages=("librosa>=0.11", "webrtcvad-wheels"),
    alone=("resemblyzer==0.1.4",),
    licence="Apache-2.0",
    weights=("resemblyzer", "pretrained.pt"),
    load=load,
    samples=lambda: prompts.prompts(32, by_voice=True),
    cases=tuple(Case(name, change, moved("div")) for name, change in CHANGES.items()),
    options={"preprocess": spectrograms},
    remark="Both polarities have the same spectrogram of powers, so this row is exact.",
)
