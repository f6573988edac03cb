"""Silero VAD, a detector of speech, on telephone prompts."""

from __future__ import annotations

from typing import Any

from torch import Tensor

import invariscope as iv
from benchmarks.atlas import speech
from benchmarks.atlas.data import prompts
from benchmarks.atlas.declared import Case, Entry, moved

WINDOWS, SHARE = "probability of speech per 32 ms", "mean probability"


def load() -> Any:
    """Return a function from recordings to the probability of speech in each window, and its mean."""
    from silero_vad import load_silero_vad

    detector = load_silero_vad()

    def probabilities(waves: Tensor) -> dict[str, Tensor]:
        detector.reset_states()
        found = detector.audio_forward(waves, sr=prompts.RATE)
        return {WINDOWS: found, SHARE: found.mean(1, keepdim=True)}

    return probabilities


whole_windows = iv.TimeShift([0, 512, 1024])
ENTRY = Entry(
    model="Silero VAD",
    does="probability of speech",
    world="Speech",
    packages=("silero-vad==6.2.3",),
    licence="MIT",
    weights=("silero_vad", "data/silero_vad.jit"),
    load=load,
    samples=lambda: prompts.prompts(32, by_voice=False),
    cases=tuple(Case(name, change, moved(WINDOWS)) for name, change in speech.SYMMETRIES.items()),
)
