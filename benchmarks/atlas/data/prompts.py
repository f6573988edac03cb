"""Spoken prompts of a telephone exchange, recorded by four people."""

from __future__ import annotations

import hashlib
import wave
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from benchmarks.atlas.data.debian import unpacked
from benchmarks.atlas.declared import Samples

LANGUAGES = {"en": "Allison", "fr": "June", "it": "Carlo", "ru": "IvrvoiceRU"}
RECORDED, RATE = 8000, 16000  # Hz
STEPS = 62 * 512  # two seconds, in whole windows of the voice detector


def prompts(each: int, *, by_voice: bool) -> Samples:
    """Return the beginnings of prompts, the same number of each voice.

    Args:
        each: prompts of a voice, drawn by the digest of the file.
        by_voice: whether all prompts of a voice are one cluster.
    """
    sources, waves, voices = [], [], []
    for language, voice in LANGUAGES.items():
        files, source = unpacked(f"asterisk-core-sounds-{language}-wav")
        found = [signal for path in by_digest(files) if len(signal := read(path)) >= STEPS]
        sources.append(source)
        waves += found[:each]
        voices += [voice] * each
    return Samples(
        name="prompts",
        source=f"Debian: {', '.join(sources)}",
        licence="CC-BY-SA-3.0, Russian CC-BY-3.0",
        about=f"the first two seconds of {each} telephone prompts by each of {len(LANGUAGES)} speakers",
        values=torch.stack(waves),
        cluster="voice" if by_voice else "prompt",
        clusters=voices if by_voice else None,
    )


def by_digest(folder: Path) -> list[Path]:
    """Return the recordings of a folder in the order of their digests, each content once."""
    found = {hashlib.sha256(path.read_bytes()).hexdigest(): path for path in sorted(folder.rglob("*.wav"))}
    return [found[key] for key in sorted(found)]


def read(path: Path) -> Tensor:
    """Return a recording at 16 kHz, from its start to the length of all samples at most."""
    from scipy.signal import resample_poly

    with wave.open(str(path)) as file:
        if (file.getframerate(), file.getnchannels(), file.getsampwidth()) != (RECORDED, 1, 2):
            raise ValueError(f"{path.name} is not mono, 16 bit, {RECORDED} Hz")
        signal = np.frombuffer(file.readframes(STEPS), "<i2") / 2**15
    return torch.from_numpy(resample_poly(signal, RATE, RECORDED)[:STEPS].astype(np.float32))
