"""Measure how much delay, loudness, noise and pitch change the embedding of a voice.

    pip install invariscope librosa espeakng-loader webrtcvad-wheels
    pip install --no-deps resemblyzer
    python examples/audio.py

Resemblyzer's encoder, whose weights are in its package, embeds eight synthetic voices of eSpeak NG. Values
compare the effect of a change on a layer with the effect of replacing the voice by another one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator

import espeakng_loader
import librosa
import numpy as np
import pandas as pd
import torch
from resemblyzer import VoiceEncoder, wav_to_mel_spectrogram

import invariscope as iv

RATE = 16000
CHANGES = {
    "50 ms later": iv.TimeShift([0, RATE // 20]),
    "20 dB softer": iv.Gain([0, -20]),
    "with hiss": [np.copy, lambda wave: wave + 0.01 * np.sin(np.arange(len(wave)) ** 2).astype(np.float32)],
    "a semitone higher": iv.PitchShift([0, 1]),
}


def speech(text: bytes = b"The river runs past the old town.") -> Iterator[np.ndarray]:
    """Yield two seconds of each voice."""
    library, parts = ctypes.CDLL(espeakng_loader.get_library_path()), []
    rate = library.espeak_Initialize(2, 0, espeakng_loader.get_data_path().encode(), 0)
    made = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    keep = made(lambda wave, n, _: (n > 0 and parts.append(np.ctypeslib.as_array(wave, (n,)).copy())) or 0)
    library.espeak_SetSynthCallback(keep)
    for voice in [f"en-us+{kind}{number}" for kind in "mf" for number in range(1, 5)]:
        parts.clear()
        library.espeak_SetVoiceByName(voice.encode())
        library.espeak_Synth(text, len(text) + 1, 0, 1, 0, 1, None, None)
        wave = librosa.resample(np.concatenate(parts) / 32768, orig_sr=rate, target_sr=RATE)
        yield librosa.util.fix_length(wave.astype(np.float32), size=2 * RATE)


encoder, voices = VoiceEncoder("cpu", verbose=False), list(speech())
options = {"layers": ["lstm[1][0]", "linear", "div"], "progress": False}
options["preprocess"] = lambda waves: torch.from_numpy(np.stack(list(map(wav_to_mel_spectrogram, waves))))
found = {name: iv.measure(encoder, voices, f, **options).table for name, f in CHANGES.items()}
table = pd.DataFrame({name: rows.set_index("layer")["value"] for name, rows in found.items()}).T
print(table.rename(columns={"lstm[1][0]": "state", "div": "embedding"}).round(3).to_string())
print(
    f"\nMaking a voice softer has {table['div']['20 dB softer']:.1f} times the effect of changing the "
    "voice, so normalise loudness first. A shift in time hardly matters; pitch is part of a voice."
)
